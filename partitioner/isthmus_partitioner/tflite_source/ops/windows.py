"""Pools, resizes, reductions and softmax."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto

from isthmus_partitioner.tflite_source.drawing import Draw
from isthmus_partitioner.tflite_source.ops.convolutions import window_pads
from isthmus_partitioner.tflite_source.scope import Scope

__all__ = ["WINDOWS"]

_POOLS = {"AVERAGE_POOL_2D": "AveragePool", "MAX_POOL_2D": "MaxPool"}
_REDUCTIONS = {
    "MEAN": "ReduceMean", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd", "SUM": "ReduceSum",
}  # fmt: skip


def _pool(scope: Scope) -> None:
    options = scope.options(schema.Pool2DOptionsT)
    image = scope.take(0, "first")
    kernel, strides = (
        (options.filterHeight, options.filterWidth),
        (options.strideH, options.strideW),
    )
    scope.give(
        _POOLS[scope.op.kind],
        [image],
        "first",
        fused=options.fusedActivationFunction,
        kernel_shape=list(kernel),
        strides=list(strides),
        pads=window_pads(scope, options.padding, kernel, strides),
    )


def _resize(scope: Scope) -> None:
    is_linear = scope.op.kind == "RESIZE_BILINEAR"
    options: Any = scope.options(
        schema.ResizeBilinearOptionsT if is_linear else schema.ResizeNearestNeighborOptionsT
    )
    sizes = scope.integers(1, "size")
    image = scope.take(0, "first")
    if len(sizes) != 2 or min(sizes) < 1:
        raise scope.wrong(f"resizes to {sizes}")
    is_cornered, is_centred = bool(options.alignCorners), bool(options.halfPixelCenters)
    scope.give(
        "Resize",
        [image, *_target(scope, sizes, is_linear or is_cornered)],
        "first",
        mode="linear" if is_linear else "nearest",
        coordinate_transformation_mode=(
            "align_corners" if is_cornered else "half_pixel" if is_centred else "asymmetric"
        ),
        nearest_mode="round_prefer_ceil" if is_cornered or is_centred else "floor",
    )


def _target(scope: Scope, sizes: list[int], is_smooth: bool) -> list[str]:
    """By scales, which leave the batch free; by sizes where rounding a scale could move pixels."""
    _, height, width, channels = scope.input().shape
    scales = [_scale(size, to) for size, to in zip((height, width), sizes, strict=True)]
    if is_smooth or all(
        s * n == to for s, n, to in zip(scales, (height, width), sizes, strict=True)
    ):
        return ["", scope.number([1, 1, *scales], hint="scales")]
    return ["", "", scope.number([1, channels, *sizes], np.int64, "sizes")]


def _scale(size: int, wanted: int) -> float:
    """The smallest float32 by which the runtime, which rounds down, arrives at the size."""
    scale = np.float32(wanted / size)
    while int(float(scale) * size) < wanted:
        scale = np.nextafter(scale, np.float32(np.inf))
    return float(scale)


def _reduce(scope: Scope) -> None:
    keeps = bool(scope.options(schema.ReducerOptionsT).keepDims)
    axes = {axis % max(scope.input().rank, 1) for axis in scope.integers(1, "axes")}
    layout = scope.layout()
    # Without the channels, or without the image, what is left has the same order in both layouts.
    if not (keeps or 3 in axes or {1, 2} <= axes):
        layout = "file"
    places = sorted(scope.axis(axis, layout) for axis in axes)
    given = layout if keeps else "file"
    inputs = [scope.take(0, layout), scope.number(places, np.int64, "axes")]
    scope.give(_REDUCTIONS[scope.op.kind], inputs, given, keepdims=int(keeps))


def _softmax(scope: Scope) -> None:
    beta = float(scope.options(schema.SoftmaxOptionsT).beta)
    layout = scope.layout()
    name = scope.take(0, layout)
    if beta != 1:
        name = scope.node("Mul", [name, scope.number(beta)])
    scope.give("Softmax", [name], layout, axis=scope.axis(-1, layout))


def _log_softmax(scope: Scope) -> None:
    layout = scope.layout()
    scope.give("LogSoftmax", [scope.take(0, layout)], layout, axis=scope.axis(-1, layout))


def _arg_max(scope: Scope) -> None:
    axes = scope.integers(1, "axis")
    if len(axes) != 1:
        raise scope.wrong(f"has the axes {axes}")
    layout = scope.layout() if axes[0] in {-1, 3} else "file"
    place = scope.axis(axes[0], layout)
    kind = "ArgMax" if scope.op.kind == "ARG_MAX" else "ArgMin"
    inputs = [scope.take(0, layout)]
    if scope.output().kind == np.int64:
        return scope.give(kind, inputs, axis=place, keepdims=0)
    found = scope.node(kind, inputs, axis=place, keepdims=0)
    return scope.give("Cast", [found], to=TensorProto.INT32)


WINDOWS: Mapping[str, Draw] = {
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "ARG_MAX": _arg_max,
    "ARG_MIN": _arg_max,
    "LOG_SOFTMAX": _log_softmax,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SOFTMAX": _softmax,
}
