"""Feature maps as one grey picture, for codecs that know pictures only: channels side by side."""

import math
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_mosaic", "mosaic"]

Value = TypeVar("Value", bound=np.generic)


class _Layout(NamedTuple):
    rows: int
    columns: int
    height: int
    width: int


def mosaic(item: NDArray[Value]) -> NDArray[Value]:
    """The maps of [...,H,W] in a grid, as square as whole rows allow, [rows*H,columns*W].

    [T,D] is such a picture already; [N] is folded into one. Nothing is added or lost.
    """
    rows, columns, height, width = _layout(item.shape)
    grid = item.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid).reshape(rows * height, columns * width)


def from_mosaic(picture: NDArray[Value], shape: tuple[int, ...]) -> NDArray[Value]:
    """The item of that shape from its mosaic."""
    rows, columns, height, width = _layout(shape)
    grid = picture.reshape(rows, height, columns, width).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid).reshape(shape)


@lru_cache(maxsize=256)
def _layout(shape: tuple[int, ...]) -> _Layout:
    height, width = shape[-2:] if len(shape) >= 2 else (1, 1)
    maps = math.prod(shape) // (height * width)
    fitting = (columns for columns in range(1, maps + 1) if maps % columns == 0)
    columns = min(fitting, key=lambda c: abs(math.log(c * width / (maps // c * height))))
    return _Layout(maps // columns, columns, height, width)
