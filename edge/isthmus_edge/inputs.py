"""What a caller hands in, checked before it counts: one value, or one for each input.

A value is an array, or for an input that is a picture, anything that a picture can be made of.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from isthmus import TensorSpec, WireError, load_picture
from isthmus.picture_files import fit_picture, read_picture
from isthmus_edge.runtimes import AnyArray

__all__ = ["Inputs", "Value", "are_costly", "checked_inputs"]

Value = NDArray[np.generic] | Path | str | bytes
Inputs = Value | Mapping[str, Value]


def checked_inputs(inputs: Inputs, specs: Sequence[TensorSpec]) -> dict[str, AnyArray]:
    """Every input of the model by name, each as the graph takes it, and a copy.

    An input that is uint8 [H,W,3] is a picture: for it, a file's path or its content will do, or
    pixels of another size, of which the centre is resized as `isthmus.load_picture` does.

    Raises WireError that names what is missing, unknown, or of a wrong shape or type; PictureError
    for a picture that cannot be read.
    """
    values = inputs if isinstance(inputs, Mapping) else _only(inputs, specs)
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in values]
    unknown = [str(name) for name in values if name not in names]
    if missing or unknown:
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(unknown)} unknown"] if unknown else []
        raise WireError(f"the model takes the inputs {', '.join(names)}; {' and '.join(wrong)}")
    return {spec.name: _checked(values[spec.name], spec) for spec in specs}


def are_costly(inputs: Inputs, specs: Sequence[TensorSpec]) -> bool:
    """Whether checking them may take long: files, and pixels that have to be resized."""
    values = inputs.values() if isinstance(inputs, Mapping) else (inputs,)
    shapes = [spec.shape for spec in specs]
    return any(
        isinstance(value, Path | str | bytes) or (_is_picture(value) and value.shape not in shapes)
        for value in values
    )


def _only(value: Value, specs: Sequence[TensorSpec]) -> Mapping[str, Value]:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise WireError(f"the model takes the inputs {names}: give an array for each, by name")
    return {specs[0].name: value}


def _checked(value: Value, spec: TensorSpec) -> AnyArray:
    """One item, with its batch dimension where the graph has one; nothing of it is the caller's."""
    takes_pictures = spec.data_type == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3
    if isinstance(value, Path | str | bytes):
        if not takes_pictures:
            raise WireError(f"{_described(spec)}, got a file; give an array")
        return _pixels(value, spec).reshape(spec.graph_shape)
    tensor = np.asarray(value)
    if tensor.dtype == spec.data_type and tensor.shape in {spec.shape, spec.graph_shape}:
        # A camera writes its next frame where this one lies, perhaps before this one's turn.
        return np.array(tensor, order="C").reshape(spec.graph_shape)
    if takes_pictures and _is_picture(tensor):
        return fit_picture(tensor, *spec.shape[:2]).reshape(spec.graph_shape)
    raise WireError(f"{_described(spec)}, got {tensor.dtype} {list(tensor.shape)}")


def _is_picture(value: object) -> TypeGuard[NDArray[np.uint8]]:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim == 3
        and value.shape[2] == 3
    )


def _pixels(picture: Path | str | bytes, spec: TensorSpec) -> AnyArray:
    height, width, _ = spec.shape
    if isinstance(picture, bytes):
        return read_picture(picture, height, width)
    return load_picture(Path(picture), height, width)


def _described(spec: TensorSpec) -> str:
    return f"input {spec.name!r} is {spec.data_type} {list(spec.shape)} (one item)"
