"""Tensors of the protocol to numpy and back; what comes may come from a stranger.

An input is compared with its `TensorSpec` first, its content with its shape second, and only then
is memory taken: the model says how large a tensor is, not the message.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.oip.datatypes import BYTES, Datatype, datatype_of
from isthmus.oip.messages import pb
from isthmus.oip.model import AnyArray, Tensor
from isthmus.oip.refusal import RefusalError
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["Given", "decode_tensor", "quoted", "takes_pictures"]

InputTensor = pb.ModelInferRequest.InferInputTensor

_FIELD_TYPES: dict[str, str] = {
    "bool_contents": "bool",
    "int_contents": "int32",
    "int64_contents": "int64",
    "uint_contents": "uint32",
    "uint64_contents": "uint64",
    "fp32_contents": "float32",
    "fp64_contents": "float64",
}
_LENGTH_BYTES = 4  # before each element of a raw BYTES tensor, little-endian
_SHOWN_DIMENSIONS, _SHOWN_CHARACTERS = 8, 64


@dataclass(frozen=True, slots=True)
class Given:
    """One input as it came.

    `values` is an array of `count` items, or that many encoded pictures. `count` is None where the
    input has no batch dimension: then it is the same for every item.
    """

    spec: TensorSpec
    values: AnyArray | tuple[bytes, ...]
    count: int | None

    def item(self, index: int) -> Tensor:
        """One item's array [*graph_shape], or its encoded picture."""
        if isinstance(self.values, tuple):
            return self.values[index]
        if self.count is None or self.spec.batch_axis is None:
            return self.values
        before = (slice(None),) * self.spec.batch_axis
        return self.values[(*before, slice(index, index + 1))]


def takes_pictures(spec: TensorSpec) -> bool:
    """Whether an encoded picture can stand for this input: it is uint8 RGB [H,W,3]."""
    return spec.data_type == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3


def decode_tensor(
    tensor: InputTensor, raw: bytes | None, spec: TensorSpec, max_items: int
) -> Given:
    """One input; `raw` is its entry of `raw_input_contents`, None where contents are typed.

    One item comes as [*shape], several, up to `max_items`, along the batch dimension. An encoded
    picture is BYTES [n] or [n,1]. RefusalError (INVALID_ARGUMENT) for all else.
    """
    if tensor.datatype == BYTES and takes_pictures(spec):
        shape = _short_shape(tensor)
        pictures = _picture_count(shape, spec, max_items)
        return Given(spec, _elements(tensor, raw, pictures), pictures)
    datatype = datatype_of(spec.data_type)
    if tensor.datatype != datatype.name:
        raise _refused(
            f"inference input {quoted(spec.name)} data-type is {quoted(tensor.datatype)}, "
            f"but the model expects {quoted(datatype.name)}"
        )
    shape = _short_shape(tensor)
    count = _item_count(shape, spec, max_items)
    size = math.prod(shape)
    values = _raw(raw, datatype, size, spec) if raw is not None else _typed(tensor, datatype, size)
    whole = spec.graph_shape if shape == spec.shape else shape
    return Given(spec, values.reshape(whole), count)


def quoted(text: str) -> str:
    """A word of the client's in a message: not longer than people read."""
    return f"'{text[:_SHOWN_CHARACTERS]}'"


def _short_shape(tensor: InputTensor) -> tuple[int, ...]:
    """The shape as the client gave it, with as many dimensions as are worth looking at."""
    return tuple(tensor.shape[:_SHOWN_DIMENSIONS])


def _item_count(shape: tuple[int, ...], spec: TensorSpec, max_items: int) -> int | None:
    """How many items a shape announces; only shapes of the spec get through."""
    if shape == spec.shape:
        return None if spec.batch_axis is None else 1
    axis = spec.batch_axis
    if axis is not None and len(shape) == len(spec.shape) + 1:
        count, one = shape[axis], (*shape[:axis], *shape[axis + 1 :])
        if one == spec.shape and 1 <= count <= max_items:
            return count
        if one == spec.shape and count > max_items:
            raise _refused(
                f"inference input {quoted(spec.name)} has a batch of {count}, "
                f"at most {max_items} are taken"
            )
    raise _refused(
        f"unexpected shape for input {quoted(spec.name)}: expected {list(spec.graph_shape)}"
        f"{_or_one_item(spec)}, got {list(shape)}"
    )


def _or_one_item(spec: TensorSpec) -> str:
    return "" if spec.batch_axis is None else f" or one item {list(spec.shape)}"


def _picture_count(shape: tuple[int, ...], spec: TensorSpec, max_items: int) -> int:
    if len(shape) in {1, 2} and 1 <= shape[0] <= max_items and shape[1:] in {(), (1,)}:
        return shape[0]
    raise _refused(
        f"unexpected shape for input {quoted(spec.name)}: encoded pictures are BYTES [n] or [n,1] "
        f"with n from 1 to {max_items}, got {list(shape)}"
    )


def _raw(raw: bytes, datatype: Datatype, size: int, spec: TensorSpec) -> AnyArray:
    """A view of the message's own bytes."""
    expected = size * datatype.numpy.itemsize
    if len(raw) != expected:
        raise _refused(
            f"unexpected total byte size {len(raw)} for input {quoted(spec.name)}, "
            f"expecting {expected}"
        )
    if datatype.name == "BOOL":
        # Numpy takes no byte but 0 and 1 for a bool, and checks none.
        return np.frombuffer(raw, np.uint8).astype(np.bool_)
    return np.frombuffer(raw, datatype.numpy)


def _typed(tensor: InputTensor, datatype: Datatype, size: int) -> AnyArray:
    name = quoted(tensor.name)
    if datatype.typed_field is None:
        raise _refused(f"input {name}: {datatype.name} can only come in raw_input_contents")
    values = _only_field(tensor, datatype.typed_field)
    if len(values) != size:
        raise _refused(
            f"unexpected number of elements {len(values)} in contents for input {name}, "
            f"expecting {size}"
        )
    wide: AnyArray = np.fromiter(values, _FIELD_TYPES[datatype.typed_field], size)
    narrow = wide.astype(datatype.numpy, copy=False)
    if narrow.dtype.kind in "iu" and not np.array_equal(narrow, wide):
        raise _refused(f"contents of input {name} do not fit into {datatype.name}")
    return narrow


def _elements(tensor: InputTensor, raw: bytes | None, count: int) -> tuple[bytes, ...]:
    """The elements of a BYTES tensor."""
    name = quoted(tensor.name)
    elements = _only_field(tensor, "bytes_contents") if raw is None else _split(raw, name, count)
    if len(elements) != count:
        raise _refused(
            f"unexpected number of elements {len(elements)} for input {name}, expecting {count}"
        )
    return tuple(elements)


def _split(raw: bytes, name: str, count: int) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    for _ in range(count):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[start - _LENGTH_BYTES : start], "little")
        if start > len(raw) or at > len(raw):
            raise _refused(
                f"input {name}: element {len(elements)} ends behind the {len(raw)} bytes of its "
                "tensor; each is 4 bytes of length (little-endian) and its content"
            )
        elements.append(raw[start:at])
    if at != len(raw):
        raise _refused(f"input {name} has {len(raw) - at} bytes behind its {count} elements")
    return elements


def _only_field(tensor: InputTensor, wanted: str) -> Sequence[bytes]:
    """The repeated field of `contents` that the datatype asks for; no other may be filled."""
    for field, _ in tensor.contents.ListFields():
        if field.name != wanted:
            raise _refused(
                f"input {quoted(tensor.name)}: {quoted(tensor.datatype)} comes in {wanted}, "
                f"not in {field.name}"
            )
    values: Sequence[bytes] = getattr(tensor.contents, wanted)
    return values


def _refused(message: str) -> RefusalError:
    return RefusalError("INVALID_ARGUMENT", message)
