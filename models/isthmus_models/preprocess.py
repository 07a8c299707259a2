"""Preprocessing inside the graph, so that the raw uint8 picture is the first cut tensor."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus.errors import ModelError

__all__ = ["with_picture_input"]

_OLDEST_OPSET = 7  # before it, arithmetic did not broadcast as numpy does
_RGB = 3
_TO_NCHW = (0, 3, 1, 2)

Layout = Literal["nchw", "nhwc"]
Float32Array = NDArray[np.float32]


def with_picture_input(
    model: onnx.ModelProto,
    *,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    channels: Literal["rgb", "bgr"] = "rgb",
    layout: Layout = "nchw",
    name: str = "picture",
) -> onnx.ModelProto:
    """A copy of `model` whose only input is `name`, a uint8 RGB picture [N,H,W,3].

    The old input becomes an inner tensor of the same name: `(pixel - mean) / std`, pixels from 0
    to 255. `channels` and `layout` say what the old input wants; mean and std are one number or
    three in the order of `channels`.

    Raises ModelError for a model without exactly one float32 input of four dimensions with three
    channels and fixed height and width, or with a tensor called `name` already.
    """
    if np.any(np.asarray(std) <= 0):
        raise ModelError(f"std is {std}; needed: numbers above 0")
    _check_opset(model)
    image = _image_input(model)
    batch, height, width = _picture_dimensions(image, layout)
    _check_name_is_free(model, name)
    steps = _Steps(name)
    if layout == "nchw":  # bytes are cheaper to transpose than floats
        steps.append("Transpose", "planes", perm=_TO_NCHW)
    channel_axis = 1 if layout == "nchw" else 3
    if channels == "bgr":
        steps.append("Gather", "bgr", np.array([2, 1, 0]), axis=channel_axis)
    steps.append("Cast", "float", to=TensorProto.FLOAT)
    if np.any(np.asarray(mean)):
        steps.append("Sub", "centred", _operand(mean, "mean", layout))
    if np.any(np.asarray(std) != 1):
        steps.append("Div", "scaled", _operand(std, "std", layout))
    picture = helper.make_tensor_value_info(name, TensorProto.UINT8, [None, height, width, _RGB])
    picture.type.tensor_type.shape.dim[0].CopyFrom(batch)
    return _prepended(model, image, picture, steps)


class _Steps:
    """A chain of nodes that begins at the tensor `start`."""

    def __init__(self, start: str) -> None:
        self._start = self._last = start
        self.nodes: list[onnx.NodeProto] = []
        self.operands: list[onnx.TensorProto] = []

    def append(
        self,
        op_type: str,
        result: str,
        operand: NDArray[np.generic] | None = None,
        **attributes: int | Sequence[int],
    ) -> None:
        result = f"{self._start}.{result}"
        inputs = [self._last]
        if operand is not None:
            inputs.append(f"{result}.operand")
            self.operands.append(numpy_helper.from_array(operand, inputs[1]))
        node = helper.make_node(op_type, inputs, [result], name=result)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self.nodes.append(node)
        self._last = result

    def end_in(self, tensor: str) -> None:
        self.nodes[-1].output[0] = tensor


def _prepended(
    model: onnx.ModelProto,
    image: onnx.ValueInfoProto,
    picture: onnx.ValueInfoProto,
    steps: _Steps,
) -> onnx.ModelProto:
    steps.end_in(image.name)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes = [*steps.nodes, *model.graph.node]
    others = [known for known in model.graph.input if known.name != image.name]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend([picture, *others])  # others: the initialisers of an old model
    graph.initializer.extend(steps.operands)
    graph.value_info.append(image)
    return onnx.shape_inference.infer_shapes(result)  # cutting tools need every inner shape


def _check_opset(model: onnx.ModelProto) -> None:
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    if opset < _OLDEST_OPSET:
        raise ModelError(
            f"model {model.graph.name!r} has opset {opset}; needed: {_OLDEST_OPSET} or newer, "
            "convert it with onnx.version_converter"
        )


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(repr(info.name) for info in inputs) or "none"
        raise ModelError(
            f"model {model.graph.name!r} has {len(inputs)} inputs ({names}); needed: one image"
        )
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT or len(kind.shape.dim) != 4:
        raise ModelError(
            f"input {_described(inputs[0])}; needed: float32 with four dimensions, "
            "export the model as an image network"
        )
    return inputs[0]


def _picture_dimensions(
    image: onnx.ValueInfoProto, layout: Layout
) -> tuple[onnx.TensorShapeProto.Dimension, int, int]:
    dims = list(image.type.tensor_type.shape.dim)
    spatial, channel = (dims[2:], dims[1]) if layout == "nchw" else (dims[1:3], dims[3])
    if channel.dim_value != _RGB:
        raise ModelError(
            f"input {_described(image)} does not have {_RGB} channels where layout {layout!r} "
            "has them; name the other layout, or take a colour network"
        )
    height, width = (dim.dim_value for dim in spatial)
    if not height or not width:
        raise ModelError(
            f"input {_described(image)} has no fixed height and width; "
            "export the model for one picture size"
        )
    return dims[0], height, width


def _check_name_is_free(model: onnx.ModelProto, name: str) -> None:
    graph = model.graph
    taken = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    taken.update(tensor for node in graph.node for tensor in node.output)
    if any(tensor == name or tensor.startswith(f"{name}.") for tensor in taken):
        raise ModelError(f"model {graph.name!r} has a tensor {name!r} already; give another name")


def _operand(value: float | Sequence[float], what: str, layout: Layout) -> Float32Array:
    numbers = np.asarray(value, np.float32)
    if numbers.ndim == 0:
        return numbers
    if numbers.shape != (_RGB,):
        raise ModelError(f"{what} has shape {numbers.shape}; needed: one number or {_RGB}")
    return numbers.reshape((1, _RGB, 1, 1) if layout == "nchw" else (1, 1, 1, _RGB))


def _described(info: onnx.ValueInfoProto) -> str:
    kind = info.type.tensor_type
    sizes = ",".join(dim.dim_param or str(dim.dim_value or "?") for dim in kind.shape.dim)
    return f"{info.name!r} is {TensorProto.DataType.Name(kind.elem_type).lower()} [{sizes}]"
