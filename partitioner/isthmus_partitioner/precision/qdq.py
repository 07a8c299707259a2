"""ONNX Runtime's quantiser: one graph of QuantizeLinear and DequantizeLinear for a whole network.

uint8 activations, int8 weights per channel. A runtime may silently compute such a graph in float:
`integer_layers` counts what really runs in integers.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

from isthmus import ConfigError, ModelError
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.precision.ranges import Ranges
from isthmus_partitioner.runtime import open_session, session_options

__all__ = [
    "FLOAT_ANSWERS",
    "LAYERS",
    "QdqGraph",
    "integer_layers",
    "quantisable",
    "quantised_graph",
    "tensors_to_range",
]

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_OPS = LAYERS | {
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool",
    "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip
# Logits keep their resolution: the last integer layer answers in float.
FLOAT_ANSWERS = frozenset({"Gemm", "MatMul"})
_INTEGER_OPS = frozenset(
    {"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeLSTM",
     "DynamicQuantizeMatMul", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}
)  # fmt: skip
_INTEGER_LAYERS = frozenset({"MatMulIntegerToFloat", "QGemm", "QLinearConv", "QLinearMatMul"})

# What ONNX Runtime's quantiser raises for a graph that it does not understand.
_QUANTISER_ERRORS = (
    AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QdqGraph:
    """`model` as the quantiser left it; `nodes` are the indices of the network's quantised ones."""

    model: onnx.ModelProto
    nodes: frozenset[int]


def quantisable(network: Network) -> frozenset[int]:
    """Nodes of an op that can be quantised, from the first layer to the last.

    Preprocessing in front of them and softmax behind them stay float.
    """
    layers = [index for index, macs in enumerate(network.macs) if macs]
    if not layers:
        return frozenset()
    nodes = network.model.graph.node
    span = range(layers[0], layers[-1] + 1)
    return frozenset(index for index in span if nodes[index].op_type in _OPS)


def tensors_to_range(network: Network) -> frozenset[str]:
    """Float tensors that quantisable nodes read or make, as far as they depend on an input."""
    nodes = network.model.graph.node
    names = {n for i in quantisable(network) for n in (*nodes[i].input, *nodes[i].output)}
    return frozenset(n for n in names & network.tensors.keys() if _may_be_float(network, n))


def quantised_graph(network: Network, ranges: Ranges) -> QdqGraph:
    """Quantise every node that can be and whose tensors have ranges.

    Raises ModelError if ONNX Runtime cannot quantise the network.
    """
    nodes = network.model.graph.node
    if any(node.op_type in _INTEGER_OPS for node in nodes):
        raise ModelError(f"{network.path}: is quantised already; it stays as it is")
    chosen = frozenset(i for i in quantisable(network) if _has_ranges(network, i, ranges))
    if not chosen:
        raise ModelError(f"{network.path}: holds no layer that can be quantised")
    copy = onnx.ModelProto()
    copy.CopyFrom(network.model)
    bounds = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    try:
        quantiser = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, bounds),
            nodes_to_quantize=[nodes[index].name for index in sorted(chosen)],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted(_OPS),
            extra_options={"OpTypesToExcludeOutputQuantization": sorted(FLOAT_ANSWERS)},
        )
        quantiser.quantize_model()
    except DecodeError as error:  # of its own file: it says nothing when it runs out of room
        raise ConfigError(
            f"{tempfile.gettempdir()}: the temporary folder cannot hold the quantiser's copy of "
            f"{network.path.name}; make room, or name another in TMPDIR"
        ) from error
    except _QUANTISER_ERRORS as error:
        raise ModelError(
            f"{network.path}: ONNX Runtime cannot quantise it ({error!r}); it stays fp32"
        ) from error
    return QdqGraph(quantiser.model.model, chosen)


def integer_layers(model: onnx.ModelProto) -> int:
    """How many layers of the optimised graph really compute in integers."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        target = Path(folder) / "optimised.onnx"
        options = session_options(1)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        open_session(model, threads=1, options=options)
        nodes = onnx.load(target, load_external_data=False).graph.node
    return sum(node.op_type in _INTEGER_LAYERS for node in nodes)


def _has_ranges(network: Network, index: int, ranges: Ranges) -> bool:
    constants = {tensor.name for tensor in network.model.graph.initializer}
    node = network.model.graph.node[index]
    return all(
        name in ranges
        for name in (*node.input, *node.output)
        if name and name not in constants and _may_be_float(network, name)
    )


def _may_be_float(network: Network, tensor: str) -> bool:
    spec = network.tensors.get(tensor)
    return spec is None or spec.data_type == "float32"
