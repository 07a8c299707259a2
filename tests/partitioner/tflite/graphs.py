"""Tiny ONNX graphs, and what two runtimes answer to them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus_partitioner.tflite import Difference, Lowered, lower, verify
from isthmus_partitioner.tflite.schema import Op, schema

Array = NDArray[np.generic]
CLOSE = 2e-6  # two float runtimes add up in different orders
_CODES = {code: name for name, code in vars(Op).items() if type(code) is int}


class Tiny:
    """Collects nodes and constants of one graph."""

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def fixed(self, name: str, value: Any, kind: Any = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def weights(self, name: str, *shape: int) -> str:
        return self.fixed(name, self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))

    def integer_weights(self, name: str, *shape: int, axis: int = 0) -> str:
        """int8 with a step per channel behind a DequantizeLinear."""
        self.fixed(f"{name}.i8", self.random.integers(-127, 128, shape), np.int8)
        self.fixed(f"{name}.steps", self.random.uniform(0.001, 0.01, shape[axis]))
        self.fixed(f"{name}.zeros", np.zeros(shape[axis]), np.int8)
        return self.op(
            "DequantizeLinear", [f"{name}.i8", f"{name}.steps", f"{name}.zeros"], name, axis=axis
        )

    def quantised(self, name: str, step: float, zero_point: int) -> str:
        """The uint8 form of a tensor."""
        return self.op("QuantizeLinear", [name, *self._grid(name, step, zero_point)], f"{name}.u8")

    def dequantised(self, name: str, step: float, zero_point: int) -> str:
        """The reals of a uint8 tensor."""
        return self.op("DequantizeLinear", [name, *self._grid(name, step, zero_point)], f"{name}.r")

    def through(self, name: str, step: float = 0.05, zero_point: int = 128) -> str:
        """A tensor that was uint8 for a moment."""
        return self.dequantised(self.quantised(name, step, zero_point), step, zero_point)

    def model(
        self, inputs: Mapping[str, tuple[str, Sequence[int | str]]], outputs: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Of inputs by type and shape, and of outputs by type."""
        sources = [
            helper.make_tensor_value_info(name, _element(kind), shape)
            for name, (kind, shape) in inputs.items()
        ]
        targets = [
            helper.make_tensor_value_info(name, _element(kind), None)
            for name, kind in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "tiny", sources, targets, self.constants)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)

    def _grid(self, name: str, step: float, zero_point: int) -> list[str]:
        count = len(self.constants)
        step_name = self.fixed(f"{name}.step{count}", step)
        return [step_name, self.fixed(f"{name}.zero{count}", zero_point, np.uint8)]


def one_op(kind: str, *shape: int, **attributes: Any) -> onnx.ModelProto:
    """A float op of one input `x` and one output `y`."""
    tiny = Tiny()
    tiny.op(kind, ["x"], "y", **attributes)
    return tiny.model({"x": ("float32", shape)}, {"y": "float32"})


def items(model: onnx.ModelProto, count: int = 2, seed: int = 5) -> list[dict[str, Array]]:
    """Random items of a graph with a batch of one."""
    random = np.random.default_rng(seed)
    return [{i.name: _random(i, random) for i in model.graph.input} for _ in range(count)]


def compared(model: onnx.ModelProto, count: int = 2) -> tuple[Lowered, Difference]:
    """A model's TFLite form, and how it differs from ONNX Runtime on random items."""
    lowered = lower(model)
    return lowered, verify(lowered, model, items(model, count))


def relative(model: onnx.ModelProto) -> float:
    """How far the reals of the TFLite form are off."""
    difference = compared(model)[1]
    assert difference.equal == 1.0  # there are no integers among the outputs
    return difference.relative


def operators(lowered: Lowered) -> Counter[str]:
    """How often the file has each operator."""
    model = schema.ModelT.InitFromPackedBuf(lowered.data)
    used = [model.operatorCodes[op.opcodeIndex] for op in model.subgraphs[0].operators]
    return Counter(_CODES[code.builtinCode] for code in used)


def tensors(lowered: Lowered) -> dict[str, Any]:
    """The file's tensors by name."""
    model = schema.ModelT.InitFromPackedBuf(lowered.data)
    return {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}


def _random(info: onnx.ValueInfoProto, random: np.random.Generator) -> Array:
    kind = info.type.tensor_type
    shape = [dim.dim_value or 1 for dim in kind.shape.dim]
    if kind.elem_type == TensorProto.FLOAT:
        return (random.standard_normal(shape) * 2).astype(np.float32)
    if kind.elem_type == TensorProto.UINT8:
        return random.integers(0, 256, shape).astype(np.uint8)
    return random.integers(0, 3, shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _element(kind: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
