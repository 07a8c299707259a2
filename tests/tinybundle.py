"""A tiny but real bundle, made without the partitioner: one convolution either side of a cut.

    picture uint8 [N,32,32,3] -> conv, relu -> quantise | dequantise -> conv, pool, gemm, softmax

Two segments, tails of two parts, five candidates. The weights come from a seed, so that another
seed is another model; the figures are invented, such that each candidate is the best on some link.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus import (
    FORMAT_VERSION,
    Candidate,
    Chain,
    Cut,
    CutTensor,
    Encoding,
    Figures,
    FileEntry,
    Manifest,
    Picture,
    Quantisation,
    Raw,
    Rung,
    Segment,
    Symbols,
    TensorSpec,
    encode_manifest,
    sha256_of,
)

CLASSES = 10
CHAIN = "whole"
PICTURE = TensorSpec(name="picture", data_type="uint8", shape=(32, 32, 3))
BOUNDARY = TensorSpec(name="boundary", data_type="uint8", shape=(8, 16, 16))
REAL = TensorSpec(name="relu_0", data_type="float32", shape=(8, 16, 16))
PROBABILITIES = TensorSpec(name="probabilities", data_type="float32", shape=(CLASSES,))
# Zero points other than 0, so that nobody can forget them unnoticed.
BOUNDARY_QUANTISATION = Quantisation(scale=1 / 64, zero_point=3)
FINE = Symbols(levels=256, step=1 / 32, zero_point=5)
COARSE = Symbols(levels=16, step=1 / 4, zero_point=1)


def build_tiny_bundle(directory: Path, seed: int = 0) -> Path:
    """Write the bundle into `directory` (created if need be) and return it."""
    for side in ("device", "cloud"):
        (directory / side).mkdir(parents=True, exist_ok=True)
    files = {
        "device/segment-0.onnx": _segment_0(seed),
        "device/segment-1.onnx": _segment_1(seed),
        "cloud/entry-cut.onnx": _entry_graph(),
        "cloud/tail-0.onnx": _tail_0(seed),
        "cloud/tail-1.onnx": _tail_1(seed),
    }
    for name, model in files.items():
        onnx.checker.check_model(model)
        onnx.save(model, directory / name)
    labels = "".join(f"class {index}\n" for index in range(CLASSES))
    (directory / "labels.txt").write_text(labels, encoding="utf-8")
    entries = tuple(_entry(directory, name) for name in (*files, "labels.txt"))
    (directory / "bundle.json").write_bytes(encode_manifest(_manifest(entries)))
    return directory


def tiny_pictures(count: int) -> list[NDArray[np.uint8]]:
    """Smooth random pictures uint8 [1,32,32,3], each of another tint: they get several labels."""
    random = np.random.default_rng(7)
    tints = random.integers(0, 192, (count, 1, 1, 1, 3))
    coarse = (tints + random.integers(0, 64, (count, 1, 4, 4, 3))).astype(np.uint8)
    return list(coarse.repeat(8, axis=2).repeat(8, axis=3))


@dataclass(frozen=True, slots=True)
class _Part:
    """Nodes in order with the constants that they read."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, NDArray[np.generic]]

    def __add__(self, other: "_Part") -> "_Part":
        return _Part(self.nodes + other.nodes, self.constants | other.constants)


def _segment_0(seed: int) -> onnx.ModelProto:
    return _model(_early(seed) + _quantise(), [_value(PICTURE)], [_value(BOUNDARY)])


def _segment_1(seed: int) -> onnx.ModelProto:
    part = _dequantise(BOUNDARY.name, "scale", "zero_point", BOUNDARY_QUANTISATION) + _late(seed)
    return _model(part, [_value(BOUNDARY)], [_value(PROBABILITIES)])


def _entry_graph() -> onnx.ModelProto:
    symbols, step, zero_point = _cuts()[1].tensors[0].feeds
    inputs = [
        _value(BOUNDARY),
        helper.make_tensor_value_info(step, TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info(zero_point, TensorProto.UINT8, ["N"]),
    ]
    node = helper.make_node("DequantizeLinear", [symbols, step, zero_point], [REAL.name], axis=0)
    return _model(_Part([node], {}), inputs, [_value(REAL)])


def _tail_0(seed: int) -> onnx.ModelProto:
    return _model(_early(seed), [_value(PICTURE)], [_value(REAL)])


def _tail_1(seed: int) -> onnx.ModelProto:
    return _model(_late(seed), [_value(REAL)], [_value(PROBABILITIES)])


def _early(seed: int) -> _Part:
    random = np.random.default_rng(seed)
    return _Part(
        [
            helper.make_node("Cast", ["picture"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["float", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "deviation"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node(
                "Conv", ["planes", "weight_0"], ["conv_0"], strides=[2, 2], pads=[0, 0, 1, 1]
            ),
            helper.make_node("Relu", ["conv_0"], ["relu_0"]),
        ],
        {
            "mean": np.array(127, np.float32),
            "deviation": np.array(128, np.float32),
            "weight_0": random.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32),
        },
    )


def _quantise() -> _Part:
    nodes = [helper.make_node("QuantizeLinear", ["relu_0", "scale", "zero_point"], [BOUNDARY.name])]
    return _Part(nodes, _constants_of(BOUNDARY_QUANTISATION))


def _dequantise(source: str, scale: str, zero_point: str, known: Quantisation | None) -> _Part:
    nodes = [helper.make_node("DequantizeLinear", [source, scale, zero_point], ["relu_0"])]
    return _Part(nodes, {} if known is None else _constants_of(known))


def _constants_of(quantisation: Quantisation) -> dict[str, NDArray[np.generic]]:
    return {
        "scale": np.array(quantisation.scale, np.float32),
        "zero_point": np.array(quantisation.zero_point, np.uint8),
    }


def _late(seed: int) -> _Part:
    random = np.random.default_rng(seed + 1_000)
    return _Part(
        [
            helper.make_node("Conv", ["relu_0", "weight_1"], ["conv_1"], strides=[2, 2]),
            helper.make_node("Relu", ["conv_1"], ["relu_1"]),
            helper.make_node("GlobalAveragePool", ["relu_1"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight_2"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [PROBABILITIES.name], axis=1),
        ],
        {
            "weight_1": random.normal(0, 0.3, (16, 8, 3, 3)).astype(np.float32),
            "weight_2": random.normal(0, 2, (16, CLASSES)).astype(np.float32),
        },
    )


def _model(
    part: _Part, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    constants = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in part.constants.items()
    ]
    graph = helper.make_graph(part.nodes, "tiny", inputs, outputs, constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests"
    )


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    data_type = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}[spec.data_type]
    return helper.make_tensor_value_info(spec.name, data_type, ["N", *spec.shape])


def _entry(directory: Path, name: str) -> FileEntry:
    path = directory / name
    side: Literal["device", "cloud", "both"] = "both"
    if name.startswith("device/"):
        side = "device"
    elif name.startswith("cloud/"):
        side = "cloud"
    return FileEntry(
        path=name,
        side=side,
        size_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def _manifest(files: tuple[FileEntry, ...]) -> Manifest:
    model_sha256 = next(f.sha256 for f in files if f.path == "cloud/tail-0.onnx")
    return Manifest(
        format_version=FORMAT_VERSION,
        model_name="tiny",
        model_sha256=model_sha256,
        inputs=(PICTURE,),
        outputs=(PROBABILITIES,),
        metric="top-1",
        chains=(Chain(id=CHAIN, precision="fp32", segments=_segments()),),
        cuts=_cuts(),
        candidates=_candidates(),
        files=files,
        agreement_floor=0.95,
        edge_factor=1.0,
        measured_on="invented",
        has_labels=True,
        batched=True,
    )


def _segments() -> tuple[Segment, ...]:
    return (
        Segment(file="device/segment-0.onnx", inputs=(PICTURE,), outputs=(BOUNDARY,)),
        Segment(file="device/segment-1.onnx", inputs=(BOUNDARY,), outputs=(PROBABILITIES,)),
    )


def _cuts() -> tuple[Cut, ...]:
    return (
        Cut(
            id="input",
            chain=CHAIN,
            depth=0,
            macs_share=0.0,
            tensors=(CutTensor(boundary=PICTURE, wire=PICTURE),),
            tail=("cloud/tail-0.onnx", "cloud/tail-1.onnx"),
            rest_ms=100.0,
        ),
        Cut(
            id="cut",
            chain=CHAIN,
            depth=1,
            macs_share=0.3,
            tensors=(
                CutTensor(boundary=BOUNDARY, wire=BOUNDARY, quantisation=BOUNDARY_QUANTISATION),
            ),
            tail=("cloud/entry-cut.onnx", "cloud/tail-1.onnx"),
            rest_ms=70.0,
        ),
        Cut(id="local", chain=CHAIN, depth=2, macs_share=1.0, tensors=()),
    )


def _candidates() -> tuple[Candidate, ...]:
    return (
        _candidate("local", "local", None, edge_ms=100.0, payload_bytes=0),
        _candidate("input-raw", "input", Raw(), edge_ms=0.0, payload_bytes=3072),
        _candidate(
            "input-jpeg-q95",
            "input",
            Picture(format="jpeg", quality=95),
            edge_ms=0.0,
            payload_bytes=770,
        ),
        _candidate("cut-256", "cut", FINE, edge_ms=30.0, payload_bytes=510),
        _candidate("cut-16", "cut", COARSE, edge_ms=30.0, payload_bytes=250),
    )


def _candidate(
    name: str, cut: str, encoding: Encoding | None, edge_ms: float, payload_bytes: int
) -> Candidate:
    figures = Figures(
        edge_ms=edge_ms,
        encode_ms=0.0 if encoding is None or isinstance(encoding, Raw) else 1.0,
        decode_ms=0.0 if encoding is None or isinstance(encoding, Raw) else 0.5,
        tail_ms=0.0 if encoding is None else 5.0,
        payload_bytes=payload_bytes,
        payload_bytes_p95=payload_bytes * 5 // 4,
        agreement=1.0,
        agreement_low=1.0,
        agreement_high=1.0,
        divergence=0.0,
    )
    return Candidate(
        id=name,
        cut=cut,
        precision="none" if cut == "input" else "fp32",
        rungs=(Rung(encodings=() if encoding is None else (encoding,), figures=figures),),
        chosen=0,
        kept=True,
        reason="invented for tests",
    )
