"""QuantizeLinear, DequantizeLinear, Cast, and nodes that only pass a tensor on."""

from isthmus_partitioner.tflite.forms import Grid, Layout
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, TensorType, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_TYPES = {
    "float32": TensorType.FLOAT32,
    "int32": TensorType.INT32,
    "int64": TensorType.INT64,
    "uint8": TensorType.UINT8,
    "bool": TensorType.BOOL,
}


@lowers("QuantizeLinear", reads=Reads.SAME)
def quantise(step: Step) -> None:
    """Reals onto a grid; integers that are on it already stay as they are."""
    name, made = step.inputs[0], step.outputs[0]
    grid = _grid(step)
    held = step.values.grid(name)
    if held == grid:
        step.values.alias(made, name)
        return
    layout = step.layout(name)
    value = step.held(name, layout)
    if value.data_type not in ("float32", "int8"):
        raise step.refused(f"it quantises {value.data_type}")
    step.values.bind(made, step.values.requantised(value, grid, made))


@lowers("DequantizeLinear", reads=Reads.SAME)
def dequantise(step: Step) -> None:
    """Nothing is computed: whoever wants reals gets them."""
    name = step.inputs[0]
    if not step.values.is_bound(name) or step.values.grid(name) != _grid(step):
        raise step.refused("it reads integers that no quantiser of the same step made")
    step.values.alias(step.outputs[0], name)


@lowers("Identity", "Dropout", reads=Reads.SAME)
def pass_on(step: Step) -> None:
    """The same tensor by another name."""
    if any(name and step.source.readers.get(name) for name in step.outputs[1:]):
        raise step.refused("its mask is read")
    step.values.native(step.inputs[0])
    step.values.alias(step.outputs[0], step.inputs[0])


@lowers("Cast", reads=Reads.SAME)
def cast(step: Step) -> None:
    """Numbers as another type."""
    name, made = step.inputs[0], step.outputs[0]
    before, after = step.source.data_type(name), step.source.data_type(made)
    if before == after:
        pass_on(step)
        return
    if before not in _TYPES or after not in _TYPES:
        raise step.refused(f"from {before} to {after} is not covered")
    if before == "float32" and after == "uint8":
        raise step.refused("runtimes disagree about reals outside of uint8")
    layout: Layout = step.layout(name)
    value = step.real(name, layout)
    out = step.make(step.result(integer=False), layout)
    kinds = options("CastOptions", inDataType=_TYPES[before], outDataType=_TYPES[after])
    step.emit(Op.CAST, 1, [value], [out], kinds)


def _grid(step: Step) -> Grid:
    grid = step.source.grid(step.node)
    if grid is None:
        raise step.refused("only one constant step for a whole tensor of 8 bits is covered")
    return grid
