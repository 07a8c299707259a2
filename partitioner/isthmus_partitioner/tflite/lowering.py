"""An ONNX graph, in integers (QDQ), in floats or in both, as the bytes of a .tflite file.

Nodes are lowered in their order by the functions of `ops`. What has no faithful form in TFLite is
refused with a NotLoweredError: that part stays ONNX.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.tflite import ops, registry
from isthmus_partitioner.tflite.file import TfliteFile
from isthmus_partitioner.tflite.forms import Layout, Value, laid_out
from isthmus_partitioner.tflite.refusal import NotLoweredError
from isthmus_partitioner.tflite.source import Source
from isthmus_partitioner.tflite.step import Reads, Step
from isthmus_partitioner.tflite.values import Values

__all__ = ["Lowered", "lower"]

registry.load(ops)
_DIMENSIONS = 4
# What attributes, types and sizes that contradict each other lead to.
_STUMBLES = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
_TO_PLANES, _TO_PIXELS = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass(frozen=True, slots=True)
class Lowered:
    """A .tflite file whose inputs and outputs are those of the ONNX graph, in order and by name.

    `channels_last` are those it has as [N,H,W,C] where ONNX says [N,C,H,W]. Quantised ones are
    int8 where ONNX has uint8: u8 = i8 + 128, on the same scale.
    """

    data: bytes
    channels_last: tuple[str, ...]


def lower(model: onnx.ModelProto, folder: Path | None = None) -> Lowered:
    """Lower a graph for a batch of one; `folder` is where its external weights lie.

    Raises NotLoweredError, which names the node, its op and what of it is not covered.
    """
    with _translated(NotLoweredError):
        return _Graph(Source(model, folder)).lowered()


@contextmanager
def _translated(refused: Callable[[str], NotLoweredError]) -> Iterator[None]:
    try:
        yield
    except _STUMBLES as error:
        why = f"this is not as ONNX defines it ({first_line(error)}); the head stays ONNX"
        raise refused(why) from error


class _Graph:
    """One graph on its way into one file."""

    def __init__(self, source: Source) -> None:
        self._source, self._file = source, TfliteFile()
        self._values = Values(source, self._file)
        self._done: set[str] = set()

    def lowered(self) -> Lowered:
        inputs = {name: self._input(name) for name in self._source.inputs}
        for node in self._source.nodes:
            if not self._is_done(node):
                self._lower(node)
        outputs = self._outputs({value.index for value in inputs.values()})
        last = [
            name
            for name, value in (inputs | outputs).items()
            if value.layout is Layout.CHANNELS_LAST
        ]
        data = self._file.serialise(
            [value.index for value in inputs.values()], [value.index for value in outputs.values()]
        )
        return Lowered(data, tuple(last))

    def _is_done(self, node: onnx.NodeProto) -> bool:
        return all(n in self._done or self._source.is_constant(n) for n in node.output if n)

    def _lower(self, node: onnx.NodeProto) -> None:
        step = Step(node, self._source, self._values, self._file, self._done)
        if node.op_type == "Transpose" and self._is_only_layout(node):
            return
        own = node.domain in ("", "ai.onnx")
        lowering = registry.find(node.op_type if own else f"{node.domain}:{node.op_type}")
        if lowering is None:
            raise step.refused("this op has no TFLite form here; its head stays ONNX")
        with _translated(step.refused):
            lowering(step)

    def _is_only_layout(self, node: onnx.NodeProto) -> bool:
        """Bind what a Transpose makes where only the name of the layout changes."""
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        wanted = {
            (Layout.PLAIN, tuple(_TO_PLANES)): Layout.CHANNELS_LAST,
            (Layout.CHANNELS_LAST, tuple(_TO_PIXELS)): Layout.PLAIN,
        }
        native = self._values.native(node.input[0])
        layout = wanted.get((native.layout, tuple(order)))
        if layout is None:
            return False
        value = Value(native.index, native.shape, native.data_type, layout, native.grid)
        self._values.bind(node.output[0], value)
        return True

    def _input(self, name: str) -> Value:
        shape, data_type = self._source.shape(name), self._source.data_type(name)
        readers = self._source.readers.get(name, [])
        grid = None
        if readers and all(r.op_type == "DequantizeLinear" for r in readers):
            grids = {self._source.grid(reader) for reader in readers}
            grid = grids.pop() if len(grids) == 1 else None
            if grid is None:
                raise NotLoweredError(f"input {name!r}: its quantisation is not one step for all")
        layout = Layout.PLAIN
        if len(shape) == _DIMENSIONS and self._wants_channels_last(name):
            layout = Layout.CHANNELS_LAST
        value = self._values.new(name, laid_out(shape, layout), data_type, layout, grid)
        self._values.bind(name, value)
        return value

    def _wants_channels_last(self, name: str) -> bool:
        """Whether an op that wants channels last reads the tensor, or makes or reads one that is
        combined with it element by element."""
        seen, ends = {name}, [name]
        while ends:
            tensor = ends.pop()
            maker = self._source.maker(tensor)
            nodes = [*self._source.readers.get(tensor, []), *([maker] if maker else [])]
            kinds = [registry.reads(node.op_type) for node in nodes]
            if Reads.CHANNELS_LAST in kinds:
                return True
            for node, kind in zip(nodes, kinds, strict=True):
                if kind is Reads.SAME:
                    fresh = [n for n in (*node.input, *node.output) if self._has_places(n)]
                    ends.extend(n for n in fresh if n not in seen)
                    seen.update(fresh)
        return False

    def _has_places(self, name: str) -> bool:
        is_fixed = not name or self._source.is_constant(name)
        return not is_fixed and len(self._source.shape(name)) == _DIMENSIONS

    def _outputs(self, inputs: set[int]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        taken = set(inputs)
        for name in self._source.outputs:
            layout = self._values.native(name).layout
            is_float = self._source.data_type(name) == "float32"
            has_grid = self._values.grid(name) is not None
            form: Callable[[str, Layout], Value] = self._values.real
            if has_grid and not is_float:
                form = self._values.integer
            value = form(name, layout)
            if value.index in taken:
                value = self._values.reshaped(value, value.shape, value.layout, name)
            taken.add(value.index)
            self._file.rename(value.index, name)
            found[name] = value
        return found
