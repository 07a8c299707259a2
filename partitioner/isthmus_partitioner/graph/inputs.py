"""What goes into a network: which dimension is the batch, what the other open ones are fixed to.

A plan is made for inputs of one size. Dimensions that the file leaves open are given by the user
(by name, or as "input:axis"), or guessed from their names and from what the input looks like; a
guess is tried out, and the next one taken if the network refuses it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from onnx import TensorProto

from isthmus import ConfigError, DataType, ModelError, TensorSpec

__all__ = ["OpenInput", "data_type_of", "open_inputs", "with_sizes"]

DATA_TYPES: tuple[DataType, ...] = get_args(DataType)
LARGEST_INPUT_BYTES = 1 << 30
_BATCH_NAME = re.compile(r"batch|^(n|b|bs|bsz)$", re.IGNORECASE)
_STEPS_NAME = re.compile(r"seq|len|tok|time|past|step|^(t|l|s)$", re.IGNORECASE)
_PLACE_NAME = re.compile(r"height|width|^(h|w)$", re.IGNORECASE)
# Tried in this order: pictures as most classifiers want them, lines of text, large pictures.
_PICTURE_SIZES = ((224, 224), (48, 320), (640, 640), (32, 32))
_LINE_WIDTHS = (320, 224, 640, 32)  # where the height is stated
_STEPS = (128, 16, 1, 512)
_SAMPLES = (512, 16_000, 576, 4096)  # of sound
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class OpenInput:
    """An input as the file declares it: 0 stands for a dimension that is open, with its name.

    `batch_axis` is the dimension that looks like the batch. `value` is what a scalar was fixed to:
    the network has no such input then.
    """

    name: str
    data_type: DataType
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    batch_axis: int | None = None
    value: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """All dimensions, 1 for the batch."""
        return tuple(1 if i == self.batch_axis else size for i, size in enumerate(self.sizes))

    @property
    def open_axes(self) -> tuple[int, ...]:
        """Dimensions that still need a size."""
        return tuple(axis for axis, size in enumerate(self.shape) if not size)

    def address(self, axis: int) -> str:
        """What `--size` calls a dimension."""
        return self.names[axis] or f"{self.name}:{axis}"

    @property
    def spec(self) -> TensorSpec:
        """The same as the contract describes it."""
        kept = (size for axis, size in enumerate(self.shape) if axis != self.batch_axis)
        return TensorSpec(
            name=self.name,
            data_type=self.data_type,
            shape=tuple(kept),
            batch_axis=self.batch_axis,
        )


def open_inputs(
    graph: onnx.GraphProto, sizes: Mapping[str, int], path: Path
) -> tuple[OpenInput, ...]:
    """The inputs with what the user fixed, and with the batch where it can be told.

    Raises ModelError for an input of a type or without a shape that cannot be planned for, and
    ConfigError for a size that names nothing.
    """
    constants = {tensor.name for tensor in graph.initializer}
    infos = [info for info in graph.input if info.name not in constants]
    inputs = [_as_declared(info, path) for info in infos]
    _check_sizes(inputs, sizes, path)
    return _with_batch([_with_given(each, sizes) for each in inputs], sizes)


def with_sizes(inputs: Sequence[OpenInput]) -> Iterator[tuple[tuple[OpenInput, ...], list[str]]]:
    """The inputs with all dimensions fixed, in the order to be tried, and notes of the guesses."""
    guessed = sum(len(each.open_axes) for each in inputs)
    for attempt in range(ATTEMPTS if guessed else 1):
        notes: list[str] = []
        yield tuple(_guessed(each, attempt, notes) for each in inputs), notes


def data_type_of(runtime_type: str, what: str, path: Path) -> DataType:
    """The type of a tensor as the runtime writes it; ModelError for one that cannot cross."""
    match = re.fullmatch(r"tensor\((\w+)\)", runtime_type)
    element = {"float": "float32", "double": "float64"}.get(match[1], match[1]) if match else ""
    if element not in DATA_TYPES:
        raise ModelError(
            f"{path}: {what} is {runtime_type}; possible: tensors of {', '.join(DATA_TYPES)}. "
            "Convert it outside of the model"
        )
    return element


def _as_declared(info: onnx.ValueInfoProto, path: Path) -> OpenInput:
    kind = info.type.tensor_type
    data_type = data_type_of(_runtime_type(info.type), f"input {info.name!r}", path)
    if not kind.HasField("shape"):
        raise ModelError(
            f"{path}: input {info.name!r} has no shape; export it with one, open dimensions by name"
        )
    dims = kind.shape.dim
    names = tuple("" if dim.dim_param == "?" else dim.dim_param for dim in dims)
    sizes = tuple(max(0, dim.dim_value) for dim in dims)
    return OpenInput(info.name, data_type, sizes, names)


def _runtime_type(kind: onnx.TypeProto) -> str:
    if not kind.HasField("tensor_type"):
        return (kind.WhichOneof("value") or "nothing").removesuffix("_type")
    element = TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()
    return f"tensor({element})"


def _check_sizes(inputs: Sequence[OpenInput], sizes: Mapping[str, int], path: Path) -> None:
    known = {each.name for each in inputs if _is_scalar(each)}
    for each in inputs:
        known.update(name for name in each.names if name)
        known.update(f"{each.name}:{axis}" for axis in range(len(each.sizes)))
    for name, size in sizes.items():
        if name not in known:
            raise ConfigError(
                f"{path}: --size {name}={size} names no dimension; known: {_listed(known)}"
            )
        if size < 1 and not any(each.name == name for each in inputs):
            raise ConfigError(f"{path}: --size {name}={size}; needed: 1 or more")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _is_scalar(each: OpenInput) -> bool:
    return not [size for size in each.sizes if size != 1] and "int" in each.data_type


def _with_given(each: OpenInput, sizes: Mapping[str, int]) -> OpenInput:
    if each.name in sizes and _is_scalar(each):
        return replace(each, value=sizes[each.name])
    given = []
    for axis, (size, name) in enumerate(zip(each.sizes, each.names, strict=True)):
        given.append(sizes.get(f"{each.name}:{axis}", 0) or (sizes.get(name, 0) if name else 0))
        given[-1] = given[-1] or size
    shaped = replace(each, sizes=tuple(given))
    nbytes = int(np.prod([max(1, size) for size in given], dtype=np.float64))
    if nbytes * np.dtype(each.data_type).itemsize > LARGEST_INPUT_BYTES:
        raise ConfigError(f"input {each.name!r} would be {given}: more than 1 GiB; fix less")
    return shaped


def _with_batch(inputs: Sequence[OpenInput], sizes: Mapping[str, int]) -> tuple[OpenInput, ...]:
    """Mark the batch: a dimension of that name, else the first if it is open, else if it is 1."""
    named = [_named_batch(each) for each in inputs]
    if all(axis is None for axis in named):
        named = [_single_batch(each, sizes) for each in inputs]
    elif len(inputs) > 1:
        named = [
            _unnamed_batch(each) if axis is None else axis
            for each, axis in zip(inputs, named, strict=True)
        ]
    return tuple(replace(each, batch_axis=axis) for each, axis in zip(inputs, named, strict=True))


def _named_batch(each: OpenInput) -> int | None:
    if each.value is not None:
        return None
    opened = [axis for axis, size in enumerate(each.sizes) if not size]
    named = [axis for axis in opened if _BATCH_NAME.search(each.names[axis])]
    first = [axis for axis in opened if axis == 0 and not _is_no_batch(each.names[axis])]
    return next(iter(named or first), None)


def _single_batch(each: OpenInput, sizes: Mapping[str, int]) -> int | None:
    """A model that was exported for one item."""
    given = f"{each.name}:0" in sizes or bool(each.names and each.names[0] in sizes)
    is_one = len(each.sizes) > 1 and each.sizes[0] == 1
    return 0 if is_one and not given and each.value is None else None


def _unnamed_batch(each: OpenInput) -> int | None:
    """Beside inputs that have a batch: the first open dimension without a name, as of a state."""
    opened = (axis for axis, size in enumerate(each.sizes) if not size)
    first = next(opened, None)
    return None if first is None or each.names[first] else first


def _is_no_batch(name: str) -> bool:
    return bool(_STEPS_NAME.search(name) or _PLACE_NAME.search(name))


def _guessed(each: OpenInput, attempt: int, notes: list[str]) -> OpenInput:
    sizes = list(each.shape)
    for axis in each.open_axes:
        sizes[axis] = _guess(each, axis, attempt)
        notes.append(
            f"input {each.name!r}: axis {axis} is open and fixed to {sizes[axis]}; "
            f"another size: --size {each.address(axis)}=N"
        )
    return replace(each, sizes=tuple(sizes))


def _guess(each: OpenInput, axis: int, attempt: int) -> int:
    places = _picture_axes(each)
    if axis in places and not _STEPS_NAME.search(each.names[axis]):
        if len(set(places) & set(each.open_axes)) == 2:
            return _PICTURE_SIZES[attempt][places.index(axis)]
        return _LINE_WIDTHS[attempt]
    others = [size for other, size in enumerate(each.shape) if other != axis]
    is_sound = each.data_type.startswith("float") and all(size == 1 for size in others)
    return _SAMPLES[attempt] if is_sound else _STEPS[attempt]


def _picture_axes(each: OpenInput) -> tuple[int, ...]:
    """Height and width of an input that looks like pictures, [N,C,H,W] or [N,H,W,C]."""
    if len(each.sizes) != 4:
        return ()
    channels = {1, 3, 4}
    if each.sizes[1] in channels:
        return (2, 3)
    return (1, 2) if each.sizes[3] in channels else ()
