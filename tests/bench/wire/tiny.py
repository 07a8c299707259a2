"""A network so small that its cuts can be checked by hand, as a subject of the wire's bench."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus_bench.wire.scores import score_classes
from isthmus_bench.wire.suite import Recipe
from isthmus_models.drawn import Part

SIZE = 8
SEEDS: dict[Part, int] = {"calibration": 1, "evaluation": 2}
# Multiply-accumulates: a 1x1 convolution to four channels in each branch, then four to five.
BRANCH_MACS = SIZE * SIZE * 3 * 4
CLASS_MACS = 4 * 5


def network() -> onnx.ModelProto:
    """picture -> planes -> (left, right) -> sum -> mean -> scores."""
    random = np.random.default_rng(0)
    shapes = {"left.w": (4, 3, 1, 1), "right.w": (4, 3, 1, 1), "scores.w": (4, 5)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Cast", ["picture"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=(0, 3, 1, 2)),
        helper.make_node("Conv", ["planes", "left.w"], ["left"]),
        helper.make_node("Conv", ["planes", "right.w"], ["right"]),
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
        helper.make_node("MatMul", ["features", "scores.w"], ["scores"]),
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["N", SIZE, SIZE, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "tiny", [picture], [scores], weights)
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def pictures(part: Part, count: int) -> NDArray[np.generic]:
    """Noise, the same for the same part."""
    random = np.random.default_rng(SEEDS[part])
    return random.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


RECIPE = Recipe(
    name="tiny",
    make=network,
    inputs=pictures,
    cuts={"branches": ("left", "right"), "sum": ("sum",)},
    score=score_classes,
)
