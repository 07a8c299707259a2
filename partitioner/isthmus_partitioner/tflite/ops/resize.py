"""Resize and Upsample: nearest and bilinear, where TFLite takes the same elements as ONNX."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.tflite.forms import Layout, laid_out
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_LAST = Layout.CHANNELS_LAST
_Places = NDArray[np.float64]
_FLAGS = ((False, False), (False, True), (True, False))  # align corners, half-pixel centres
_ROUNDINGS: dict[str, Callable[[_Places], _Places]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}
_NEAR = 1e-6


@lowers("Resize", "Upsample", reads=Reads.CHANNELS_LAST)
def resize(step: Step) -> None:
    """To sizes that the graph states."""
    mode = step.attribute("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise step.refused(f"mode {mode!r} is not covered")
    if step.attribute("antialias", 0) or step.attribute("exclude_outside", 0):
        raise step.refused("antialias and exclude_outside are not covered")
    policy = step.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise step.refused(f"sizes that keep an aspect ratio ({policy}) are not covered")
    shape, made = step.shape(step.inputs[0]), step.shape(step.outputs[0])
    if len(shape) != 4 or shape[:2] != made[:2]:
        raise step.refused("only height and width can be resized")
    flags = _flags(step, mode, shape[2:], made[2:])
    if mode == "nearest":
        _nearest(step, flags)
    else:
        _bilinear(step, flags)


def _nearest(step: Step, flags: tuple[bool, bool]) -> None:
    value = step.held(step.inputs[0], _LAST)
    name = step.outputs[0]
    shape = laid_out(step.shape(name), _LAST)
    out = step.values.new(name, shape, value.data_type, _LAST, value.grid)
    size = step.fixed(f"{name};size", np.asarray(shape[1:3], np.int32))
    settings = options(
        "ResizeNearestNeighborOptions", alignCorners=flags[0], halfPixelCenters=flags[1]
    )
    version = 3 if any(flags) else (1 if value.grid is None else 2)
    step.emit(Op.RESIZE_NEAREST_NEIGHBOR, version, [value, size], [out], settings)
    step.values.bind(name, out)


def _bilinear(step: Step, flags: tuple[bool, bool]) -> None:
    result = step.result(integer=step.has_integers(step.inputs[0]))
    is_integer = result.grid is not None
    value = step.integer(step.inputs[0], _LAST) if is_integer else step.real(step.inputs[0], _LAST)
    name = step.outputs[0]
    shape = laid_out(step.shape(name), _LAST)
    out = step.values.new(name, shape, value.data_type, _LAST, value.grid)
    size = step.fixed(f"{name};size", np.asarray(shape[1:3], np.int32))
    settings = options("ResizeBilinearOptions", alignCorners=flags[0], halfPixelCenters=flags[1])
    version = 3 if flags[1] else (2 if is_integer else 1)
    step.emit(Op.RESIZE_BILINEAR, version, [value, size], [out], settings)
    step.bind(result, out)


def _flags(
    step: Step, mode: str, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[bool, bool]:
    """TFLite's flags with which it takes the elements that ONNX takes, on both axes."""
    axes = enumerate(zip(before, after, strict=True))
    wanted = [_onnx_places(step, mode, axis, sizes) for axis, sizes in axes]
    for flags in _FLAGS:
        found = [_tflite_places(mode, flags, *sizes) for sizes in zip(before, after, strict=True)]
        if all(
            np.allclose(mine, theirs, rtol=0, atol=_NEAR)
            for mine, theirs in zip(found, wanted, strict=True)
        ):
            return flags
    kind = step.attribute("coordinate_transformation_mode", "half_pixel")
    raise step.refused(f"TFLite has no {mode} resize by {kind!r} from {before} to {after}")


def _onnx_places(step: Step, mode: str, axis: int, sizes: tuple[int, int]) -> _Places:
    """From where along an axis each element is taken; between elements where it is linear."""
    before, after = sizes
    is_old = step.node.op_type == "Upsample" or step.source.opset < 11
    kind = (
        "asymmetric" if is_old else step.attribute("coordinate_transformation_mode", "half_pixel")
    )
    scale = _scale(step, axis, before, after)
    index = np.arange(after, dtype=np.float64)
    if kind == "asymmetric":
        places = index / scale
    elif kind == "align_corners":
        places = index * ((before - 1) / (after - 1) if after > 1 else 0.0)
    elif kind == "pytorch_half_pixel" and after == 1:
        places = index
    elif kind in ("half_pixel", "pytorch_half_pixel"):
        places = (index + 0.5) / scale - 0.5
    else:
        raise step.refused(f"coordinates by {kind!r} are not covered")
    if mode == "nearest":
        rounding = "floor" if is_old else step.attribute("nearest_mode", "round_prefer_floor")
        places = _ROUNDINGS[rounding](np.round(places, 9))
    return np.clip(places, 0, before - 1)


def _tflite_places(mode: str, flags: tuple[bool, bool], before: int, after: int) -> _Places:
    """The same for TFLite's kernels (reference/resize_*.h)."""
    align, half = flags
    scale = before / after
    if align and after > 1:
        scale = (before - 1) / (after - 1)
    index = np.arange(after, dtype=np.float64)
    if mode == "nearest":
        places = (index + 0.5 if half else index) * scale
        places = np.floor(np.round(places, 9) + 0.5) if align else np.floor(np.round(places, 9))
    else:
        places = (index + 0.5) * scale - 0.5 if half else index * scale
    return np.clip(places, 0, before - 1)


def _scale(step: Step, axis: int, before: int, after: int) -> float:
    """ONNX's own scale of height or width, which need not be the quotient of the sizes."""
    place = 2 if step.node.op_type == "Resize" and step.source.opset >= 11 else 1
    scales = step.attribute("scales")
    if step.has_input(place):
        scales = step.constant(step.inputs[place], "scales").tolist()
    if not scales:
        return after / before
    axes = [named % 4 for named in step.attribute("axes", range(4))]
    scale = float(dict(zip(axes, scales, strict=True)).get(2 + axis, 1.0))
    if not math.isfinite(scale) or scale <= 0:
        raise step.refused(f"a scale of {scale}")
    return scale
