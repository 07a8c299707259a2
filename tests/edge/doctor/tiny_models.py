"""Makes the doctor's tiny network: `python -m tests.edge.doctor.tiny_models` writes its four files.

Every number is exact: weights are integers from a linear congruential generator times a power of
two, and scales of activations are powers of two that hold what the fp32 network computes. So the
files are the same on every machine.
"""

from dataclasses import dataclass
from importlib import import_module
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus_edge.doctor.tiny import (
    FOLDER,
    INPUT,
    INPUT_SCALE,
    INPUT_SHAPE,
    OUTPUT,
    OUTPUT_SHAPE,
    OUTPUT_ZERO_POINT,
    fp32_feed,
)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """One convolution: integer weights OIHW times `step`; with `relu` but for the last one."""

    weights: Ints
    bias: Ints
    step: float
    stride: int
    groups: int
    relu: bool

    @property
    def pads(self) -> list[int]:
        """As TensorFlow's SAME has it, for an even size."""
        size = self.weights.shape[-1]
        first = (size - self.stride) // 2 if size > 1 else 0
        return [first, first, *(2 * [max(size - self.stride, 0) - first])]


class Generator:
    """Numerical Recipes' linear congruential generator: the same integers everywhere."""

    def __init__(self) -> None:
        self._state = 6

    def integers(self, shape: tuple[int, ...], most: int) -> Ints:
        """Between -most and most."""
        values = [self._next() % (2 * most + 1) - most for _ in range(int(np.prod(shape)))]
        return np.array(values, np.int64).reshape(shape)

    def _next(self) -> int:
        self._state = (self._state * 1664525 + 1013904223) % 2**32
        return self._state >> 8


def layers() -> list[Layer]:
    generator = Generator()

    def layer(out: int, each: int, size: int, stride: int, relu: bool) -> Layer:
        groups = out if each == 1 else 1
        step = 2.0 ** -round(log2(127 * (each * size * size) ** 0.5) - 0.5)
        weights = generator.integers((out, each, size, size), 127)
        return Layer(weights, generator.integers((out,), 2000), step, stride, groups, relu)

    return [
        layer(32, 8, 3, 1, True),
        layer(48, 32, 1, 1, True),
        layer(48, 48, 1, 1, True),
        layer(48, 1, 3, 2, True),
        layer(32, 48, 1, 1, False),
    ]


def fp32_model(net: list[Layer], biases: list[float]) -> onnx.ModelProto:
    """`biases`: the step of each layer's bias."""
    nodes, constants, now = [], [], INPUT
    for index, (layer, step) in enumerate(zip(net, biases, strict=True)):
        constants.append(_constant(f"w{index}", layer.weights * layer.step, np.float32))
        constants.append(_constant(f"b{index}", layer.bias * step, np.float32))
        made = f"conv{index}" if layer.relu else OUTPUT
        nodes.append(_conv(layer, [now, f"w{index}", f"b{index}"], made))
        now = made
        if layer.relu:
            now = f"relu{index}"
            nodes.append(helper.make_node("Relu", [made], [now]))
    return _model(nodes, constants, TensorProto.FLOAT)


def int8_model(net: list[Layer], scales: list[float]) -> onnx.ModelProto:
    """QDQ: uint8 activations, int8 weights; `scales` of the input and of each layer's output."""
    nodes, constants, now = [], [], INPUT
    for index, layer in enumerate(net):
        zero_points = [_zero_point(net, index - 1), _zero_point(net, index)]
        channels = len(layer.bias)
        constants += [
            _constant(f"sx{index}", np.array(scales[index]), np.float32),
            _constant(f"zx{index}", np.array(zero_points[0]), np.uint8),
            _constant(f"w{index}", layer.weights, np.int8),
            _constant(f"sw{index}", np.full(channels, layer.step), np.float32),
            _constant(f"zw{index}", np.zeros(channels), np.int8),
            _constant(f"b{index}", layer.bias, np.int32),
            _constant(f"sb{index}", np.full(channels, layer.step * scales[index]), np.float32),
            _constant(f"zb{index}", np.zeros(channels), np.int32),
        ]
        for what, source, axis in (("x", now, None), ("w", f"w{index}", 0), ("b", f"b{index}", 0)):
            nodes.append(_dequantise(what, index, source, axis))
        nodes.append(_conv(layer, [f"d{what}{index}" for what in "xwb"], f"conv{index}"))
        made = f"conv{index}"
        if layer.relu:
            nodes.append(helper.make_node("Relu", [made], [f"relu{index}"]))
            made = f"relu{index}"
        now = OUTPUT if index == len(net) - 1 else f"q{index}"
        constants.append(_constant(f"sy{index}", np.array(scales[index + 1]), np.float32))
        constants.append(_constant(f"zy{index}", np.array(zero_points[1]), np.uint8))
        nodes.append(helper.make_node("QuantizeLinear", [made, f"sy{index}", f"zy{index}"], [now]))
    return _model(nodes, constants, TensorProto.UINT8)


def tflite_model(net: list[Layer], biases: list[float], scales: list[float] | None) -> bytes:
    """The same in TFLite; with `scales` in int8, else in fp32."""
    graph = _Flat(import_module("ai_edge_litert.schema_py_generated"), scales)
    now = graph.activation(INPUT, (64, 64, 8), 0, _zero_point(net, -1))
    size = 64
    for index, layer in enumerate(net):
        size //= layer.stride
        name = OUTPUT if index == len(net) - 1 else f"conv{index}"
        shape = (size, size, len(layer.bias))
        made = graph.activation(name, shape, index + 1, _zero_point(net, index))
        graph.conv(layer, index, (now, made), biases[index])
        now = made
    return graph.packed(now)


class _Flat:
    """Builds a flat buffer with the schema's object interface."""

    def __init__(self, schema: Any, scales: list[float] | None) -> None:
        self._schema, self._scales = schema, scales
        self._model, self._graph = schema.ModelT(), schema.SubGraphT()
        self._model.version, self._model.description = 3, b"isthmus doctor"
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        self._model.subgraphs = [self._graph]
        self._graph.tensors, self._graph.operators, self._graph.name = [], [], b"tiny"

    def activation(self, name: str, shape: tuple[int, ...], index: int, zero_point: int) -> int:
        kind = self._schema.TensorType
        made = self._tensor(name, (1, *shape), kind.FLOAT32 if self._scales is None else kind.INT8)
        if self._scales is not None:
            self._quantise(made, [self._scales[index]], zero_point - 128)
        return made

    def conv(self, layer: Layer, index: int, ends: tuple[int, int], bias_step: float) -> None:
        is_depthwise = layer.groups > 1
        weights = (
            layer.weights.transpose(1, 2, 3, 0)
            if is_depthwise
            else (layer.weights.transpose(0, 2, 3, 1))
        )
        kind, channels = self._schema.TensorType, len(layer.bias)
        if self._scales is None:
            w = self._constant(f"w{index}", weights * layer.step, np.float32, kind.FLOAT32)
            b = self._constant(f"b{index}", layer.bias * bias_step, np.float32, kind.FLOAT32)
        else:
            w = self._constant(f"w{index}", weights, np.int8, kind.INT8)
            b = self._constant(f"b{index}", layer.bias, np.int32, kind.INT32)
            self._quantise(w, [layer.step] * channels, 0, 3 if is_depthwise else 0)
            self._quantise(b, [bias_step] * channels, 0)
        self._operator(layer, is_depthwise, [ends[0], w, b], ends[1])

    def packed(self, last: int) -> bytes:
        self._graph.inputs, self._graph.outputs = [0], [last]
        builder = import_module("flatbuffers").Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _operator(self, layer: Layer, is_depthwise: bool, inputs: list[int], output: int) -> None:
        schema = self._schema
        name = "DepthwiseConv2DOptions" if is_depthwise else "Conv2DOptions"
        options = getattr(schema, f"{name}T")()
        options.strideH = options.strideW = layer.stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.padding = schema.Padding.SAME
        kinds = schema.ActivationFunctionType
        options.fusedActivationFunction = kinds.RELU if layer.relu else kinds.NONE
        if is_depthwise:
            options.depthMultiplier = 1
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(is_depthwise)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = options
        self._graph.operators.append(operator)

    def _code(self, is_depthwise: bool) -> int:
        operators = self._schema.BuiltinOperator
        wanted = operators.DEPTHWISE_CONV_2D if is_depthwise else operators.CONV_2D
        for index, code in enumerate(self._model.operatorCodes):
            if code.builtinCode == wanted:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = wanted
        code.version = 1 if self._scales is None else 3
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _constant(self, name: str, values: Any, data_type: Any, kind: int) -> int:
        buffer = self._schema.BufferT()
        data = np.ascontiguousarray(values.astype(data_type)).tobytes()
        buffer.data = np.frombuffer(data, np.uint8)
        self._model.buffers.append(buffer)
        made = self._tensor(name, values.shape, kind)
        self._graph.tensors[made].buffer = len(self._model.buffers) - 1
        return made

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), kind
        tensor.buffer = 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _quantise(self, tensor: int, steps: list[float], zero_point: int, axis: int = 0) -> None:
        record = self._schema.QuantizationParametersT()
        record.scale, record.zeroPoint = steps, [zero_point] * len(steps)
        record.quantizedDimension = axis
        self._graph.tensors[tensor].quantization = record


def activation_scales(net: list[Layer]) -> list[float]:
    """Powers of two that hold what the fp32 network computes for the doctor's picture."""
    scales = [INPUT_SCALE]
    for count in range(1, len(net) + 1):
        part, steps = net[:count], [la.step * s for la, s in zip(net, scales, strict=False)]
        values = _run(_ending(fp32_model(net, [*steps, *[0.0] * len(net)][: len(net)]), part))
        most = float(np.abs(values).max()) / (255 if part[-1].relu else 127)
        scales.append(2.0 ** ceil(log2(most)))
    return scales


def build() -> dict[str, bytes]:
    """All files by name."""
    net = layers()
    scales = activation_scales(net)
    biases = [layer.step * scale for layer, scale in zip(net, scales, strict=False)]
    return {
        "tiny-fp32.onnx": fp32_model(net, biases).SerializeToString(deterministic=True),
        "tiny-int8.onnx": int8_model(net, scales).SerializeToString(deterministic=True),
        "tiny-fp32.tflite": tflite_model(net, biases, None),
        "tiny-int8.tflite": tflite_model(net, biases, scales),
    }


def _ending(model: onnx.ModelProto, part: list[Layer]) -> onnx.ModelProto:
    """The model up to the end of `part`, whatever it is called there."""
    index = len(part) - 1
    name = f"relu{index}" if part[-1].relu else OUTPUT
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return model


def _run(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(fp32_feed()))[0], np.float32)


def _zero_point(net: list[Layer], index: int) -> int:
    return 0 if index < 0 or net[index].relu else OUTPUT_ZERO_POINT


def _conv(layer: Layer, inputs: list[str], output: str) -> onnx.NodeProto:
    strides = [layer.stride] * 2
    return helper.make_node(
        "Conv", inputs, [output], strides=strides, pads=layer.pads, group=layer.groups
    )


def _dequantise(what: str, index: int, source: str, axis: int | None) -> onnx.NodeProto:
    inputs = [source, f"s{what}{index}", f"z{what}{index}"]
    extra: Any = {} if axis is None else {"axis": axis}
    return helper.make_node("DequantizeLinear", inputs, [f"d{what}{index}"], **extra)


def _constant(name: str, values: Any, data_type: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values).astype(data_type), name)


def _model(nodes: list[Any], constants: list[Any], kind: int) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, kind, [1, *shape])
        for name, shape in ((INPUT, INPUT_SHAPE), (OUTPUT, OUTPUT_SHAPE))
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="isthmus"
    )


def write(folder: Path = FOLDER) -> None:
    """Write them."""
    folder.mkdir(exist_ok=True)
    for name, data in build().items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    write()
