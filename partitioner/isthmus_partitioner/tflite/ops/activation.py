"""Activations that stand by themselves, as reals or as integers."""

import numpy as np

from isthmus_partitioner.tflite.activations import bounds, fused
from isthmus_partitioner.tflite.forms import Grid, Layout, Value, laid_out
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Activation, Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_CLIPS = {
    Activation.RELU: Op.RELU,
    Activation.RELU6: Op.RELU6,
    Activation.RELU_N1_TO_1: Op.RELU_N1_TO_1,
}
_INTEGER_VERSIONS = {Op.RELU: 2, Op.RELU6: 2, Op.RELU_N1_TO_1: 1}
# TFLite's integer kernels want these grids for what they make.
_UNIT, _SIGNED_UNIT = Grid(1 / 256, -128), Grid(1 / 128, 0)
_FLOAT_OPS = {
    "Abs": Op.ABS,
    "Cos": Op.COS,
    "Elu": Op.ELU,
    "Exp": Op.EXP,
    "Log": Op.LOG,
    "Neg": Op.NEG,
    "Sin": Op.SIN,
    "Sqrt": Op.SQRT,
}


@lowers("Relu", "Clip", reads=Reads.SAME)
def clip(step: Step) -> None:
    """One operator where there is one; else a minimum and a maximum; nothing without bounds."""
    name = step.inputs[0]
    limits = bounds(step.node, step.source)
    if limits is None:
        raise step.refused("its bounds are not constants")
    if step.source.data_type(name) != "float32":
        raise step.refused(f"it clips {step.source.data_type(name)}")
    layout = step.layout(name)
    result = step.result(integer=step.has_integers(name))
    code = _CLIPS.get(fused(*limits, None))
    if result.grid is not None and result.grid.is_inside(*limits):
        step.bind(result, step.integer(name, layout))
        return
    if code is not None:
        value = step.integer(name, layout) if result.grid is not None else step.real(name, layout)
        version = 1 if result.grid is None else _INTEGER_VERSIONS[code]
        step.emit(code, version, [value], [step.make(result, layout)])
        return
    if limits == (-np.inf, np.inf):
        step.values.native(name)
        step.values.alias(step.outputs[0], name)
        return
    result = step.result(integer=False)
    value = step.real(name, layout)
    _bounded(step, value, limits, step.make(result, layout))


@lowers("Sigmoid", "Tanh", reads=Reads.SAME)
def squashed(step: Step) -> None:
    """On the grid that TFLite demands, then on the one that is asked for."""
    name = step.inputs[0]
    code, grid = (Op.LOGISTIC, _UNIT) if step.node.op_type == "Sigmoid" else (Op.TANH, _SIGNED_UNIT)
    layout = step.layout(name)
    result = step.result(integer=step.has_integers(name))
    if result.grid is None:
        step.emit(code, 1, [step.real(name, layout)], [step.make(result, layout)])
        return
    value = step.integer(name, layout)
    made = step.values.new(step.outputs[0], value.shape, "int8", layout, grid)
    step.emit(code, 2, [value], [made])
    step.bind(result, made)


@lowers("HardSwish", reads=Reads.SAME)
def hard_swish(step: Step) -> None:
    """x * relu6(x + 3) / 6."""
    name = step.inputs[0]
    layout = step.layout(name)
    result = step.result(integer=step.has_integers(name))
    value = step.integer(name, layout) if result.grid is not None else step.real(name, layout)
    step.emit(Op.HARD_SWISH, 1, [value], [step.make(result, layout)], options("HardSwishOptions"))


@lowers("HardSigmoid", reads=Reads.SAME)
def hard_sigmoid(step: Step) -> None:
    """max(0, min(1, alpha * x + beta)), as reals."""
    name = step.inputs[0]
    alpha, beta = step.attribute("alpha", 0.2), step.attribute("beta", 0.5)
    layout = step.layout(name)
    value = step.real(name, layout)
    scaled = _like(step, value, "scaled")
    factor = _scalar(step, "alpha", alpha)
    step.emit(Op.MUL, 1, [value, factor], [scaled], options("MulOptions"))
    moved = _like(step, value, "moved")
    relu = options("AddOptions", fusedActivationFunction=Activation.RELU)
    step.emit(Op.ADD, 1, [scaled, _scalar(step, "beta", beta)], [moved], relu)
    out = step.make(step.result(integer=False), layout)
    limit = options("MaximumMinimumOptions")
    step.emit(Op.MINIMUM, 1, [moved, _scalar(step, "one", 1.0)], [out], limit)


@lowers("LeakyRelu", reads=Reads.SAME)
def leaky_relu(step: Step) -> None:
    """x, or alpha * x below zero."""
    name = step.inputs[0]
    layout = step.layout(name)
    result = step.result(integer=step.has_integers(name))
    value = step.integer(name, layout) if result.grid is not None else step.real(name, layout)
    settings = options("LeakyReluOptions", alpha=float(step.attribute("alpha", 0.01)))
    version = 1 if result.grid is None else 2
    step.emit(Op.LEAKY_RELU, version, [value], [step.make(result, layout)], settings)


@lowers("PRelu", reads=Reads.SAME)
def prelu(step: Step) -> None:
    """x, or slope * x below zero, with a slope per channel; as reals.

    Also a shared slope is written out along the last dimension: tflite-runtime's XNNPACK reads as
    many as that dimension has, whatever the slope's own shape is.
    """
    name = step.inputs[0]
    slope = step.constant(step.inputs[1], "slope")
    shape = step.shape(name)
    layout = step.layout(name)
    whole = slope.reshape((1,) * (len(shape) - slope.ndim) + slope.shape)
    if len(shape) > 1 and whole.shape[0] != 1:
        raise step.refused(f"a slope of {list(slope.shape)} differs from item to item")
    if layout is Layout.CHANNELS_LAST:
        whole = whole.transpose(0, 2, 3, 1)
    channels = laid_out(shape, layout)[-1:]
    sizes = (*whole.shape[1:-1], *channels)  # without the items
    fixed = step.fixed(step.inputs[1], np.broadcast_to(whole, (1, *sizes)).reshape(sizes))
    out = step.make(step.result(integer=False), layout)
    step.emit(Op.PRELU, 1, [step.real(name, layout), fixed], [out])


@lowers(*_FLOAT_OPS, reads=Reads.SAME)
def unary(step: Step) -> None:
    """Functions of one element, as reals."""
    kind = step.node.op_type
    if kind == "Elu" and step.attribute("alpha", 1.0) != 1.0:
        raise step.refused("TFLite has it with an alpha of 1 only")
    layout = step.layout(step.inputs[0])
    value = step.real(step.inputs[0], layout)
    if value.data_type != "float32":
        raise step.refused(f"it computes with {value.data_type}")
    out = step.make(step.result(integer=False), layout)
    assert out.shape == laid_out(step.shape(step.inputs[0]), layout)
    step.emit(_FLOAT_OPS[kind], 1, [value], [out])


def _bounded(step: Step, value: Value, limits: tuple[float, float], out: Value) -> None:
    pairs = [(Op.MAXIMUM, limits[0]), (Op.MINIMUM, limits[1])]
    open_sides = (-np.inf, np.inf)
    sides = [side for side, idle in zip(pairs, open_sides, strict=True) if side[1] != idle]
    for number, (code, bound) in enumerate(sides):
        made = out if number == len(sides) - 1 else _like(step, value, "above")
        fixed = _scalar(step, f"bound{number}", bound)
        step.emit(code, 1, [value, fixed], [made], options("MaximumMinimumOptions"))
        value = made


def _like(step: Step, value: Value, what: str) -> Value:
    name = f"{step.outputs[0]};{what}"
    return step.values.new(name, value.shape, value.data_type, value.layout)


def _scalar(step: Step, what: str, number: float) -> Value:
    return step.fixed(f"{step.outputs[0]};{what}", np.full(1, number, np.float32))
