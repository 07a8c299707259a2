"""Tiny image classifiers as ONNX, with seeded random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 32
CLASSES = 5
WIDE = 3072  # channels of the block that a slow device would rather leave to the cloud
LAYER = 1024  # features of a layer that is no Conv


class Builder:
    """Collects nodes; each method answers the name of what it made."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, *shape: int, scale: float | None = None) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        spread = (2 / fan_in) ** 0.5 if scale is None else scale
        self.constant(name, (self.random.standard_normal(shape) * spread).astype(np.float32))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def picture(self) -> str:
        """The preprocessing: uint8 [N,H,W,3] to float [N,3,H,W] around zero."""
        self.constant("mean", np.asarray(127, np.float32))
        self.constant("spread", np.asarray(64, np.float32))
        self.op("Cast", ["picture"], "real", to=TensorProto.FLOAT)
        self.op("Sub", ["real", "mean"], "centred")
        self.op("Div", ["centred", "spread"], "scaled")
        return self.op("Transpose", ["scaled"], "planes", perm=[0, 3, 1, 2])

    def conv(
        self, source: str, name: str, channels: tuple[int, int], stride: int = 1, kernel: int = 3
    ) -> str:
        before, after = channels
        inputs = [source, self.weight(f"{name}.w", after, before, kernel, kernel)]
        inputs.append(self.weight(f"{name}.b", after, scale=0.1))
        pads = [kernel // 2] * 4
        return self.op("Conv", inputs, name, pads=pads, strides=[stride, stride])

    def classes(self, source: str, channels: int) -> str:
        self.op("GlobalAveragePool", [source], "pool")
        self.op("Flatten", ["pool"], "features")
        inputs = ["features", self.weight("fc.w", channels, CLASSES, scale=1.0)]
        self.op("Gemm", [*inputs, self.weight("fc.b", CLASSES, scale=0.1)], "logits")
        return self.op("Softmax", ["logits"], "answer", axis=1)

    def model(
        self,
        answer: str = "answer",
        picture: str = "picture",
        batch: str | int = "N",
        opset: int = 13,
    ) -> onnx.ModelProto:
        source = helper.make_tensor_value_info(picture, TensorProto.UINT8, [batch, SIZE, SIZE, 3])
        target = helper.make_tensor_value_info(answer, TensorProto.FLOAT, [batch, CLASSES])
        graph = helper.make_graph(self.nodes, "tiny", [source], [target], self.constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )


def residual(batch: str | int = "N", seed: int = 0) -> onnx.ModelProto:
    """A strided Conv, then a wide block with a skip connection, then a strided Conv.

    Most of the work lies behind the small tensor `stem.relu`: a slow device gains by a cut there,
    however noisy the machine is that measures it.
    """
    build = Builder(seed)
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "stem.relu")
    inner = build.op("Relu", [build.conv(stem, "inner", (8, WIDE))], "inner.relu")
    build.op("Add", [build.conv(inner, "outer", (WIDE, 8)), stem], "sum")
    last = build.op("Relu", [build.conv("sum", "last", (8, 12), stride=2)], "last.relu")
    build.classes(last, 12)
    return build.model(batch=batch)


def correlated() -> onnx.ModelProto:
    """32 channels `wide` that are mixtures of four, none of which is a cut; then a wide block."""
    build = Builder()
    planes = build.picture()
    mixed = []
    for name in ("left", "right"):
        pair = build.op("Relu", [build.conv(planes, name, (3, 2), stride=4)], f"{name}.relu")
        mixed.append(build.conv(pair, f"{name}.mixed", (2, 32), kernel=1))
    wide = build.op("Add", mixed, "wide")
    inner = build.op("Relu", [build.conv(wide, "inner", (32, WIDE))], "inner.relu")
    last = build.op("Relu", [build.conv(inner, "last", (WIDE, 12), stride=2)], "last.relu")
    build.classes(last, 12)
    return build.model()


def two_branches() -> onnx.ModelProto:
    """One Conv feeds two branches that meet in a Concat."""
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=2)], "stem.relu")
    left = build.op("Relu", [build.conv(stem, "left", (8, 6))], "left.relu")
    right = build.op("Relu", [build.conv(stem, "right", (8, 6))], "right.relu")
    joined = build.op("Concat", [left, right], "joined", axis=1)
    last = build.op("Relu", [build.conv(joined, "last", (12, 12), stride=2)], "last.relu")
    build.classes(last, 12)
    return build.model()


def layers_only() -> onnx.ModelProto:
    """No Conv, one output of logits, names as some exporters write them. Wide behind a thin place:
    where encoding takes as long as the network, no cut would be worth it."""
    build = Builder()
    build.constant("shape", np.asarray([0, SIZE * SIZE * 3], np.int64))
    build.constant("spread", np.asarray(255, np.float32))
    build.op("Cast", ["image:0"], "real", to=TensorProto.FLOAT)
    build.op("Div", ["real", "spread"], "scaled")
    source = build.op("Reshape", ["scaled", "shape"], "flat")
    for index, (before, after) in enumerate([(SIZE * SIZE * 3, 16), (16, LAYER), (LAYER, LAYER)]):
        weights = build.weight(f"w{index}", before, after, scale=(2 / before) ** 0.5)
        build.op("MatMul", [source, weights], f"model/layer:{index}")
        bias = build.weight(f"b{index}", after, scale=0.1)
        build.op("Add", [f"model/layer:{index}", bias], f"model/layer:{index}/bias")
        source = build.op("Relu", [f"model/layer:{index}/bias"], f"model/layer:{index}/Relu:0")
    build.op("MatMul", [source, build.weight("last", LAYER, CLASSES, scale=0.2)], "model/logits:0")
    return build.model("model/logits:0", "image:0")


def pictures(count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """Smooth random pictures, uint8 [count,size,size,3]."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, size // 4, size // 4, 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
