"""Made on the host for `scripts/test-arm64`, for it needs onnx: FOLDER.

A tiny bundle with pictures, and heads of one input in both forms: `floats` in fp32, `integers` in
full int8 with a depthwise convolution, a sum and a sigmoid.
"""

import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.tinybundle import build_tiny_bundle, tiny_pictures

from isthmus import Segment, TensorSpec, TfliteForm
from isthmus_partitioner.tflite import lower

SHAPE = (16, 24, 24)
FEEDS = 8
SCALE, ZERO = 1 / 32, 100
TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


class Net:
    """Nodes and constants of one head, with a step after each node where it is in integers."""

    def __init__(self, data_type: str) -> None:
        self.data_type = data_type
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    @property
    def is_integer(self) -> bool:
        """Whether every tensor is on a grid."""
        return self.data_type == "uint8"

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        """One operator over reals; what comes out goes onto a grid and back."""
        inputs = [f"{name}.real" if self.is_integer else name for name in inputs]
        self._add(op, inputs, output, attributes)

    def conv(self, source: str, output: str, channels: int, group: int = 1) -> None:
        """3x3, same size; weights from a seed, one scale a channel."""
        shape = (channels, channels // group, 3, 3)
        weights = self._random.normal(0, 0.6 / np.sqrt(np.prod(shape[1:])), shape)
        name = f"{output}.weights"
        inputs = [f"{source}.real" if self.is_integer else source, name]
        if self.is_integer:
            scale = (abs(weights).max((1, 2, 3)) / 127).astype(np.float32)
            symbols = np.rint(weights / scale[:, None, None, None]).astype(np.int8)
            self.dequantise(symbols, name, scale, axis=0)
        else:
            self.constant(name, weights.astype(np.float32))
        self._add("Conv", inputs, output, {"group": group, "pads": [1, 1, 1, 1]})

    def _add(self, op: str, inputs: list[str], output: str, attributes: dict[str, object]) -> None:
        made = f"{output}.made" if self.is_integer else output
        self._nodes.append(helper.make_node(op, inputs, [made], name=output, **attributes))
        if self.is_integer:
            # TFLite fixes the grid of a sigmoid at (1/256, -128 of int8).
            grid = (1 / 256, 0) if op == "Sigmoid" else (SCALE, ZERO)
            self.grid(output, *grid)
            names = [f"{output}.scale", f"{output}.zero"]
            self._nodes.append(helper.make_node("QuantizeLinear", [made, *names], [output]))
            self.real(output)

    def grid(self, name: str, scale: float, zero: int) -> None:
        """Constants for steps to and from a tensor."""
        self.constant(f"{name}.scale", np.array(scale, np.float32))
        self.constant(f"{name}.zero", np.array(zero, np.uint8))

    def real(self, name: str) -> None:
        """The reals that a tensor stands for."""
        names = [name, f"{name}.scale", f"{name}.zero"]
        self._nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}.real"]))

    def dequantise(
        self, symbols: NDArray[np.int8], name: str, scale: NDArray[np.float32], axis: int
    ) -> None:
        """A constant that is held as integers."""
        self.constant(f"{name}.symbols", symbols)
        self.constant(f"{name}.scale", scale)
        names = [f"{name}.symbols", f"{name}.scale"]
        self._nodes.append(helper.make_node("DequantizeLinear", names, [name], axis=axis))

    def constant(self, name: str, value: NDArray[np.generic]) -> None:
        """An initialiser."""
        self._constants.append(numpy_helper.from_array(value, name))

    def model(self, source: str, output: str) -> onnx.ModelProto:
        """Without the last way back to reals, which nobody reads."""
        nodes = [n for n in self._nodes if n.output[0] != f"{output}.real"]
        ends = [
            helper.make_tensor_value_info(name, TYPES[self.data_type], [1, *SHAPE])
            for name in (source, output)
        ]
        graph = helper.make_graph(nodes, "head", ends[:1], ends[1:], self._constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests"
        )


def head(data_type: str) -> onnx.ModelProto:
    """Conv, depthwise conv, its sigmoid times itself, plus the first."""
    net = Net(data_type)
    if net.is_integer:
        net.grid("image", SCALE, ZERO)
        net.real("image")
    net.conv("image", "first", SHAPE[0])
    net.node("Relu", ["first"], "bent")
    net.conv("bent", "deep", SHAPE[0], group=SHAPE[0])
    net.node("Sigmoid", ["deep"], "gate")
    net.node("Mul", ["deep", "gate"], "gated")
    net.node("Add", ["gated", "bent"], "cut")
    return net.model("image", "cut")


def write_head(folder: Path, data_type: str) -> None:
    """Both forms, what the manifest would say of them, and inputs."""
    folder.mkdir(parents=True)
    model = onnx.shape_inference.infer_shapes(head(data_type))
    onnx.checker.check_model(model)
    onnx.save(model, folder / "head.onnx")
    lowered = lower(model)
    (folder / "head.tflite").write_bytes(lowered.data)
    segment = Segment(
        file="head.onnx",
        inputs=(TensorSpec(name="image", data_type=data_type, shape=SHAPE),),
        outputs=(TensorSpec(name="cut", data_type=data_type, shape=SHAPE),),
        tflite=TfliteForm(file="head.tflite", channels_last=lowered.channels_last),
    )
    (folder / "segment.json").write_bytes(msgspec.json.encode(segment))
    random = np.random.default_rng(1)
    feeds = [random.normal(0, 1, (1, *SHAPE)).astype(np.float32) for _ in range(FEEDS)]
    if data_type == "uint8":
        feeds = [np.clip(np.rint(x / SCALE) + ZERO, 0, 255).astype(np.uint8) for x in feeds]
    np.savez(folder / "feeds.npz", *feeds)


def main(folder: Path) -> None:
    """Write all of it."""
    build_tiny_bundle(folder / "bundle")
    np.savez(folder / "pictures.npz", *tiny_pictures(FEEDS))
    write_head(folder / "heads" / "floats", "float32")
    write_head(folder / "heads" / "integers", "uint8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
