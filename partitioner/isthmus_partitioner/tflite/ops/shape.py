"""Ops that only move elements: they keep the form (integers or reals) in which these are held."""

from typing import TypeVar

import numpy as np

from isthmus_partitioner.tflite.forms import Layout, Value, laid_out
from isthmus_partitioner.tflite.ops.elementwise import whole_grids
from isthmus_partitioner.tflite.padding import bordered
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_T = TypeVar("_T")
_LAST_OF = (0, 3, 1, 2)  # where ONNX's dimensions are with channels last
_FAR = 1 << 30


@lowers("Flatten", "Squeeze", "Unsqueeze")
def reshape(step: Step) -> None:
    """Other sizes, the same elements in ONNX's order."""
    value = step.held(step.inputs[0])
    made = step.values.reshaped(value, step.shape(step.outputs[0]), Layout.PLAIN, step.outputs[0])
    step.values.bind(step.outputs[0], made)


@lowers("Concat", reads=Reads.SAME)
def concat(step: Step) -> None:
    """All parts are put on one grid before."""
    layout = step.layout(*step.inputs)
    axis = _place(step, step.attribute("axis"), layout)
    result = step.result(integer=step.has_integers(*step.inputs) and whole_grids(step))
    if result.grid is None:
        parts = [step.values.real(name, layout) for name in step.inputs]
    else:
        parts = [
            step.values.requantised(
                _part(step, name, layout), result.grid, f"{result.names[0]};{number}"
            )
            for number, name in enumerate(step.inputs)
        ]
    settings = options("ConcatenationOptions", axis=axis)
    version = 1 if result.grid is None else 2
    step.emit(Op.CONCATENATION, version, parts, [step.make(result, layout)], settings)


@lowers("Split", reads=Reads.SAME)
def split(step: Step) -> None:
    """A slice for each part that is read."""
    name = step.inputs[0]
    layout = step.layout(name)
    value = step.held(name, layout)
    axis = _place(step, step.attribute("axis", 0), layout)
    begin = 0
    for made in step.outputs:
        shape = laid_out(step.shape(made), layout)
        begins = [begin if place == axis else 0 for place in range(len(shape))]
        begin += shape[axis]
        if step.source.readers.get(made) or made in step.source.outputs:
            step.values.bind(made, _sliced(step, value, begins, shape, made))


@lowers("Slice", reads=Reads.SAME)
def cut_out(step: Step) -> None:
    """A box, or every n-th element of one."""
    name, made = step.inputs[0], step.outputs[0]
    sizes = step.shape(name)
    layout = step.layout(name)
    begins, ends, steps = _bounds(step, sizes)
    value = step.held(name, layout)
    shape = laid_out(step.shape(made), layout)
    begins, ends, steps = (_ordered(numbers, layout) for numbers in (begins, ends, steps))
    if all(by == 1 for by in steps):
        step.values.bind(made, _sliced(step, value, begins, shape, made))
        return
    if layout is Layout.CHANNELS_LAST and _is_one_of_each_block(value.shape, begins, ends, steps):
        blocks = _blocks(step, value, steps[1])
        first = (begins[1] * steps[1] + begins[2]) * shape[3]
        step.values.bind(made, _sliced(step, blocks, [0, 0, 0, first], shape, made))
        return
    out = step.values.new(made, shape, value.data_type, layout, value.grid)
    fixed = [
        step.fixed(f"{made};{what}", np.asarray(numbers, np.int32))
        for what, numbers in (("begin", begins), ("end", ends), ("by", steps))
    ]
    version = 1 if value.data_type == "float32" else 2
    step.emit(Op.STRIDED_SLICE, version, [value, *fixed], [out], options("StridedSliceOptions"))
    step.values.bind(made, out)


@lowers("Pad", reads=Reads.SAME)
def pad(step: Step) -> None:
    """A border of one number."""
    name, made = step.inputs[0], step.outputs[0]
    if step.attribute("mode", "constant") != "constant":
        raise step.refused(f"mode {step.attribute('mode')!r} is not covered")
    if step.has_input(3):
        raise step.refused("pads along named axes are not covered")
    pads = step.attribute("pads")
    if pads is None:
        pads = step.constant(step.inputs[1], "pads").tolist()
    number = float(step.attribute("value", 0.0))
    if step.has_input(2):
        number = float(step.constant(step.inputs[2], "filling").reshape(()))
    if min(pads) < 0:
        raise step.refused("negative pads are not covered")
    layout = step.layout(name)
    value = step.real(name, layout) if number else step.held(name, layout)
    half = len(pads) // 2
    borders = tuple(_ordered(list(zip(pads[:half], pads[half:], strict=True)), layout))
    filling = None
    if number:
        filling = step.fixed(f"{made};filling", np.full(1, number, value.data_type))
    step.values.bind(made, bordered(step, value, borders, filling))


@lowers("DepthToSpace", "SpaceToDepth", reads=Reads.CHANNELS_LAST)
def depth_and_space(step: Step) -> None:
    """Blocks of places against channels, in the order that TFLite has: depth first."""
    to_space = step.node.op_type == "DepthToSpace"
    if to_space and step.attribute("mode", "DCR") != "DCR":
        raise step.refused("only the mode DCR is covered")
    made = step.outputs[0]
    value = step.held(step.inputs[0], Layout.CHANNELS_LAST)
    shape = laid_out(step.shape(made), Layout.CHANNELS_LAST)
    out = step.values.new(made, shape, value.data_type, Layout.CHANNELS_LAST, value.grid)
    kind = step.node.op_type
    settings = options(f"{kind}Options", blockSize=int(step.attribute("blocksize")))
    code = Op.DEPTH_TO_SPACE if to_space else Op.SPACE_TO_DEPTH
    step.emit(code, 1, [value], [out], settings)
    step.values.bind(made, out)


def _is_one_of_each_block(
    shape: tuple[int, ...], begins: list[int], ends: list[int], steps: list[int]
) -> bool:
    """Whether a slice takes one place of each square block of places, and all channels."""
    side = steps[1]
    is_square = steps == [1, side, side, 1] and not (shape[1] % side or shape[2] % side)
    is_whole = begins[::3] == [0, 0] and ends == list(shape)
    return is_square and is_whole and max(begins) < side


def _blocks(step: Step, value: Value, side: int) -> Value:
    """The places of each block as channels, made once: slices of it are far quicker than strided
    ones of the picture."""

    def make() -> Value:
        items, height, width, channels = value.shape
        shape = (items, height // side, width // side, channels * side * side)
        name = f"{step.inputs[0]};blocks"
        out = step.values.new(name, shape, value.data_type, value.layout, value.grid)
        settings = options("SpaceToDepthOptions", blockSize=side)
        step.emit(Op.SPACE_TO_DEPTH, 1, [value], [out], settings)
        return out

    return step.values.once((value.index, side), make)


def _part(step: Step, name: str, layout: Layout) -> Value:
    stored = step.stored(name)
    if stored is not None:
        array, grid = stored
        array = array.transpose(0, 2, 3, 1) if layout is Layout.CHANNELS_LAST else array
        return step.fixed(name, np.ascontiguousarray(array), grid)
    return step.held(name, layout)


def _sliced(
    step: Step, value: Value, begins: list[int], shape: tuple[int, ...], name: str
) -> Value:
    out = step.values.new(name, shape, value.data_type, value.layout, value.grid)
    begin = step.fixed(f"{name};begin", np.asarray(begins, np.int32))
    size = step.fixed(f"{name};size", np.asarray(shape, np.int32))
    version = 1 if value.data_type == "float32" else 2
    step.emit(Op.SLICE, version, [value, begin, size], [out], options("SliceOptions"))
    return out


def _bounds(step: Step, sizes: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
    """Begins, ends and steps along all dimensions, none of them negative."""
    rank = len(sizes)
    starts, stops, axes, by = (_numbers(step, place) for place in range(1, 5))
    if starts is None or stops is None:
        starts, stops = list(step.attribute("starts")), list(step.attribute("ends"))
        axes = list(step.attribute("axes", range(len(starts))))
    begins, ends, steps = [0] * rank, list(sizes), [1] * rank
    axes = axes or list(range(len(starts)))
    for place, (axis, start, stop) in enumerate(zip(axes, starts, stops, strict=True)):
        size, by_one = sizes[axis % rank], (by or [1] * len(starts))[place]
        if by_one < 1:
            raise step.refused("slices that go backwards are not covered")
        begin, end, _ = slice(start, min(stop, _FAR), by_one).indices(size)
        begins[axis % rank], ends[axis % rank], steps[axis % rank] = begin, end, by_one
    return begins, ends, steps


def _numbers(step: Step, place: int) -> list[int] | None:
    if not step.has_input(place):
        return None
    return [int(n) for n in step.constant(step.inputs[place], "bounds").ravel()]


def _ordered(numbers: list[_T], layout: Layout) -> list[_T]:
    if layout is Layout.PLAIN:
        return numbers
    return [numbers[place] for place in (0, 2, 3, 1)]


def _place(step: Step, axis: int, layout: Layout) -> int:
    """Where a dimension of ONNX is in a layout."""
    place = axis % len(step.shape(step.inputs[0]))
    return _LAST_OF[place] if layout is Layout.CHANNELS_LAST else place
