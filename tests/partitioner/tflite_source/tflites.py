"""Small .tflite files, built with LiteRT's own schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}
Scales = tuple[float | Sequence[float], int]


class Tflite:
    """One subgraph in the making; tensors are known by their numbers."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        self.model.buffers = [schema.BufferT()]

    def tensor(
        self,
        shape: Sequence[int],
        kind: Any = np.float32,
        *,
        scales: Scales | None = None,
        axis: int = 0,
        name: str = "",
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = (name or f"t{len(self.graph.tensors)}").encode()
        tensor.shape, tensor.type = list(shape), TYPES[np.dtype(kind)]
        if scales is not None:
            known = schema.QuantizationParametersT()
            known.scale = np.atleast_1d(np.asarray(scales[0], np.float32)).tolist()
            known.zeroPoint, known.quantizedDimension = [scales[1]] * len(known.scale), axis
            tensor.quantization = known
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def input(self, *shape: int, kind: Any = np.float32, scales: Scales | None = None) -> int:
        index = self.tensor(shape, kind, scales=scales, name=f"in{len(self.graph.inputs)}")
        self.graph.inputs.append(index)
        return index

    def constant(self, value: Any, scales: Scales | None = None, axis: int = 0) -> int:
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        index = self.tensor(array.shape, array.dtype, scales=scales, axis=axis)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def noise(self, *shape: int) -> int:
        return self.constant(self.random.uniform(-1, 1, shape).astype(np.float32))

    def integers(self, *values: int) -> int:
        return self.constant(np.array(values, np.int32))

    def op(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any) -> None:
        code = getattr(schema.BuiltinOperator, kind)
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode = code, min(code, 127)
        entry.version = 1
        self.model.operatorCodes.append(entry)
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = list(inputs), list(outputs)
        if options is not None:
            kind_of_options = type(options).__name__.removesuffix("T")
            op.builtinOptionsType = getattr(schema.BuiltinOptions, kind_of_options)
            op.builtinOptions = options
        self.graph.operators.append(op)

    def make(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: Any = None,
        *,
        result: Any = np.float32,
        scales: Scales | None = None,
    ) -> int:
        """An operation with one output; the output's number."""
        output = self.tensor(shape, result, scales=scales)
        self.op(kind, inputs, [output], options)
        return output

    def conv(self, image: int, channels: int, *, stride: int = 1, kernel: int = 3) -> int:
        batch, height, width, inner = self.graph.tensors[image].shape
        shape = [batch, -(-height // stride), -(-width // stride), channels]
        weights = self.noise(channels, kernel, kernel, inner)
        options = with_fields(
            schema.Conv2DOptionsT(), padding=schema.Padding.SAME, strideH=stride, strideW=stride
        )
        return self.make("CONV_2D", [image, weights, self.noise(channels)], shape, options)

    def data(self, *outputs: int) -> bytes:
        self.graph.outputs = list(outputs) or self.graph.outputs
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path: Path, *outputs: int) -> Path:
        path.write_bytes(self.data(*outputs))
        return path


def with_fields(options: Any, **fields: Any) -> Any:
    """Options of the schema with some fields set."""
    for name, value in fields.items():
        assert hasattr(options, name), name
        setattr(options, name, value)
    return options


def small_network() -> Tflite:
    """Two convolutions with a residual sum, a pool and classes: [1,8,8,3] -> [1,5]."""
    build = Tflite()
    image = build.input(1, 8, 8, 3)
    stem = build.conv(image, 8, stride=2)
    relu = build.make("RELU", [stem], (1, 4, 4, 8))
    deep = build.conv(relu, 8)
    total = build.make("ADD", [relu, deep], (1, 4, 4, 8), schema.AddOptionsT())
    axes = build.integers(1, 2)
    mean = build.make("MEAN", [total, axes], (1, 8), schema.ReducerOptionsT())
    dense = [mean, build.noise(5, 8), build.noise(5)]
    logits = build.make("FULLY_CONNECTED", dense, (1, 5), schema.FullyConnectedOptionsT())
    softmax = with_fields(schema.SoftmaxOptionsT(), beta=1.0)
    build.graph.outputs = [build.make("SOFTMAX", [logits], (1, 5), softmax)]
    return build


def quantised_network() -> Tflite:
    """Full-integer: [1,8,8,3] int8 -> convolution (its ReLU left to saturation), mean, classes."""
    build = Tflite()
    image = build.input(1, 8, 8, 3, kind=np.int8, scales=(1 / 128, 0))
    weights = build.random.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    steps = build.random.uniform(0.002, 0.004, 8)
    bias = build.random.integers(-4000, 4000, 8).astype(np.int32)
    inputs = [
        image,
        build.constant(weights, (list(steps), 0)),
        build.constant(bias, (list(steps / 128), 0)),
    ]
    conv = with_fields(schema.Conv2DOptionsT(), padding=schema.Padding.SAME, strideH=1, strideW=1)
    hidden = build.make("CONV_2D", inputs, (1, 8, 8, 8), conv, result=np.int8, scales=(0.02, -128))
    axes = build.integers(1, 2)
    mean = build.make(
        "MEAN", [hidden, axes], (1, 8), schema.ReducerOptionsT(), result=np.int8,
        scales=(0.01, -128),
    )  # fmt: skip
    dense = [
        mean,
        build.constant(build.random.integers(-127, 128, (5, 8)).astype(np.int8), (0.01, 0)),
        build.constant(build.random.integers(-900, 900, 5).astype(np.int32), (0.0001, 0)),
    ]
    options = schema.FullyConnectedOptionsT()
    logits = build.make("FULLY_CONNECTED", dense, (1, 5), options, result=np.int8, scales=(0.05, 0))
    build.graph.outputs = [logits]
    return build


def answers_of(path: Path, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """What LiteRT answers, in this process."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for detail, feed in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
