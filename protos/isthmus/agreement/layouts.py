"""From the raw answer of a detector to boxes, for the layouts that are common.

An answer says nothing about its own layout, so somebody has to name it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from isthmus.agreement.closeness import AnyArray, FloatArray
from isthmus.agreement.detection import Boxes, LaidOut, strongest
from isthmus.agreement.distance import is_float
from isthmus.errors import ConfigError
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["LAYOUTS", "decoder", "yolox_cells"]

STRIDES = (8, 16, 32)
_LARGEST_LOG = 10.0  # 22,000 strides; beyond it noise on the wire would overflow

Layout = Callable[[AnyArray, int, int], Boxes]


def decoder(layout: str, outputs: tuple[TensorSpec, ...], height: int, width: int) -> LaidOut:
    """The boxes of the first float output of two dimensions, for pictures of this size.

    ConfigError for a layout that is not one of LAYOUTS, or an output that is not laid out so.
    """
    if layout not in LAYOUTS:
        known = ", ".join(sorted(LAYOUTS))
        raise ConfigError(f"no layout of boxes is called {layout!r}; known: {known}")
    output = next((spec for spec in outputs if is_float(spec) and len(spec.shape) == 2), None)
    read = LAYOUTS[layout]
    try:
        if output is None:
            raise ValueError("no float output is [rows,columns]")
        read(np.zeros(output.shape, np.float32), height, width)
    except (ValueError, IndexError) as error:
        described = ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in outputs)
        raise ConfigError(
            f"the outputs ({described}) hold no boxes in the layout {layout!r} for pictures of "
            f"{height}x{width} ({error}); name another layout, or compare tensors"
        ) from error
    return LaidOut(layout, output.name, _OneItem(read, height, width))


def yolox_cells(rows: AnyArray, height: int, width: int) -> Boxes:
    """All cells of one answer [cells,5+classes] of a YOLOX, before suppression.

    Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430: for each cell of the grids
    of stride 8, 16 and 32 the centre and the logarithm of the size in strides, the objectness, and
    a probability for each class.
    """
    values = rows.astype(np.float64)
    corners, strides = _grid(height, width)
    if len(values) != len(corners):
        raise ValueError(f"{len(values)} rows, not {len(corners)} cells")
    centres = (values[:, :2] + corners) * strides
    sizes = np.exp(np.minimum(values[:, 2:4], _LARGEST_LOG)) * strides
    return _around(centres, sizes, values[:, 4:5] * values[:, 5:])


def _yolov5(rows: AnyArray, _height: int, _width: int) -> Boxes:
    """[cells,5+classes]: centre and size in pixels, objectness, classes."""
    values = rows.astype(np.float64)
    return _around(values[:, :2], values[:, 2:4], values[:, 4:5] * values[:, 5:])


def _yolov8(columns: AnyArray, _height: int, _width: int) -> Boxes:
    """[4+classes,cells]: centre and size in pixels, classes."""
    values = columns.astype(np.float64).T
    return _around(values[:, :2], values[:, 2:4], values[:, 4:])


def _boxes(rows: AnyArray, _height: int, _width: int) -> Boxes:
    """[n,6]: left, top, right, bottom, score, class, as detectors that suppress by themselves."""
    if rows.shape[1] != 6:
        raise ValueError(f"{rows.shape[1]} columns, not 6")
    return rows.astype(np.float64)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {"boxes": _boxes, "yolov5": _yolov5, "yolov8": _yolov8, "yolox": yolox_cells}
)


@dataclass(frozen=True, slots=True)
class _OneItem:
    layout: Layout
    height: int
    width: int

    def __call__(self, rows: AnyArray) -> Boxes:
        return strongest(self.layout(np.nan_to_num(rows), self.height, self.width))


def _around(centres: FloatArray, sizes: FloatArray, classes: FloatArray) -> Boxes:
    best = classes.argmax(axis=1)  # ValueError without a class
    scores = np.take_along_axis(classes, best[:, None], axis=1)
    halves = sizes / 2
    return np.hstack([centres - halves, centres + halves, scores, best[:, None]])


def _grid(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Column and row [cells,2], and stride [cells,1], of every cell."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = np.indices((height // stride, width // stride), np.float64)
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), float(stride)))
    return np.concatenate(corners), np.concatenate(strides)
