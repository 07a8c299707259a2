"""A network that runs only while its sizes are unstated: branches never taken would not fit them.

As in silero-vad, where each sampling rate has a branch of its own, and each frame fits one of them.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper
from tests.partitioner.networks import CLASSES, SIZE, Builder, pictures

from isthmus_partitioner import Network, Samples

RATE = 16_000  # the branch that is taken
SIZES = {"height": SIZE, "width": SIZE}  # which the file leaves open


def undecided() -> onnx.ModelProto:
    """A small layer, two branches on `rate`, then a wide block.

    Of `first`, the runtime cannot know how many dimensions it has. The other branch of `second`
    wants three, and has four to read whenever it is not taken.
    """
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "stem.relu")
    build.constant("low", np.asarray(100, np.int64))
    build.constant("axis", np.asarray([2], np.int64))
    build.op("Greater", ["rate", "low"], "is_high")
    flat = helper.make_node("Squeeze", [stem, "axis"], ["flat"])
    _decide(build, "first", _node("Abs", stem), flat)
    build.weight("lstm.w", 1, 16, 8)
    build.weight("lstm.r", 1, 16, 4)
    steps = helper.make_node("LSTM", ["first", "lstm.w", "lstm.r"], ["steps"], hidden_size=4)
    _decide(build, "second", _node("Tanh", "first"), steps)
    wide = build.op("Relu", [build.conv("second", "wide", (8, 256))], "wide.relu")
    last = build.op("Relu", [build.conv(wide, "last", (256, 12), stride=2)], "last.relu")
    build.classes(last, 12)
    sources = [
        helper.make_tensor_value_info("picture", TensorProto.UINT8, ["N", *SIZES, 3]),
        helper.make_tensor_value_info("rate", TensorProto.INT64, []),
    ]
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(build.nodes, "undecided", sources, [answer], build.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def undecided_items(network: Network, count: int, seed: int, source: str) -> Samples:
    """Pictures at the one rate."""
    known = {"picture": pictures(count, seed=seed), "rate": np.full(count, RATE)}
    return Samples({spec.name: known[spec.name] for spec in network.inputs}, (source,) * count)


def _node(kind: str, *inputs: str) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [f"{inputs[0]}.{kind}"])


def _decide(build: Builder, name: str, *branches: onnx.NodeProto) -> None:
    then, otherwise = (_branch(node) for node in branches)
    build.op("If", ["is_high"], name, then_branch=then, else_branch=otherwise)


def _branch(node: onnx.NodeProto) -> onnx.GraphProto:
    outputs: Sequence[onnx.ValueInfoProto] = [
        helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    ]
    return helper.make_graph([node], node.output[0], [], outputs)
