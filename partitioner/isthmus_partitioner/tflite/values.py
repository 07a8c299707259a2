"""What of the ONNX graph exists in the TFLite file by now, and conversions where they are needed.

A real tensor may be held as reals, as integers on a grid, or as both; in ONNX's order of
dimensions, with channels last, or in both. What is missing is made from what is there at its
first use (DEQUANTIZE, TRANSPOSE), once. Only a QuantizeLinear makes integers of reals.
"""

from collections.abc import Callable

import numpy as np

from isthmus_partitioner.tflite.file import TfliteFile
from isthmus_partitioner.tflite.forms import AnyArray, ChannelGrid, Grid, Layout, Value, laid_out
from isthmus_partitioner.tflite.refusal import NotLoweredError
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.source import Source

__all__ = ["Values"]

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_DIMENSIONS = 4  # of a tensor that has channels and a place


class Values:
    """The forms of every tensor; tensors that are one and the same share them."""

    def __init__(self, source: Source, file: TfliteFile) -> None:
        self._source, self._file = source, file
        self._forms: dict[str, list[Value]] = {}
        self._known: dict[tuple[int, int], Value] = {}

    def bind(self, name: str, value: Value) -> None:
        """A tensor of the ONNX graph is held so."""
        self._forms.setdefault(name, []).append(value)

    def alias(self, name: str, other: str) -> None:
        """A tensor is the same as another, in every form."""
        self._forms[name] = self._held(other)

    def is_bound(self, name: str) -> bool:
        """Whether a tensor is held in any form."""
        return name in self._forms

    def native(self, name: str) -> Value:
        """The form that a tensor was first made in."""
        return self._held(name)[0]

    def grid(self, name: str) -> Grid | None:
        """The grid of the tensor's integers; None where only reals are held."""
        return next((v.grid for v in self._forms.get(name, []) if v.grid is not None), None)

    def real(self, name: str, layout: Layout) -> Value:
        """The tensor as its own type (for a quantised one, float32)."""
        layout = self._possible(name, layout)
        held = self._held(name)
        reals = [value for value in held if value.grid is None]
        if reals:
            return self._in_layout(held, reals, layout, name)
        if self._source.data_type(name) != "float32":
            raise NotLoweredError(f"tensor {name!r}: its integers are read as if they were numbers")
        integers = self._in_layout(held, held, layout, name)
        made = self.new(name, integers.shape, "float32", layout)
        self._file.operator(
            Op.DEQUANTIZE, 2, [integers.index], [made.index], options("DequantizeOptions")
        )
        held.append(made)
        return made

    def integer(self, name: str, layout: Layout) -> Value:
        """The tensor's integers; there have to be some (`grid`)."""
        held = self._held(name)
        integers = [value for value in held if value.grid is not None]
        assert integers, f"{name} is held as reals"
        return self._in_layout(held, integers, self._possible(name, layout), name)

    def new(
        self,
        name: str,
        shape: tuple[int, ...],
        data_type: str,
        layout: Layout = Layout.PLAIN,
        grid: Grid | None = None,
    ) -> Value:
        """A new tensor of the file, bound to nothing; `shape` is the file's."""
        data_type = data_type if grid is None else "int8"
        index = self._file.tensor(name, shape, data_type, grid)
        return Value(index, shape, data_type, layout, grid)

    def once(self, key: tuple[int, int], make: Callable[[], Value]) -> Value:
        """What is made of a tensor (index, how) at its first use and then used again."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def fixed(self, name: str, array: AnyArray, grid: Grid | ChannelGrid | None = None) -> Value:
        """A constant of the file."""
        index = self._file.tensor(name, array.shape, array.dtype.name, grid, array)
        whole = grid if isinstance(grid, Grid) else None
        return Value(index, array.shape, array.dtype.name, Layout.PLAIN, whole)

    def requantised(self, value: Value, grid: Grid, name: str) -> Value:
        """Integers on another grid, or a float32 on its first."""
        if value.grid == grid:
            return value
        made = self.new(name, value.shape, "int8", value.layout, grid)
        version = 1 if value.grid is None else 2
        self._file.operator(
            Op.QUANTIZE, version, [value.index], [made.index], options("QuantizeOptions")
        )
        return made

    def reshaped(self, value: Value, shape: tuple[int, ...], layout: Layout, name: str) -> Value:
        """The same elements in the same order in another shape."""
        made = self.new(name, shape, value.data_type, layout, value.grid)
        target = self.fixed(f"{name};shape", np.asarray(shape, np.int32))
        self._file.operator(
            Op.RESHAPE,
            1,
            [value.index, target.index],
            [made.index],
            options("ReshapeOptions", newShape=list(shape)),
        )
        return made

    def transposed(self, value: Value, order: tuple[int, ...], layout: Layout, name: str) -> Value:
        """The dimensions in another order; a reshape where no element moves."""
        shape = tuple(value.shape[place] for place in order)
        moved = [place for place in order if value.shape[place] > 1]
        if moved == sorted(moved):
            return self.reshaped(value, shape, layout, name)
        made = self.new(name, shape, value.data_type, layout, value.grid)
        places = self.fixed(f"{name};order", np.asarray(order, np.int32))
        self._file.operator(
            Op.TRANSPOSE,
            1 if value.data_type == "float32" else 2,
            [value.index, places.index],
            [made.index],
            options("TransposeOptions"),
        )
        return made

    def _held(self, name: str) -> list[Value]:
        if name not in self._forms:
            if not self._source.is_constant(name):
                raise NotLoweredError(f"tensor {name!r} is read before it is made")
            array = self._source.constant(name)
            self._forms[name] = [self.fixed(name, array)]
        return self._forms[name]

    def _possible(self, name: str, layout: Layout) -> Layout:
        return layout if len(self._source.shape(name)) == _DIMENSIONS else Layout.PLAIN

    def _in_layout(
        self, held: list[Value], choice: list[Value], layout: Layout, name: str
    ) -> Value:
        for value in choice:
            if value.layout is layout:
                return value
        order = _TO_LAST if layout is Layout.CHANNELS_LAST else _TO_FIRST
        made = self.transposed(choice[0], order, layout, name)
        assert made.shape == laid_out(self._source.shape(name), layout)
        held.append(made)
        return made
