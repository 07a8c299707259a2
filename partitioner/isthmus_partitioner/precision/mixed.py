"""Calibrate once, quantise once, and choose by measurement where int8 begins.

One QDQ graph (uint8 activations, int8 weights per channel) is the only quantised artefact. An
int8 head makes most of its error in its first layers, where int8 saves little time; therefore
the variants are "fp32 up to this one-tensor cut, int8 behind it", which needs no second
quantisation: the front of the fp32 graph is put before the rear of the QDQ graph. A cut never
stands between a layer and its activation, so neither does a change of precision.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QDQQuantizer, QuantType

from isthmus import ModelError
from isthmus_partitioner.config import PictureSets, PlanConfig, Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between
from isthmus_partitioner.planning.agreement import answer_index, closeness
from isthmus_partitioner.precision.calibrate import Ranges, calibrate, tensors_data
from isthmus_partitioner.runtime import (
    all_cores,
    interleaved_ms,
    open_session,
    run_batches,
    session_options,
)

__all__ = ["Quantised", "Variant", "choose", "fp32_then_int8", "quantise"]

QUANTISED_OPS = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
    "GlobalAveragePool", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Pad", "Relu", "Reshape",
    "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
_INTEGER_LAYERS = frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"})
_ROUNDS = 12
SLOWEST = 1.5  # times the fastest variant: beyond it accuracy no longer excuses the time
HOPELESS_KL = 0.2  # nats; JPEG q75 does less harm

# What ONNX Runtime's quantiser raises for a graph that it does not understand.
_QUANTISER_ERRORS = (
    AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A head precision that was tried: fp32 up to the tensor `int8_from`, int8 behind it.

    `int8_from` is None where nothing is int8. `network_ms` is the whole network on one thread of
    this machine; `agreement` and `kl` hold on the held-back calibration pictures.
    """

    name: str
    fp32_layers: int
    int8_from: str | None
    network_ms: float
    agreement: float
    kl: float


@dataclass(frozen=True, slots=True)
class Quantised:
    """The chosen head network and how it was chosen.

    `int8` is the QDQ graph of all layers, None where quantising failed; `head` the variant that
    the device shall run; `reason` says why that one.
    """

    ranges: Ranges
    int8: onnx.ModelProto | None
    head: onnx.ModelProto
    chosen: Variant
    variants: tuple[Variant, ...]
    reason: str

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """What the plan calls the head."""
        return "fp32" if self.chosen.int8_from is None else "int8"


def quantise(
    network: Network, pictures: PictureSets, config: PlanConfig, work: Path, progress: Progress
) -> Quantised:
    """Calibrate, quantise, measure the variants on held-back pictures, and choose one.

    Never fails because of int8: a model that cannot be quantised keeps an fp32 head, and the
    reason says so.
    """
    progress(f"collecting ranges from {len(pictures.fitted)} calibration pictures")
    ranges = calibrate(network, pictures.fitted, work)
    progress("quantising: uint8 activations, int8 weights per channel")
    int8, problem = _quantised(network, ranges)
    models = {"fp32": (network.model, 0, None)} | _mixed(network, int8, config)
    progress(f"timing {len(models)} head precisions")
    variants = tuple(_measured(network, pictures, models))
    chosen, reason = choose(variants, config.kl_budget)
    return Quantised(ranges, int8, models[chosen.name][0], chosen, variants, problem or reason)


_Tried = tuple[onnx.ModelProto, int, str | None]


def choose(variants: tuple[Variant, ...], kl_budget: float) -> tuple[Variant, str]:
    """The rule: the fastest variant within the KL budget; if none, the most faithful of the fast.

    "Fast" is within 1.5 times the fastest int8 variant. Where even that one is slower than fp32
    or breaks the network (KL above 0.2 nats), the head stays fp32.
    """
    (fp32,) = (v for v in variants if v.int8_from is None)
    int8 = sorted((v for v in variants if v is not fp32), key=lambda v: v.network_ms)
    if not int8:
        return fp32, "no int8 variant was built"
    within = [v for v in int8 if v.kl <= kl_budget]
    fast = [v for v in int8 if v.network_ms <= SLOWEST * int8[0].network_ms]
    best = within[0] if within else min(fast, key=lambda v: v.kl)
    figures = (
        f"{best.name}: KL {best.kl:.4f}, {best.network_ms:.1f} ms (fp32 {fp32.network_ms:.1f} ms)"
    )
    if best.network_ms >= fp32.network_ms:
        return fp32, f"int8 is not faster here; {figures}"
    if best.kl > HOPELESS_KL:
        return fp32, f"int8 breaks this network; {figures}"
    if within:
        return best, f"the fastest with KL of at most {kl_budget}; {figures}"
    return best, f"none has KL of at most {kl_budget}; the most faithful of the fast; {figures}"


def _quantised(network: Network, ranges: Ranges) -> tuple[onnx.ModelProto | None, str]:
    """The QDQ graph, or None and the reason."""
    try:
        model = _qdq(network, ranges)
        layers = _integer_layers(model)
    except _QUANTISER_ERRORS as error:
        return None, f"stays fp32: ONNX Runtime cannot quantise it ({error!r})"
    except ModelError as error:
        return None, f"stays fp32: the quantised model does not run ({error})"
    if layers == 0:
        return None, "stays fp32: ONNX Runtime would run none of its layers in int8"
    return model, ""


def _qdq(network: Network, ranges: Ranges) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(network.model)
    options = {
        # Logits keep their resolution: the last integer layer answers in float.
        "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
    }
    quantiser = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=tensors_data(ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=_outside(network),
        op_types_to_quantize=list(QUANTISED_OPS),
        extra_options=options,
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()  # it appends its nodes at the end
    model: onnx.ModelProto = quantiser.model.model
    return model


def _outside(network: Network) -> list[str]:
    """Nodes before the first layer and behind the last: preprocessing and softmax stay float."""
    layers = [index for index, macs in enumerate(network.macs) if macs]
    nodes = list(network.model.graph.node)
    outside = nodes[: layers[0]] + nodes[layers[-1] + 1 :] if layers else nodes
    return [node.name for node in outside]


def _integer_layers(model: onnx.ModelProto) -> int:
    """How many layers of the optimised graph really compute in integers."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        target = Path(folder) / "optimised.onnx"
        options = session_options(1)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        open_session(model, threads=1, options=options)
        nodes = onnx.load(target, load_external_data=False).graph.node
    return sum(node.op_type in _INTEGER_LAYERS for node in nodes)


def _mixed(network: Network, int8: onnx.ModelProto | None, config: PlanConfig) -> dict[str, _Tried]:
    """The variants by name: model, layers in fp32, tensor behind which int8 begins."""
    if int8 is None:
        return {}
    found: dict[str, _Tried] = {}
    quantised = {n.input[0] for n in int8.graph.node if n.op_type == "QuantizeLinear"}
    for layers in sorted(config.fp32_layers):
        if layers == 0:
            found["int8"] = (int8, 0, network.input.name)
            continue
        usable = (c for c in network.cuts if c.layers >= layers and c.tensor in quantised)
        cut = next(usable, None)
        if cut is not None:
            name = f"fp32 for {cut.layers} layers, then int8"
            found[name] = (fp32_then_int8(network.model, int8, cut.tensor), cut.layers, cut.tensor)
    return found


def fp32_then_int8(front: onnx.ModelProto, rear: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """The fp32 graph `front` up to a one-tensor cut, the QDQ graph `rear` behind it."""
    outputs = [info.name for info in rear.graph.output]
    before = nodes_between(front.graph, [], [tensor])
    behind = nodes_between(rear.graph, [tensor], outputs)
    constants = initialisers(front.graph) | initialisers(rear.graph)
    # Dequantised biases keep the float bias's name, and both parts may share one: they come first.
    biases = [node for node in behind if constants.keys() >= set(node.input)]
    rest = [node for node in behind if node not in biases]
    return assemble(rear, biases + before + rest, front.graph.input, rear.graph.output, constants)


def _measured(
    network: Network, pictures: PictureSets, models: dict[str, _Tried]
) -> Iterator[Variant]:
    answer = answer_index(network.outputs)
    held_back = {network.input.name: pictures.held_back}
    reference = run_batches(open_session(network.model, threads=all_cores()), held_back)[answer]
    singles = {name: open_session(model, threads=1) for name, (model, *_) in models.items()}
    picture = {network.input.name: pictures.held_back[:1]}
    times = interleaved_ms(
        {name: partial(session.run, None, picture) for name, session in singles.items()},
        _ROUNDS,
        time.thread_time,
    )
    for name, (_, layers, int8_from) in models.items():
        close = closeness(reference, run_batches(singles[name], held_back)[answer])
        yield Variant(
            name=name,
            fp32_layers=layers,
            int8_from=int8_from,
            network_ms=times[name],
            agreement=close.agreement,
            kl=close.kl,
        )
