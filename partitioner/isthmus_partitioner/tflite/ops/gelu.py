"""Gelu, and Erf, which TFLite does not have: GELU is x/2 * (1 + erf(x / sqrt 2)).

Where a graph spells GELU out with Erf, one operator takes the place of its nodes. An Erf that
stands for itself, or between quantisers, is taken back out of GELU: for a = |x| * sqrt 2 it is
2 * gelu(a) / a - 1, with the sign of x; 1e-6 off at most, as GELU itself is.
"""

from collections.abc import Iterator

import numpy as np
import onnx

from isthmus_partitioner.tflite.forms import Layout, Value
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Activation, Op, options
from isthmus_partitioner.tflite.source import Source
from isthmus_partitioner.tflite.step import Reads, Result, Step

__all__: list[str] = []

_ROOT_OF_TWO = 2**0.5
_LEAST = 1e-6  # an argument below which erf is zero here: it is 1.1e-6 there
_STEEP = 1e30


@lowers("Gelu", reads=Reads.SAME)
def gelu(step: Step) -> None:
    """Exact or by tanh, as reals."""
    name = step.inputs[0]
    layout = step.layout(name)
    by_tanh = step.attribute("approximate", "none") == "tanh"
    settings = options("GeluOptions", approximate=by_tanh)
    value = step.real(name, layout)
    step.emit(Op.GELU, 1, [value], [step.make(step.result(integer=False), layout)], settings)


@lowers("Erf", reads=Reads.SAME)
def erf(step: Step) -> None:
    """With all of a GELU around it, or alone."""
    name = step.inputs[0]
    if step.source.data_type(name) != "float32":
        raise step.refused(f"it computes with {step.source.data_type(name)}")
    spelled = _spelled(step)
    if spelled is None:
        _alone(step, name, step.layout(name))
        return
    argument, absorbed = spelled
    layout = step.layout(argument)
    value = step.real(argument, layout)
    made = absorbed[-1].output[0]
    result = Result((made,), step.shape(made), None, Activation.NONE, absorbed)
    settings = options("GeluOptions", approximate=False)
    step.emit(Op.GELU, 1, [value], [step.make(result, layout)], settings)


def _alone(step: Step, name: str, layout: Layout) -> None:
    value = step.real(name, layout)
    size = _made(step, value, "size")
    step.emit(Op.ABS, 1, [value], [size], options("AbsOptions"))
    above = _made(step, value, "above")
    limit = options("MaximumMinimumOptions")
    step.emit(Op.MAXIMUM, 1, [size, _number(step, "least", _LEAST)], [above], limit)
    # Up to 6, where GELU is its argument: an infinite one would be divided by itself.
    scaled = _times(step, above, "scaled", _ROOT_OF_TWO, Activation.RELU6)
    half = _made(step, value, "half")
    step.emit(Op.GELU, 1, [scaled], [half], options("GeluOptions", approximate=False))
    share = _made(step, value, "share")  # of 1, from 1/2 on
    step.emit(Op.DIV, 1, [half, scaled], [share], options("DivOptions"))
    doubled = _times(step, share, "doubled", 2.0)
    positive = _made(step, value, "positive")
    step.emit(Op.SUB, 1, [doubled, _number(step, "one", 1.0)], [positive], options("SubOptions"))
    sign = _times(step, value, "sign", _STEEP, Activation.RELU_N1_TO_1)
    out = step.make(step.result(integer=False), layout)
    step.emit(Op.MUL, 1, [positive, sign], [out], options("MulOptions"))


def _spelled(step: Step) -> tuple[str, tuple[onnx.NodeProto, ...]] | None:
    """What a GELU around this Erf reads, and its nodes from the Erf on; None where there is none.

    x -> x / sqrt 2 -> Erf -> + 1 -> times x and times 1/2, in either order or x/2 at once.
    """
    source = step.source
    scaling = source.maker(step.inputs[0])
    argument = None if scaling is None else _scaled(source, scaling, 1 / _ROOT_OF_TWO)
    added = source.only_reader(step.outputs[0])
    if argument is None or added is None or _other(source, added, "Add", 1.0) is None:
        return None
    product = source.only_reader(added.output[0])
    if product is None or product.op_type != "Mul":
        return None
    nodes = (step.node, added, product)
    for factor in _others(product, added.output[0]):
        maker = source.maker(factor)
        if maker is not None and _scaled(source, maker, 0.5) == argument:
            return argument, nodes
    halved = source.only_reader(product.output[0])
    if halved is None:
        return None
    if argument in _others(product, added.output[0]):
        is_whole = _scaled(source, halved, 0.5) == product.output[0]
    else:
        is_half = _scaled(source, product, 0.5) == added.output[0]
        is_whole = is_half and halved.op_type == "Mul" and argument in halved.input
    return (argument, (*nodes, halved)) if is_whole else None


def _scaled(source: Source, node: onnx.NodeProto, factor: float) -> str | None:
    """What a node multiplies by this factor."""
    if node.op_type == "Div" and _is(source, node.input[1], 1 / factor):
        return str(node.input[0])
    return _other(source, node, "Mul", factor)


def _other(source: Source, node: onnx.NodeProto, kind: str, number: float) -> str | None:
    """The input of a node that stands beside this number."""
    if node.op_type != kind:
        return None
    found = [n for n in node.input if any(_is(source, o, number) for o in _others(node, n))]
    return found[0] if found else None


def _others(node: onnx.NodeProto, name: str) -> Iterator[str]:
    return (other for other in node.input if other != name)


def _is(source: Source, name: str, number: float) -> bool:
    if not source.is_constant(name):
        return False
    value = source.constant(name)
    return value.size == 1 and abs(float(value.reshape(())) / number - 1) < 1e-4


def _times(
    step: Step, value: Value, what: str, factor: float, activation: int = Activation.NONE
) -> Value:
    made = _made(step, value, what)
    fixed = _number(step, f"{what} by", factor)
    settings = options("MulOptions", fusedActivationFunction=activation)
    step.emit(Op.MUL, 1, [value, fixed], [made], settings)
    return made


def _made(step: Step, value: Value, what: str) -> Value:
    name = f"{step.outputs[0]};{what}"
    return step.values.new(name, value.shape, "float32", value.layout)


def _number(step: Step, what: str, number: float) -> Value:
    return step.fixed(f"{step.outputs[0]};{what}", np.full(1, number, np.float32))
