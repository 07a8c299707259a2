"""Operations that move values and change none: reshape, transpose, slice, pad, join, split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto

from isthmus_partitioner.tflite_source.canvas import TO_FILE, Layout
from isthmus_partitioner.tflite_source.drawing import Draw
from isthmus_partitioner.tflite_source.records import SourceTensor
from isthmus_partitioner.tflite_source.scope import Scope

__all__ = ["SHAPING"]

_FAR = 2**31 - 1  # beyond every size: to the end of an axis


def _reshape(scope: Scope) -> None:
    name = _flat(scope)
    if (
        scope.op.kind == "RESHAPE"
        and scope.has(1)
        and scope.canvas.constant_of(scope.index(1), raw=True) is None
    ):
        target = scope.node("Cast", [scope.take(1)], to=TensorProto.INT64)
        return scope.give("Reshape", [name, target])
    return scope.give("Reshape", [name, scope.number(_target(scope), np.int64, "shape")])


def _flat(scope: Scope) -> str:
    """The input in the order of its values: both layouts have it if the image is one pixel."""
    shape = scope.input().shape
    is_same = scope.input().rank == 4 and (shape[1:3] == (1, 1) or shape[3] == 1)
    return scope.take(0, scope.layout() if is_same else "file")


def _target(scope: Scope) -> list[int]:
    """The output's sizes, with -1 for the batch where that is open."""
    output = scope.output()
    if scope.op.kind == "RESHAPE" and scope.has(1):
        stated = scope.integers(1, "shape")
        if -1 in stated:
            return stated
    return _open_batch(output)


def _open_batch(tensor: SourceTensor) -> list[int]:
    return [-1 if tensor.batches and axis == 0 else size for axis, size in enumerate(tensor.shape)]


def _expand_dims(scope: Scope) -> None:
    (axis,) = scope.integers(1, "axis")
    rank = scope.output().rank
    scope.give("Unsqueeze", [scope.take(0), scope.number([axis % rank], np.int64, "axis")])


def _squeeze(scope: Scope) -> None:
    rank = scope.input().rank
    stated = scope.options(schema.SqueezeOptionsT).squeezeDims
    axes = [] if stated is None else [int(axis) % max(rank, 1) for axis in stated]
    if not axes:
        axes = [axis for axis, size in enumerate(scope.input().shape) if size == 1]
    layout = scope.layout()
    if not (3 in axes or {1, 2} <= set(axes)):
        layout = "file"
    places = sorted(scope.axis(axis, layout) for axis in axes)
    scope.give("Squeeze", [scope.take(0, layout), scope.number(places, np.int64, "axes")])


def _transpose(scope: Scope) -> None:
    """Of an image that is there channels first: from there, which often is nothing to do."""
    order = scope.integers(1, "order")
    if sorted(order) != list(range(scope.input().rank)):
        raise scope.wrong(f"has the order {order}")
    layout = scope.layout()
    if layout == "first":
        order = [TO_FILE[axis] for axis in order]
    name = scope.take(0, layout)
    if order == sorted(order):
        return scope.give("Identity", [name])
    return scope.give("Transpose", [name], perm=order)


def _concatenation(scope: Scope) -> None:
    options = scope.options(schema.ConcatenationOptionsT)
    numbers = range(len(scope.op.inputs))
    layout: Layout = "first" if any(scope.layout(n) == "first" for n in numbers) else "file"
    names = [scope.take(number, layout) for number in numbers]
    fused = options.fusedActivationFunction
    scope.give("Concat", names, layout, fused=fused, axis=scope.axis(options.axis, layout))


def _split(scope: Scope) -> None:
    is_even = scope.op.kind == "SPLIT"
    numbers = (1, 0) if is_even else (0, 2)
    (axis,) = scope.integers(numbers[1], "axis")
    image = scope.index(numbers[0])
    rank = scope.canvas.source.tensors[image].rank
    layout = scope.layout(numbers[0])
    place = scope.axis(axis, layout, numbers[0])
    start = 0
    for number in range(len(scope.op.outputs)):
        size = scope.output(number).shape[axis % rank]
        ends = [scope.number([each], np.int64) for each in (start, start + size, place)]
        scope.give("Slice", [scope.take(numbers[0], layout), *ends], layout, number=number)
        start += size


def _slice(scope: Scope) -> None:
    begins, sizes = scope.integers(1, "begin"), scope.integers(2, "size")
    ends = [_FAR if size == -1 else begin + size for begin, size in zip(begins, sizes, strict=True)]
    _sliced(scope, begins, ends, [1] * len(begins))


def _strided_slice(scope: Scope) -> None:
    options = scope.options(schema.StridedSliceOptionsT)
    if options.ellipsisMask or options.newAxisMask or options.offset:
        raise scope.wrong("has an ellipsis, a new axis or an offset")
    begins, ends, steps = (scope.integers(n, "bounds") for n in (1, 2, 3))
    if not len(begins) == len(ends) == len(steps) <= scope.input().rank or 0 in steps:
        raise scope.wrong(f"has the bounds {begins}, {ends}, {steps}")
    shrunk = []
    for axis, step in enumerate(steps):
        if options.shrinkAxisMask >> axis & 1:
            ends[axis] = begins[axis] + 1 or _FAR
            steps[axis] = 1
            shrunk.append(axis)
            continue
        if options.beginMask >> axis & 1:
            begins[axis] = 0 if step > 0 else _FAR
        if options.endMask >> axis & 1:
            ends[axis] = _FAR if step > 0 else -_FAR
    _sliced(scope, begins, ends, steps, shrunk)


def _sliced(
    scope: Scope,
    begins: list[int],
    ends: list[int],
    steps: list[int],
    shrunk: list[int] | None = None,
) -> None:
    layout = "file" if shrunk else scope.layout()
    changed = [i for i, bounds in enumerate(zip(begins, ends, steps, strict=True))
               if bounds != (0, _FAR, 1)]  # fmt: skip
    if not changed:
        return scope.give("Identity", [scope.take(0, layout)], layout)
    bounds = [[values[axis] for axis in changed] for values in (begins, ends)]
    places = [scope.axis(axis, layout) for axis in changed]
    strides = [steps[axis] for axis in changed]
    numbers = [scope.number(v, np.int64, "bounds") for v in (*bounds, places, strides)]
    inputs = [scope.take(0, layout), *numbers]
    if not shrunk:
        return scope.give("Slice", inputs, layout)
    kept = scope.node("Slice", inputs)
    return scope.give("Squeeze", [kept, scope.number(shrunk, np.int64, "axes")])


def _pad(scope: Scope) -> None:
    layout = scope.layout()
    pairs = scope.integers(1, "pads")
    rank = scope.input().rank
    if len(pairs) != 2 * rank or min(pairs) < 0:
        raise scope.wrong(f"has the pads {pairs}")
    sides = pairs[::2], pairs[1::2]
    if layout == "first":
        sides = scope.ordered(sides[0], layout), scope.ordered(sides[1], layout)
    inputs = [scope.take(0, layout), scope.number([*sides[0], *sides[1]], np.int64, "pads")]
    mode = "constant"
    if scope.op.kind == "MIRROR_PAD":
        mode = "reflect"
        if scope.options(schema.MirrorPadOptionsT).mode != schema.MirrorPadMode.REFLECT:
            raise scope.wrong("repeats the border (SYMMETRIC)")
    elif scope.op.kind == "PADV2":
        value = scope.needed(2, "value").reshape(())
        inputs.append(scope.canvas.constant(value, f"{scope.output().name}/value"))
    scope.give("Pad", inputs, layout, mode=mode)


def _pack(scope: Scope) -> None:
    axis = scope.options(schema.PackOptionsT).axis % scope.output().rank
    place = scope.number([axis], np.int64, "axis")
    names = [
        scope.node("Unsqueeze", [scope.take(number), place])
        for number in range(len(scope.op.inputs))
    ]
    scope.give("Concat", names, axis=axis)


def _unpack(scope: Scope) -> None:
    axis = scope.axis(scope.options(schema.UnpackOptionsT).axis, "file")
    for number in range(len(scope.op.outputs)):
        row = scope.number(number, np.int64, "row")
        scope.give("Gather", [scope.take(0), row], number=number, axis=axis)


def _gather(scope: Scope) -> None:
    options = scope.options(schema.GatherOptionsT)
    if options.batchDims:
        raise scope.wrong(f"has {options.batchDims} batch dimensions")
    scope.give("Gather", [scope.take(0), scope.take(1)], axis=scope.axis(options.axis, "file"))


def _shape(scope: Scope) -> None:
    sizes = scope.node("Shape", [scope.take(0, scope.layout())])
    if scope.layout() == "first":
        order = scope.number(TO_FILE, np.int64, "order")
        sizes = scope.node("Gather", [sizes, order], axis=0)
    element = TensorProto.INT64 if scope.output().kind == np.int64 else TensorProto.INT32
    scope.give("Cast", [sizes], to=element)


def _depth_to_space(scope: Scope) -> None:
    is_depth = scope.op.kind == "DEPTH_TO_SPACE"
    options = schema.DepthToSpaceOptionsT if is_depth else schema.SpaceToDepthOptionsT
    size = int(scope.options(options).blockSize)
    mode: dict[str, Any] = {"mode": "DCR"} if is_depth else {}
    kind = "DepthToSpace" if is_depth else "SpaceToDepth"
    scope.give(kind, [scope.take(0, "first")], "first", blocksize=size, **mode)


SHAPING: Mapping[str, Draw] = {
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _expand_dims,
    "GATHER": _gather,
    "MIRROR_PAD": _pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "SHAPE": _shape,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _depth_to_space,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
