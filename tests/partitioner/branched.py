"""Tiny networks that are more than a chain of layers with one input and one output."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.partitioner.networks import CLASSES, SIZE, Builder

from isthmus_partitioner import Network, Samples
from isthmus_partitioner.cuts.cut import NetworkCut, cut_before
from isthmus_partitioner.graph.surgery import nodes_between

PLACES, KINDS = 16, 24  # ids of an item, distinct ids
WIDTH, HEADS = 12, 4  # features of an id, and weights of it
_KINDS: Mapping[str, tuple[int, Sequence[int | str]]] = {
    "picture": (TensorProto.UINT8, ["N", SIZE, SIZE, 3]),
    "gain": (TensorProto.INT64, []),
    "hint": (TensorProto.FLOAT, ["N", CLASSES]),
    "ids": (TensorProto.INT64, ["N", PLACES]),
}


def model_of(
    build: Builder, inputs: Sequence[str], outputs: Mapping[str, Sequence[int | str]]
) -> onnx.ModelProto:
    """The builder's graph with inputs of `_KINDS`, and float outputs of these shapes."""
    sources = [helper.make_tensor_value_info(name, *_KINDS[name]) for name in inputs]
    targets = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in outputs.items()
    ]
    graph = helper.make_graph(build.nodes, "branched", sources, targets, build.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


ANSWER = {"answer": ("N", CLASSES)}


def u_net() -> onnx.ModelProto:
    """Down twice, up once: `wide` skips over `deep`, `deeper` and `up`."""
    build = Builder()
    wide = build.op("Relu", [build.conv(build.picture(), "first", (3, 4), stride=2)], "wide")
    deep = build.op("Relu", [build.conv(wide, "second", (4, 8), stride=2)], "deep")
    deeper = build.op("Relu", [build.conv(deep, "third", (8, 8))], "deeper")
    build.constant("scales", np.asarray([1, 1, 2, 2], np.float32))
    build.op("Resize", [deeper, "", "scales"], "up", mode="nearest")
    build.op("Concat", [wide, "up"], "joined", axis=1)
    build.op("Relu", [build.conv("joined", "last", (12, 12), stride=4)], "last.relu")
    build.classes("last.relu", 12)
    return model_of(build, ["picture"], ANSWER)


def fork() -> onnx.ModelProto:
    """Between a large tensor and the work of two branches, two small ones cross: `one`, `two`."""
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 16))], "stem.relu")
    ends = []
    for name in ("one", "two"):
        small = build.op("Relu", [build.conv(stem, f"{name}.in", (16, 4), stride=8)], name)
        inner = build.op("Relu", [build.conv(small, f"{name}.wide", (4, 4096))], f"{name}.inner")
        ends.append(build.conv(inner, f"{name}.out", (4096, 6)))
    build.op("Concat", ends, "joined", axis=1)
    build.classes("joined", 12)
    return model_of(build, ["picture"], ANSWER)


def with_gain() -> onnx.ModelProto:
    """A picture and a whole number, which is read before and behind `stem.relu`."""
    build = Builder()
    build.op("Cast", ["gain"], "gain.real", to=TensorProto.FLOAT)
    build.op("Mul", [build.conv(build.picture(), "stem", (3, 8), stride=4), "gain.real"], "louder")
    stem = build.op("Relu", ["louder"], "stem.relu")
    build.op("Div", [build.conv(stem, "last", (8, 12), stride=2), "gain.real"], "softer")
    build.op("Relu", ["softer"], "last.relu")
    build.classes("last.relu", 12)
    return model_of(build, ["picture", "gain"], ANSWER)


def with_early_answer() -> onnx.ModelProto:
    """`early` is an output that is made of `stem.relu` alone."""
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "stem.relu")
    build.op("ReduceMean", [stem], "early", axes=[2, 3], keepdims=0)
    build.op("Relu", [build.conv(stem, "last", (8, 12), stride=2)], "last.relu")
    build.classes("last.relu", 12)
    return model_of(build, ["picture"], {"early": ("N", 8), **ANSWER})


def with_output_inside() -> onnx.ModelProto:
    """`stem.relu` is an output, and the rest of the network reads it."""
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "stem.relu")
    build.op("Relu", [build.conv(stem, "last", (8, 12), stride=2)], "last.relu")
    build.classes("last.relu", 12)
    return model_of(build, ["picture"], {"stem.relu": ("N", 8, 8, 8), **ANSWER})


def passing_through() -> onnx.ModelProto:
    """`hint` is an input, is added to the logits, and is an output as it came."""
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "stem.relu")
    build.op("Relu", [build.conv(stem, "last", (8, 12), stride=2)], "last.relu")
    build.op("GlobalAveragePool", ["last.relu"], "pool")
    build.op("Flatten", ["pool"], "features")
    inputs = ["features", build.weight("fc.w", 12, CLASSES, scale=1.0)]
    build.op("Gemm", [*inputs, build.weight("fc.b", CLASSES, scale=0.1)], "logits")
    build.op("Add", ["logits", "hint"], "hinted")
    build.op("Softmax", ["hinted"], "answer", axis=1)
    return model_of(build, ["picture", "hint"], {"hint": ("N", CLASSES), **ANSWER})


def masked() -> onnx.ModelProto:
    """Ids become vectors; places of id 0 count for nothing, which a late layer has to know, too."""
    build = Builder()
    build.weight("table", KINDS, WIDTH, scale=1.0)
    build.op("Gather", ["table", "ids"], "vectors", axis=0)
    build.constant("padding", np.asarray(0, np.int64))
    build.op("Greater", ["ids", "padding"], "is_there")
    build.op("MatMul", ["vectors", build.weight("inner.w", WIDTH, WIDTH)], "inner")
    hidden = build.op("Relu", ["inner"], "hidden")
    build.op("MatMul", [hidden, build.weight("outer.w", WIDTH, CLASSES)], "outer")
    build.op("Cast", ["is_there"], "weights", to=TensorProto.FLOAT)
    build.constant("last_axis", np.asarray([2], np.int64))
    build.op("Unsqueeze", ["weights", "last_axis"], "columns")
    build.op("Mul", ["outer", "columns"], "counted")
    build.op("ReduceSum", ["counted", build.constant("places", np.asarray([1], np.int64))], "sums",
             keepdims=0)  # fmt: skip
    build.op("Softmax", ["sums"], "answer", axis=1)
    return model_of(build, ["ids"], ANSWER)


def forbidding(least: float = -np.inf) -> onnx.ModelProto:
    """Attention with a few queries: places of id 0 get `least` added before the softmax."""
    build = Builder()
    build.weight("table", KINDS, WIDTH, scale=1.0)
    build.op("Gather", ["table", "ids"], "vectors", axis=0)
    build.constant("padding", np.asarray(0, np.int64))
    build.op("Equal", ["ids", "padding"], "is_missing")
    build.constant("last", np.asarray([2], np.int64))
    build.op("Unsqueeze", ["is_missing", "last"], "missing")
    build.constant("forbidden", np.asarray(least, np.float32))
    build.constant("allowed", np.zeros((1, 1, HEADS), np.float32))
    build.op("Where", ["missing", "forbidden", "allowed"], "mask")
    build.op("MatMul", ["vectors", build.weight("inner.w", WIDTH, WIDTH)], "inner")
    hidden = build.op("Relu", ["inner"], "hidden")
    build.op("MatMul", [hidden, build.weight("query", WIDTH, HEADS)], "scores")
    build.op("Add", ["scores", "mask"], "masked")
    build.op("Softmax", ["masked"], "shares", axis=1)
    build.op("Transpose", ["shares"], "rows", perm=[0, 2, 1])
    build.op("MatMul", ["rows", hidden], "seen")
    build.constant("flat", np.asarray([0, HEADS * WIDTH], np.int64))
    build.op("Reshape", ["seen", "flat"], "features")
    inputs = ["features", build.weight("fc.w", HEADS * WIDTH, CLASSES, scale=0.3)]
    build.op("Gemm", inputs, "logits")
    build.op("Softmax", ["logits"], "answer", axis=1)
    return model_of(build, ["ids"], ANSWER)


def items(network: Network, count: int, seed: int, source: str) -> Samples:
    """Random items of every input that a network of this module has."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, SIZE // 4, SIZE // 4, 3))
    ids = random.integers(1, KINDS, (count, PLACES))
    ids[:, PLACES // 2 :] *= random.integers(0, 2, (count, PLACES // 2))
    known: Mapping[str, NDArray[np.generic]] = {
        "picture": coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8),
        "gain": random.integers(1, 4, count),
        "hint": random.standard_normal((count, CLASSES)).astype(np.float32),
        "ids": ids,
    }
    return Samples({spec.name: known[spec.name] for spec in network.inputs}, (source,) * count)


def cut_behind(network: Network, *tensors: str) -> NetworkCut:
    """The cut whose head computes these tensors, and no more."""
    graph = network.model.graph
    wanted = {node.name for node in nodes_between(graph, (), tensors)}
    return cut_before(network, frozenset(i for i, n in enumerate(graph.node) if n.name in wanted))
