"""A small real bundle with all that the tiny one lacks.

    picture, gain -> conv, relu, times gain = features (float32); mean colour = tone (an output)
    features      -> conv, relu -> halves (uint8, quantised) and lit (bool: where there is anything)
    halves, lit   -> dequantise, elu, blank what is not lit, pool, gemm, softmax = probabilities

`gain` is a scalar without a batch axis. The cut `floats` has a stage that quantises with the
frame's step and sticks to the frame before; the cut `pair` has one that changes the channels'
order, which its tail changes back. The head of both has computed `tone` already: an *answer*.
The cut `curves` has a chain of its own, in which `lit` skips a segment:

    features -> activations (float32), lit;   activations -> curves;   curves, lit -> probabilities

In the cloud all of them nest: the tails are ends of one list of parts, divided in the same places.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.tinybundle import (
    CLASSES,
    PICTURE,
    PROBABILITIES,
    _constants_of,
    _early,
    _entry,
    _model,
    _Part,
    tiny_pictures,
)

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
    Picture,
    Quantisation,
    Raw,
    Rung,
    Segment,
    Stage,
    Symbols,
    TensorSpec,
    encode_manifest,
)

GAIN = TensorSpec(name="gain", data_type="float32", shape=(), batch_axis=None)
TONE = TensorSpec(name="tone", data_type="float32", shape=(3,))
FEATURES = TensorSpec(name="features", data_type="float32", shape=(8, 16, 16))
FEATURE_SYMBOLS = TensorSpec(name="features_symbols", data_type="uint8", shape=FEATURES.shape)
HALVES = TensorSpec(name="halves", data_type="uint8", shape=(16, 7, 7))
ORDERED_HALVES = TensorSpec(name="halves_ordered", data_type="uint8", shape=HALVES.shape)
LIT = TensorSpec(name="lit", data_type="bool", shape=(1, 7, 7))
ACTIVATIONS = TensorSpec(name="relu_1", data_type="float32", shape=HALVES.shape)
CURVES = TensorSpec(name="curves", data_type="float32", shape=HALVES.shape)
INPUTS = (PICTURE, GAIN)
OUTPUTS = (PROBABILITIES, TONE)
HALVES_QUANTISATION = Quantisation(scale=1 / 16, zero_point=3)
ORDER = np.random.default_rng(11).permutation(HALVES.shape[0])
ORDERS = {HALVES.name: ORDER}  # for tests.reference

FLOATS_LADDER: tuple[tuple[Encoding, ...], ...] = (
    (Symbols(levels=256, step=1 / 64, zero_point=5),),
    (Symbols(levels=256, step=1 / 16, zero_point=5, predictor="up"),),
    (Symbols(levels=16, step=1 / 4, zero_point=1),),
    (Symbols(levels=16, step=1 / 2, zero_point=1, predictor="left"),),
)
PAIR_LADDER: tuple[tuple[Encoding, ...], ...] = (
    (Raw(), Raw()),
    (Lossless(), Lossless()),
    (Symbols(levels=256, step=1 / 8, zero_point=2), Lossless()),
    (Symbols(levels=16, step=1 / 2, zero_point=1), Lossless()),
)
CURVES_LADDER: tuple[tuple[Encoding, ...], ...] = ((Raw(), Raw()), (Lossless(), Lossless()))
INPUT_LADDER: tuple[tuple[Encoding, ...], ...] = (
    (Raw(), Raw()),
    (Picture(format="jpeg", quality=95), Raw()),
    (Picture(format="jpeg", quality=60), Raw()),
)
TAILS = {
    "input": tuple(f"cloud/tail-{part}.onnx" for part in range(4)),
    "floats": ("cloud/entry-floats.onnx", *(f"cloud/tail-{part}.onnx" for part in range(1, 4))),
    "pair": ("cloud/entry-pair.onnx", "cloud/tail-2.onnx", "cloud/tail-3.onnx"),
    "curves": ("cloud/tail-3.onnx",),
}
LOCAL_MS = 400.0
AGREEMENTS = (1.0, 0.99, 0.97, 0.9)  # by rung
AGREEMENT_FLOOR = 0.95
_DARK = 0.6  # what is on average below is not lit


def build_wide_bundle(directory: Path, seed: int = 0) -> Path:
    """Write the bundle into `directory` (created if need be) and return it."""
    for side in ("device", "cloud"):
        (directory / side).mkdir(parents=True, exist_ok=True)
    files = _device_graphs(seed) | _cloud_graphs(seed)
    for name, model in files.items():
        onnx.checker.check_model(model)
        onnx.save(model, directory / name)
    labels = "".join(f"class {index}\n" for index in range(CLASSES))
    (directory / "labels.txt").write_text(labels, encoding="utf-8")
    entries = tuple(_entry(directory, name) for name in (*files, "labels.txt"))
    (directory / "bundle.json").write_bytes(encode_manifest(_manifest(entries)))
    return directory


def wide_items(count: int) -> list[dict[str, NDArray[np.generic]]]:
    """Inputs by name: the tiny bundle's pictures, each with another gain."""
    gains = np.linspace(0.7, 1.3, count, dtype=np.float32)
    pairs = zip(tiny_pictures(count), gains, strict=True)
    return [{PICTURE.name: picture, GAIN.name: np.array(gain)} for picture, gain in pairs]


def _device_graphs(seed: int) -> dict[str, onnx.ModelProto]:
    finish = _dequantised(HALVES.name, ACTIVATIONS.name) + _curved() + _late(seed)
    return {
        "device/segment-0.onnx": _graph(_first(seed), INPUTS, [FEATURES, TONE]),
        "device/segment-1.onnx": _graph(_middle(seed) + _quantised(), [FEATURES], [HALVES, LIT]),
        "device/segment-2.onnx": _graph(finish, [HALVES, LIT], [PROBABILITIES]),
        "device/curved-1.onnx": _graph(_middle(seed), [FEATURES], [ACTIVATIONS, LIT]),
        "device/curved-2.onnx": _graph(_curved(), [ACTIVATIONS], [CURVES]),
        "device/curved-3.onnx": _graph(_late(seed), [CURVES, LIT], [PROBABILITIES]),
    }


def _cloud_graphs(seed: int) -> dict[str, onnx.ModelProto]:
    return {
        "cloud/entry-floats.onnx": _entry_graph("floats", _Part([], {}), FEATURES),
        "cloud/entry-pair.onnx": _entry_graph("pair", _put_back(), ACTIVATIONS),
        "cloud/tail-0.onnx": _graph(_first(seed), INPUTS, [FEATURES, TONE]),
        "cloud/tail-1.onnx": _graph(_middle(seed), [FEATURES], [ACTIVATIONS, LIT]),
        "cloud/tail-2.onnx": _graph(_curved(), [ACTIVATIONS], [CURVES]),
        "cloud/tail-3.onnx": _graph(_late(seed), [CURVES, LIT], [PROBABILITIES]),
    }


def _first(seed: int) -> _Part:
    """The tiny bundle's first part, then the gain; and the picture's mean colour."""
    nodes = [
        helper.make_node("Mul", ["relu_0", GAIN.name], [FEATURES.name]),
        helper.make_node("ReduceMean", ["float"], [TONE.name], axes=[1, 2], keepdims=0),
    ]
    return _early(seed) + _Part(nodes, {})


def _middle(seed: int) -> _Part:
    """From the features to the float halves, and where they are lit."""
    random = np.random.default_rng(seed + 2_000)
    return _Part(
        [
            helper.make_node("Conv", [FEATURES.name, "weight_1"], ["conv_1"], strides=[2, 2]),
            helper.make_node("Relu", ["conv_1"], ["relu_1"]),
            helper.make_node("ReduceMean", ["relu_1"], ["brightness"], axes=[1], keepdims=1),
            helper.make_node("Greater", ["brightness", "dark"], [LIT.name]),
        ],
        {
            "weight_1": random.normal(0, 0.3, (16, 8, 3, 3)).astype(np.float32),
            "dark": np.array(_DARK, np.float32),
        },
    )


def _curved() -> _Part:
    return _Part([helper.make_node("Elu", [ACTIVATIONS.name], [CURVES.name])], {})


def _late(seed: int) -> _Part:
    random = np.random.default_rng(seed + 3_000)
    return _Part(
        [
            helper.make_node("Where", [LIT.name, CURVES.name, "nothing"], ["visible"]),
            helper.make_node("GlobalAveragePool", ["visible"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight_2"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [PROBABILITIES.name], axis=1),
        ],
        {
            "nothing": np.array(0, np.float32),
            "weight_2": random.normal(0, 1, (16, CLASSES)).astype(np.float32),
        },
    )


def _quantised() -> _Part:
    inputs = ["relu_1", "scale", "zero_point"]
    nodes = [helper.make_node("QuantizeLinear", inputs, [HALVES.name])]
    return _Part(nodes, _constants_of(HALVES_QUANTISATION))


def _dequantised(source: str, target: str) -> _Part:
    node = helper.make_node("DequantizeLinear", [source, "scale", "zero_point"], [target])
    return _Part([node], _constants_of(HALVES_QUANTISATION))


def _put_back() -> _Part:
    node = helper.make_node("Gather", ["shuffled", "back"], [ACTIVATIONS.name], axis=1)
    return _Part([node], {"back": np.argsort(ORDER)})


def _entry_graph(cut: str, behind: _Part, made: TensorSpec) -> onnx.ModelProto:
    """From the symbols of the cut's first tensor to `made`, each item with a step of its own."""
    tensor = next(each for each in _cuts() if each.id == cut).tensors[0]
    symbols, step, zero_point = tensor.feeds
    inputs = [
        _value(tensor.wire),
        helper.make_tensor_value_info(step, TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info(zero_point, TensorProto.UINT8, ["N"]),
    ]
    real = "shuffled" if behind.nodes else made.name
    node = helper.make_node("DequantizeLinear", [symbols, step, zero_point], [real], axis=0)
    return _model(_Part([node], {}) + behind, inputs, [_value(made)])


def _graph(
    part: _Part, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> onnx.ModelProto:
    return _model(part, [_value(spec) for spec in inputs], [_value(spec) for spec in outputs])


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    data_type = helper.np_dtype_to_tensor_dtype(np.dtype(spec.data_type))
    batch = [] if spec.batch_axis is None else ["N"]
    return helper.make_tensor_value_info(spec.name, data_type, [*batch, *spec.shape])


def _manifest(files: tuple[FileEntry, ...]) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        model_name="wide",
        model_sha256=next(f.sha256 for f in files if f.path == "cloud/tail-0.onnx"),
        inputs=INPUTS,
        outputs=OUTPUTS,
        metric="top-1",
        chains=_chains(),
        cuts=_cuts(),
        candidates=(
            _candidate("local", "local", ((),), LOCAL_MS, (0,)),
            _candidate("input", "input", INPUT_LADDER, 0.0, (3076, 764, 674)),
            _candidate("floats", "floats", FLOATS_LADDER, 20.0, (590, 510, 250, 160)),
            _candidate("pair", "pair", PAIR_LADDER, 60.0, (833, 400, 320, 200)),
            _candidate("curves", "curves", CURVES_LADDER, 90.0, (3185, 1500)),
        ),
        files=files,
        agreement_floor=AGREEMENT_FLOOR,
        edge_factor=1.0,
        measured_on="invented",
        has_labels=True,
        batched=True,
    )


def _chains() -> tuple[Chain, ...]:
    first = Segment(file="device/segment-0.onnx", inputs=INPUTS, outputs=(FEATURES, TONE))
    whole = (
        first,
        Segment(file="device/segment-1.onnx", inputs=(FEATURES,), outputs=(HALVES, LIT)),
        Segment(file="device/segment-2.onnx", inputs=(HALVES, LIT), outputs=(PROBABILITIES,)),
    )
    curved = (
        first,
        Segment(file="device/curved-1.onnx", inputs=(FEATURES,), outputs=(ACTIVATIONS, LIT)),
        Segment(file="device/curved-2.onnx", inputs=(ACTIVATIONS,), outputs=(CURVES,)),
        Segment(file="device/curved-3.onnx", inputs=(CURVES, LIT), outputs=(PROBABILITIES,)),
    )
    return (
        Chain(id="whole", precision="fp32", segments=whole),
        Chain(id="curved", precision="fp32", segments=curved),
    )


def _cuts() -> tuple[Cut, ...]:
    features = CutTensor(boundary=FEATURES, wire=FEATURE_SYMBOLS, stage=Stage())
    halves = CutTensor(
        boundary=HALVES,
        wire=ORDERED_HALVES,
        quantisation=HALVES_QUANTISATION,
        stage=Stage(order=tuple(map(int, ORDER))),
    )
    tone = (TONE.name,)
    return (
        _cut("input", "whole", 0, (_as_it_is(PICTURE), _as_it_is(GAIN)), ()),
        _cut("floats", "whole", 1, (features,), tone),
        _cut("pair", "whole", 2, (halves, _as_it_is(LIT)), tone),
        _cut("curves", "curved", 3, (_as_it_is(CURVES), _as_it_is(LIT)), tone),
        Cut(id="local", chain="whole", depth=3, macs_share=1.0, tensors=()),
    )


def _as_it_is(spec: TensorSpec) -> CutTensor:
    return CutTensor(boundary=spec, wire=spec)


def _cut(
    name: str, chain: str, depth: int, tensors: tuple[CutTensor, ...], answers: tuple[str, ...]
) -> Cut:
    return Cut(
        id=name,
        chain=chain,
        depth=depth,
        macs_share=0.3 * depth,
        tensors=tensors,
        tail=TAILS[name],
        answers=answers,
        rest_ms=LOCAL_MS - 30.0 * depth,
    )


def _candidate(
    name: str,
    cut: str,
    ladder: tuple[tuple[Encoding, ...], ...],
    edge_ms: float,
    payload_bytes: tuple[int, ...],
) -> Candidate:
    rungs = tuple(
        Rung(encodings=encodings, figures=_figures(edge_ms, size, agreement))
        for encodings, size, agreement in zip(ladder, payload_bytes, AGREEMENTS, strict=False)
    )
    return Candidate(
        id=name,
        cut=cut,
        precision="none" if cut == "input" else "fp32",
        rungs=rungs,
        chosen=min(len(rungs) - 1, 2),  # the coarsest above the floor
        kept=True,
        reason="invented for tests",
    )


def _figures(edge_ms: float, payload_bytes: int, agreement: float) -> Figures:
    sends = payload_bytes > 0
    return Figures(
        edge_ms=edge_ms,
        encode_ms=1.0 if sends else 0.0,
        decode_ms=0.5 if sends else 0.0,
        tail_ms=5.0 if sends else 0.0,
        payload_bytes=payload_bytes,
        payload_bytes_p95=payload_bytes * 5 // 4,
        agreement=agreement,
        agreement_low=agreement - 0.01,
        agreement_high=min(1.0, agreement + 0.01),
        divergence=0.0,
    )
