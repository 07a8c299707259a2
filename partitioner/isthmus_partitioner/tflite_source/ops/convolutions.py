"""Convolutions, fully connected layers and products of matrices.

Padding is TFLite's: SAME keeps ceil(size / stride), with the odd pixel at the end.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from isthmus_partitioner.tflite_source.drawing import Draw
from isthmus_partitioner.tflite_source.scope import Scope

__all__ = ["CONVOLUTIONS", "same_pads", "window_pads"]


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after; `kernel` is dilated."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def window_pads(
    scope: Scope, padding: int, kernel: tuple[int, int], strides: tuple[int, int]
) -> list[int]:
    """ONNX's pads of a window that runs over input 0: top, left, bottom, right."""
    if min(*kernel, *strides) < 1:
        raise scope.wrong(f"has a window of {kernel} with strides {strides}")
    if padding == schema.Padding.VALID:
        return [0, 0, 0, 0]
    _, height, width, _ = scope.input().shape
    top, bottom = same_pads(height, kernel[0], strides[0])
    left, right = same_pads(width, kernel[1], strides[1])
    return [top, left, bottom, right]


def _convolution(scope: Scope) -> None:
    options = scope.options(schema.Conv2DOptionsT)
    weights, channels = _weights(scope), _channels(scope)
    inner = weights[3]
    if channels % inner or weights[0] % (channels // inner):
        raise scope.wrong(f"has weights {list(weights)} for {channels} channels")
    _windowed(scope, options, (0, 3, 1, 2), channels // inner)


def _depthwise(scope: Scope) -> None:
    options = scope.options(schema.DepthwiseConv2DOptionsT)
    weights, channels = _weights(scope), _channels(scope)
    if weights[0] != 1 or weights[3] % channels:
        raise scope.wrong(f"has weights {list(weights)} for {channels} channels")
    _windowed(scope, options, (3, 0, 1, 2), channels)


def _windowed(scope: Scope, options: Any, order: tuple[int, ...], group: int) -> None:
    strides = options.strideH, options.strideW
    dilations = options.dilationHFactor, options.dilationWFactor
    weights = _weights(scope)
    height, width = weights[1:3]
    kernel = (height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1
    if min(dilations) < 1:
        raise scope.wrong(f"has dilations {dilations}")
    scope.give(
        "Conv",
        [scope.take(0, "first"), scope.weights(1, order), *_bias(scope, weights[order[0]])],
        "first",
        fused=options.fusedActivationFunction,
        kernel_shape=[height, width],
        strides=list(strides),
        dilations=list(dilations),
        pads=window_pads(scope, options.padding, kernel, strides),
        group=group,
    )


def _transposed(scope: Scope) -> None:
    """Inputs: the size of the output, weights [O,H,W,I], the image, perhaps a bias."""
    options = scope.options(schema.TransposeConvOptionsT)
    weights = _weights(scope)
    image, result = scope.input(2), scope.output()
    if image.rank != 4 or result.rank != 4 or weights[3] != image.shape[3]:
        raise scope.wrong(f"has weights {list(weights)} for {list(image.shape)}")
    strides = options.strideH, options.strideW
    kernel = weights[1:3]
    if min(strides) < 1:
        raise scope.wrong(f"has strides {strides}")
    before, after, more = [], [], []
    for axis in (0, 1):
        full = (image.shape[axis + 1] - 1) * strides[axis] + kernel[axis]
        cut = max(full - result.shape[axis + 1], 0)
        before.append(cut // 2 if options.padding == schema.Padding.SAME else 0)
        after.append(cut - before[-1])
        more.append(max(result.shape[axis + 1] - full, 0))
    bias = _bias(scope, weights[0], number=3)
    scope.give(
        "ConvTranspose",
        [scope.take(2, "first"), scope.weights(1, (3, 0, 1, 2)), *bias],
        "first",
        fused=options.fusedActivationFunction,
        kernel_shape=list(kernel),
        strides=list(strides),
        pads=[*before, *after],
        output_padding=more,
    )


def _fully_connected(scope: Scope) -> None:
    options = scope.options(schema.FullyConnectedOptionsT)
    if options.weightsFormat != schema.FullyConnectedOptionsWeightsFormat.DEFAULT:
        raise scope.wrong("has shuffled weights")
    weights = scope.sizes(1, "weights")
    if len(weights) != 2:
        raise scope.wrong(f"has weights {list(weights)}")
    rows, rank = scope.take(0), scope.input().rank
    fused = options.fusedActivationFunction
    if options.keepNumDims and rank > 2:
        product = [rows, scope.weights(1, (1, 0))]
        if not scope.has(2):
            return scope.give("MatMul", product, fused=fused)
        inner = scope.node("MatMul", product)
        return scope.give("Add", [inner, *_bias(scope, weights[0])], fused=fused)
    if rank != 2 or scope.input().shape[1] != weights[1]:
        shape = scope.number([-1, weights[1]], np.int64, "rows")
        rows = scope.node("Reshape", [rows, shape])
    inputs = [rows, scope.weights(1, (0, 1)), *_bias(scope, weights[0])]
    return scope.give("Gemm", inputs, fused=fused, transB=1)


def _product(scope: Scope) -> None:
    options = scope.options(schema.BatchMatMulOptionsT)
    names = []
    for number, is_turned in enumerate((options.adjX, options.adjY)):
        shape = scope.canvas.shape_of(scope.index(number))
        if shape is None:
            name = scope.take(number)
        else:
            name = scope.weights(number, tuple(range(len(shape))))
        if is_turned:
            order = list(range(scope.input(number).rank))
            order[-2:] = order[:-3:-1]
            name = scope.node("Transpose", [name], perm=order)
        names.append(name)
    scope.give("MatMul", names)


def _channels(scope: Scope) -> int:
    shape = scope.input().shape
    if len(shape) != 4:
        raise scope.wrong(f"reads {list(shape)}, which is no image")
    return shape[3]


def _weights(scope: Scope) -> tuple[int, ...]:
    """Their sizes."""
    weights = scope.sizes(1, "weights")
    if len(weights) != 4:
        raise scope.wrong(f"has weights {list(weights)}")
    return weights


def _bias(scope: Scope, count: int, number: int = 2) -> list[str]:
    if not scope.has(number):
        return []
    bias = scope.needed(number, "bias").reshape(-1)
    if bias.size != count:
        raise scope.wrong(f"has {bias.size} biases for {count} channels")
    return [scope.number(bias.astype(np.float32), hint="bias")]


CONVOLUTIONS: Mapping[str, Draw] = {
    "BATCH_MATMUL": _product,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transposed,
}
