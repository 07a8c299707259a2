"""The ONNX graph that is lowered: constants, sizes of one item, and who reads what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnx.shape_inference import InferenceError

from isthmus_partitioner.graph.surgery import BATCH, initialisers
from isthmus_partitioner.tflite.forms import AnyArray, Grid
from isthmus_partitioner.tflite.refusal import NotLoweredError

__all__ = ["Source"]

_SMALL = 64  # elements of a constant that shape inference may want to read


class Source:
    """One graph with a batch of one. Raises NotLoweredError where it cannot be read so."""

    def __init__(self, model: onnx.ModelProto, folder: Path | None) -> None:
        graph = model.graph
        self._folder = folder
        self._tensors = initialisers(graph)
        self._cached: dict[str, AnyArray] = {}
        self.nodes = tuple(graph.node)
        self.inputs = tuple(i.name for i in graph.input if i.name not in self._tensors)
        self.outputs = tuple(info.name for info in graph.output)
        own = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        self.opset = max(own, default=1)
        self._makers = {n: node for node in self.nodes for n in node.output if n}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                if name:
                    self.readers.setdefault(name, []).append(node)
        self._specs = _specs(model, self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of one item; NotLoweredError where the graph does not tell them."""
        known = self._constant_info(name) or self._specs.get(name)
        if known is None or any(size < 1 for size in known[1]):
            raise NotLoweredError(f"tensor {name!r}: its sizes are not known beforehand")
        return known[1]

    def data_type(self, name: str) -> str:
        """The numpy name of a tensor's type."""
        known = self._constant_info(name) or self._specs.get(name)
        if known is None:
            raise NotLoweredError(f"tensor {name!r}: its type is not known beforehand")
        return known[0]

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor."""
        return self._makers.get(name)

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that alone reads a tensor which is no output of the graph."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def is_constant(self, name: str) -> bool:
        """Whether a tensor depends on no input; weights stored as integers count."""
        if name in self._tensors:
            return True
        maker = self._makers.get(name)
        if maker is None:
            return False
        if maker.op_type == "Constant":
            return True
        return maker.op_type == "DequantizeLinear" and self.is_constant(maker.input[0])

    def constant(self, name: str) -> AnyArray:
        """The value of a constant, dequantised where it is stored as integers."""
        if name not in self._cached:
            self._cached[name] = self._read(name)
        return self._cached[name]

    def stored(self, name: str) -> tuple[AnyArray, AnyArray, AnyArray, int] | None:
        """Integers, scales, zero points and axis of a constant behind a DequantizeLinear.

        Raises NotLoweredError where there is a step for each block of them.
        """
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear" or not self.is_constant(name):
            return None
        integers = self.constant(maker.input[0])
        scale = self.constant(maker.input[1])
        if scale.size > 1 and scale.ndim > 1:
            raise NotLoweredError(
                f"node {maker.name or name!r} (DequantizeLinear): weights with a step for each "
                "block of them are not covered"
            )
        zero = np.zeros(scale.shape, integers.dtype)
        if len(maker.input) > 2 and maker.input[2]:
            zero = self.constant(maker.input[2])
        axis = next((a.i for a in maker.attribute if a.name == "axis"), 1)
        return integers, scale, zero, axis

    def grid(self, node: onnx.NodeProto) -> Grid | None:
        """The grid of a QuantizeLinear or DequantizeLinear for a whole tensor of 8 bits."""
        if not all(self.is_constant(name) for name in node.input[1:]):
            return None
        scale = self.constant(node.input[1])
        has_zero = len(node.input) > 2 and bool(node.input[2])
        kind = self.data_type(node.input[2]) if has_zero else self._integer_type(node)
        if scale.size != 1 or scale.dtype != np.float32 or kind not in ("int8", "uint8"):
            return None
        zero = self.constant(node.input[2]) if has_zero else np.zeros(1, kind)
        return Grid.of(scale, zero) if zero.size == 1 else None

    def _integer_type(self, node: onnx.NodeProto) -> str:
        """Of a QuantizeLinear or DequantizeLinear that states no zero point."""
        if node.op_type == "DequantizeLinear":
            return self.data_type(node.input[0])
        stated = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
        return _type_name(stated or TensorProto.UINT8)

    def _constant_info(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        if not self.is_constant(name):
            return None
        tensor = self._tensors.get(name)
        if tensor is not None:
            return _type_name(tensor.data_type), tuple(tensor.dims)
        value = self.constant(name)
        return value.dtype.name, value.shape

    def _read(self, name: str) -> AnyArray:
        tensor = self._tensors.get(name)
        if tensor is not None:
            return self._array(tensor)
        stored = self.stored(name)
        if stored is not None:
            return _dequantised(*stored)
        maker = self._makers[name]
        values: Mapping[str, Any] = {a.name: helper.get_attribute_value(a) for a in maker.attribute}
        if isinstance(values.get("value"), TensorProto):
            return self._array(values["value"])
        kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64}
        for key, kind in (kinds | {"value_ints": np.int64}).items():
            if key in values:
                return np.asarray(values[key], kind)
        raise NotLoweredError(f"node {maker.name!r} (Constant): its kind of value is not covered")

    def _array(self, tensor: TensorProto) -> AnyArray:
        if not external_data_helper.uses_external_data(tensor):
            return numpy_helper.to_array(tensor)
        if self._folder is None:
            raise NotLoweredError(
                f"weight {tensor.name!r} lies in a file beside the model; say in which folder"
            )
        return numpy_helper.to_array(tensor, str(self._folder))


def _dequantised(integers: AnyArray, scale: AnyArray, zero: AnyArray, axis: int) -> AnyArray:
    if scale.size > 1:
        sizes = [1] * integers.ndim
        sizes[axis] = scale.size
        scale, zero = scale.reshape(sizes), zero.reshape(sizes)
    shifted = integers.astype(np.int64) - zero.astype(np.int64)
    return shifted.astype(np.float32) * scale.astype(np.float32)


def _specs(
    model: onnx.ModelProto, tensors: Mapping[str, TensorProto]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and sizes of all tensors that are not constant, for a batch of one."""
    slim = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    slim.opset_import.extend(model.opset_import)
    slim.functions.extend(model.functions)
    graph = slim.graph
    graph.name = "isthmus"
    graph.node.extend(model.graph.node)
    graph.output.extend(onnx.ValueInfoProto(name=info.name) for info in model.graph.output)
    for info in model.graph.input:
        if info.name not in tensors:
            graph.input.append(_for_one(info))
    for tensor in tensors.values():
        if np.prod(tensor.dims) <= _SMALL and not external_data_helper.uses_external_data(tensor):
            graph.initializer.append(tensor)
        else:  # only its sizes count
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    try:
        inferred = onnx.shape_inference.infer_shapes(slim, data_prop=True, strict_mode=True).graph
    except InferenceError as error:
        raise NotLoweredError(f"the sizes inside the graph cannot be inferred: {error}") from error
    infos = (*inferred.input, *inferred.value_info, *inferred.output)
    return {info.name: _spec(info) for info in infos if info.type.tensor_type.HasField("shape")}


def _for_one(info: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(info)
    for place, dim in enumerate(copy.type.tensor_type.shape.dim):
        if dim.dim_param == BATCH or (place == 0 and not dim.HasField("dim_value")):
            dim.dim_value = 1
    return copy


def _spec(info: onnx.ValueInfoProto) -> tuple[str, tuple[int, ...]]:
    kind = info.type.tensor_type
    return _type_name(kind.elem_type), tuple(dim.dim_value for dim in kind.shape.dim)


def _type_name(element: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(element).name)
