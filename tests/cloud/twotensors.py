"""A bundle for the cloud's side only, whose one cut has two tensors: a map, and a mask of bits.

    map uint8 [N,4,6,6], step, zero point -> dequantise -> where -> mean over the map [N,4]
    mask bool [N,6,6] --------------------------------------+

Its device files are listed but not there.
"""

from pathlib import Path

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
    Lossless,
    Manifest,
    Quantisation,
    Raw,
    Rung,
    Segment,
    Symbols,
    TensorSpec,
    encode_manifest,
    sha256_of,
)

INPUT = TensorSpec(name="input", data_type="float32", shape=(3,))
MASK = TensorSpec(name="mask", data_type="bool", shape=(6, 6))
MAP = TensorSpec(name="map", data_type="uint8", shape=(4, 6, 6))
MEANS = TensorSpec(name="means", data_type="float32", shape=(4,))
QUANTISATION = Quantisation(scale=1 / 32, zero_point=7)
RUNGS: tuple[tuple[Encoding, Encoding], ...] = (
    (Lossless(), Raw()),
    (Symbols(levels=256, step=1 / 16, zero_point=9), Lossless()),
    (Symbols(levels=16, step=1 / 2, zero_point=2, predictor="left"), Lossless()),
)
TAIL = "cloud/tail-half.onnx"

Bits = NDArray[np.bool_]
UInt8Array = NDArray[np.uint8]


def build_two_tensor_bundle(directory: Path, *, mask_type: int = TensorProto.BOOL) -> Path:
    """Write the bundle into `directory` and return it; a tail with another `mask_type` is wrong."""
    (directory / "cloud").mkdir(parents=True)
    onnx.save(_tail(mask_type), directory / TAIL)
    segments = tuple(f"device/segment-{index}.onnx" for index in (0, 1))
    files = tuple(
        FileEntry(path=name, side="device", size_bytes=1, sha256="0" * 64) for name in segments
    )
    tail = FileEntry(
        path=TAIL,
        side="cloud",
        size_bytes=(directory / TAIL).stat().st_size,
        sha256=sha256_of(directory / TAIL),
    )
    manifest = encode_manifest(_manifest(segments, (*files, tail)))
    (directory / "bundle.json").write_bytes(manifest)
    return directory


def map_and_mask(seed: int) -> tuple[UInt8Array, Bits]:
    """What the cut holds for one input: [1,4,6,6] and [1,6,6]."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, (1, *MAP.shape), np.uint8)
    return values, random.integers(0, 2, (1, *MASK.shape)).astype(np.bool_)


def means(values: UInt8Array, mask: Bits, rung: int) -> NDArray[np.float64]:
    """What the cloud has to answer [1,4]: by the formulas, without any codec."""
    real = (values.astype(np.float64) - QUANTISATION.zero_point) * QUANTISATION.scale
    encoding = RUNGS[rung][0]
    if isinstance(encoding, Symbols):
        symbols = np.rint(real / encoding.step) + encoding.zero_point
        real = (symbols.clip(0, encoding.levels - 1) - encoding.zero_point) * encoding.step
    result: NDArray[np.float64] = np.where(mask[:, None], real, 0).mean(axis=(2, 3))
    return result


def _tail(mask_type: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node(
            "DequantizeLinear", ["map", "map/step", "map/zero_point"], ["values"], axis=0
        ),
        helper.make_node("Cast", ["mask"], ["bits"], to=TensorProto.BOOL),
        helper.make_node("Unsqueeze", ["bits", "axis"], ["planes"]),
        helper.make_node("Where", ["planes", "values", "zero"], ["shown"]),
        helper.make_node("ReduceMean", ["shown"], [MEANS.name], axes=[2, 3], keepdims=0),
    ]
    value = helper.make_tensor_value_info
    inputs = [
        value("map", TensorProto.UINT8, ["N", *MAP.shape]),
        value("map/step", TensorProto.FLOAT, ["N"]),
        value("map/zero_point", TensorProto.UINT8, ["N"]),
        value("mask", mask_type, ["N", *MASK.shape]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    outputs = [value(MEANS.name, TensorProto.FLOAT, ["N", *MEANS.shape])]
    graph = helper.make_graph(nodes, "half", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _manifest(segments: tuple[str, ...], files: tuple[FileEntry, ...]) -> Manifest:
    tensors = (
        CutTensor(boundary=MAP, wire=MAP, quantisation=QUANTISATION),
        CutTensor(boundary=MASK, wire=MASK),
    )
    links = (
        Segment(file=segments[0], inputs=(INPUT,), outputs=(MAP, MASK)),
        Segment(file=segments[1], inputs=(MAP, MASK), outputs=(MEANS,)),
    )
    return Manifest(
        format_version=FORMAT_VERSION,
        model_name="two tensors",
        model_sha256="0" * 64,
        inputs=(INPUT,),
        outputs=(MEANS,),
        metric="invented",
        chains=(Chain(id="whole", precision="int8", segments=links),),
        cuts=(
            Cut(id="half", chain="whole", depth=1, macs_share=0.5, tensors=tensors, tail=(TAIL,)),
            Cut(id="local", chain="whole", depth=2, macs_share=1.0, tensors=()),
        ),
        candidates=(_candidate("local", "local", ((),)), _candidate("half", "half", RUNGS)),
        files=files,
        agreement_floor=0.95,
        edge_factor=1.0,
        measured_on="invented",
        has_labels=False,
    )


def _candidate(name: str, cut: str, rungs: tuple[tuple[Encoding, ...], ...]) -> Candidate:
    figures = Figures(
        edge_ms=1.0,
        encode_ms=0.0,
        decode_ms=0.0,
        tail_ms=0.0,
        payload_bytes=100,
        payload_bytes_p95=100,
        agreement=1.0,
        agreement_low=1.0,
        agreement_high=1.0,
        divergence=0.0,
    )
    return Candidate(
        id=name,
        cut=cut,
        precision="int8",
        rungs=tuple(Rung(encodings=encodings, figures=figures) for encodings in rungs),
        chosen=0,
        kept=True,
        reason="invented for tests",
    )
