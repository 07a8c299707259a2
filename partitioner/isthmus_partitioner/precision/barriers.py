"""Keeps float layers float where integers surround them.

ONNX Runtime (1.20 and later, WeightBiasQuantization) makes integers of a float layer's weights, one
scale for all channels, wherever a DequantizeLinear stands before the layer and a QuantizeLinear
behind it: an fp32 group between int8 ones would silently be a bad int8 group. A Clip without bounds
hands on what it reads, is not optimised away, and stands in the way.
"""

from collections.abc import Iterator, Sequence

import onnx
from onnx import helper

__all__ = ["kept_float"]

_GREEDY = frozenset({"Conv", "ConvTranspose", "Gemm"})  # the ops whose weights it quantises
# The runtime moves conversions past these, and drops activations that a range implies.
_TRANSPARENT = frozenset(
    {"Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def kept_float(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes of a mix in order, with a barrier before each float layer that needs one."""
    made_by = {name: node for node in nodes for name in node.output if name}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in nodes:
        is_float = node.op_type in _GREEDY and node.input[1] not in made_by
        if not (is_float and _is_dequantised(node, made_by) and _is_quantised(node, readers)):
            yield node
            continue
        inner = f"{node.name}_float"
        yield helper.make_node("Clip", [node.input[0]], [inner], inner)
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[0] = inner
        yield copy


def _is_dequantised(layer: onnx.NodeProto, made_by: dict[str, onnx.NodeProto]) -> bool:
    maker = made_by.get(layer.input[0])
    while maker is not None and maker.op_type in _TRANSPARENT:
        maker = made_by.get(maker.input[0])
    return maker is not None and maker.op_type == "DequantizeLinear"


def _is_quantised(layer: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> bool:
    """Whether all that the layer makes goes into one QuantizeLinear."""
    behind = readers.get(layer.output[0], [])
    while len(behind) == 1 and behind[0].op_type in _TRANSPARENT:
        behind = readers.get(behind[0].output[0], [])
    return len(behind) == 1 and behind[0].op_type == "QuantizeLinear"
