"""One node of the graph as its lowering sees it: what it reads, and where its result goes.

A result goes to the file as integers where all data come as integers and the result goes only to
a QuantizeLinear, maybe through a Relu or Clip that TFLite's operator does itself. Then that
QuantizeLinear's grid is the result's. Otherwise it is computed as reals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import onnx
from onnx import helper

from isthmus_partitioner.tflite.activations import bounds, fused
from isthmus_partitioner.tflite.file import TfliteFile
from isthmus_partitioner.tflite.forms import AnyArray, ChannelGrid, Grid, Layout, Value, laid_out
from isthmus_partitioner.tflite.refusal import NotLoweredError
from isthmus_partitioner.tflite.schema import Activation
from isthmus_partitioner.tflite.source import Source
from isthmus_partitioner.tflite.values import Values

__all__ = ["Reads", "Result", "Step"]

_DIMENSIONS = 4


class Reads(Enum):
    """In which layout an op wants its first input; SAME: in whichever it is held."""

    PLAIN = "plain"
    CHANNELS_LAST = "channels last"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Result:
    """Where what a node makes goes: all of `names` are bound to it, `absorbed` nodes are done.

    `grid` is None for reals; `activation` is what the operator has to do itself.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    grid: Grid | None
    activation: int
    absorbed: tuple[onnx.NodeProto, ...]


class Step:
    """One node that is being lowered. `done` holds names of tensors whose makers need no step."""

    def __init__(
        self, node: onnx.NodeProto, source: Source, values: Values, file: TfliteFile, done: set[str]
    ) -> None:
        self.node, self.source, self.values = node, source, values
        self._file, self._done = file, done
        self._attributes = {a.name: a for a in node.attribute}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names; an empty one is an input that is left out."""
        return tuple(self.node.input)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the node makes."""
        return tuple(self.node.output)

    def refused(self, why: str) -> NotLoweredError:
        """The error to raise where the node cannot be said in TFLite."""
        name = self.node.name or (self.node.output[0] if self.node.output else "")
        return NotLoweredError(f"node {name!r} ({self.node.op_type}): {why}")

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node; texts as str."""
        if name not in self._attributes:
            return default
        value = helper.get_attribute_value(self._attributes[name])
        return value.decode() if isinstance(value, bytes) else value

    def has_input(self, place: int) -> bool:
        """Whether an optional input is there."""
        return len(self.node.input) > place and bool(self.node.input[place])

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of one item, as ONNX has them."""
        return self.source.shape(name)

    def constant(self, name: str, what: str) -> AnyArray:
        """A constant input as reals; refuses one that is computed."""
        if not self.source.is_constant(name):
            raise self.refused(f"its {what} is not a constant")
        return self.source.constant(name)

    def stored(self, name: str) -> tuple[AnyArray, Grid | ChannelGrid] | None:
        """A constant's int8 and their grid; None where it is not stored as 8 bits."""
        found = self.source.stored(name)
        if found is None or found[0].dtype.name not in ("int8", "uint8"):
            return None
        integers, scale, zero, axis = found
        if scale.size == 1:
            shift = 128 if integers.dtype == np.uint8 else 0
            return (integers.astype(np.int16) - shift).astype(np.int8), Grid.of(scale, zero)
        if integers.dtype != np.int8 or zero.any():
            return None
        return integers, ChannelGrid(scale.astype(np.float32).ravel(), axis)

    def has_integers(self, *names: str) -> bool:
        """Whether all these tensors are held as integers, or are constants stored as such."""
        return all(
            self.stored(name) is not None
            if self.source.is_constant(name)
            else self.values.grid(name) is not None
            for name in names
        )

    def layout(self, *names: str) -> Layout:
        """The layout in which these tensors, that are combined element by element, are best read.

        With channels last where one of them is held so, unless they have different ranks.
        """
        moving = [name for name in names if not self.source.is_constant(name)]
        shapes = [self.shape(name) for name in moving]
        if any(len(shape) != _DIMENSIONS for shape in shapes):
            return Layout.PLAIN
        held = [self.values.native(name).layout for name in moving]
        return Layout.CHANNELS_LAST if Layout.CHANNELS_LAST in held else Layout.PLAIN

    def real(self, name: str, layout: Layout = Layout.PLAIN) -> Value:
        """An input as reals (or as ids, pixels, …) in a layout."""
        return self.values.real(name, layout)

    def integer(self, name: str, layout: Layout = Layout.PLAIN) -> Value:
        """An input as int8 in a layout; see `has_integers`."""
        return self.values.integer(name, layout)

    def held(self, name: str, layout: Layout = Layout.PLAIN) -> Value:
        """An input as integers where it is held so, else as reals."""
        is_integer = self.values.grid(name) is not None
        return self.values.integer(name, layout) if is_integer else self.values.real(name, layout)

    def fixed(self, name: str, array: AnyArray, grid: Grid | ChannelGrid | None = None) -> Value:
        """A constant of the file."""
        return self.values.fixed(name, array, grid)

    def result(self, *, integer: bool, fuses: bool = False, output: int = 0) -> Result:
        """Where an output goes.

        `integer`: all data come as integers; the answer's grid says whether the result may be one.
        `fuses`: the operator can do an activation.
        """
        name = self.node.output[output]
        if fuses:
            through = self._through_activation(name, integer)
            if through is not None:
                return through
        quantisers = self._quantisers(name) if integer else ()
        return self._result(name, quantisers, Activation.NONE, ())

    def make(self, result: Result, layout: Layout = Layout.PLAIN) -> Value:
        """The tensor of a result, which is bound to all its names."""
        name = result.names[0]
        kind = "float32" if result.grid is not None else self.source.data_type(name)
        if len(result.shape) != _DIMENSIONS:
            layout = Layout.PLAIN
        shape = laid_out(result.shape, layout)
        made = self.values.new(name, shape, kind, layout, result.grid)
        self.bind(result, made)
        return made

    def bind(self, result: Result, value: Value) -> None:
        """Say that a result is held so; integers on another grid are put on the result's."""
        if result.grid is not None:
            value = self.values.requantised(value, result.grid, result.names[0])
        for name in result.names:
            self.values.bind(name, value)
        self._done.update(name for node in result.absorbed for name in node.output)

    def emit(
        self,
        code: int,
        version: int,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        options: tuple[int, object] | None = None,
    ) -> None:
        """Add an operator to the file; None is an input that is left out."""
        places = [-1 if value is None else value.index for value in inputs]
        self._file.operator(code, version, places, [v.index for v in outputs], options)

    def _through_activation(self, name: str, integer: bool) -> Result | None:
        reader = self.source.only_reader(name)
        if reader is None or reader.input[0] != name:
            return None
        limits = bounds(reader, self.source)
        if limits is None:
            return None
        behind = reader.output[0]
        quantisers = self._quantisers(behind) if integer else ()
        grid = self.source.grid(quantisers[0]) if quantisers else None
        activation = fused(*limits, grid)
        if activation is None or (integer and grid is None and self._quantisers(name)):
            return None
        return self._result(behind, quantisers, activation, (reader,))

    def _result(
        self,
        name: str,
        quantisers: Sequence[onnx.NodeProto],
        activation: int,
        absorbed: tuple[onnx.NodeProto, ...],
    ) -> Result:
        shape = self.shape(name)
        if not quantisers:
            return Result((name,), shape, None, activation, absorbed)
        names = tuple(node.output[0] for node in quantisers)
        grid = self.source.grid(quantisers[0])
        return Result(names, shape, grid, activation, (*absorbed, *quantisers))

    def _quantisers(self, name: str) -> Sequence[onnx.NodeProto]:
        """All readers of a tensor, if they are quantisers with one grid and no output is it."""
        readers = self.source.readers.get(name, [])
        if name in self.source.outputs or not readers:
            return ()
        if any(r.op_type != "QuantizeLinear" or r.input[0] != name for r in readers):
            return ()
        grids = {self.source.grid(reader) for reader in readers}
        return readers if len(grids) == 1 and None not in grids else ()
