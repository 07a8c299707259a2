"""Gather: rows of a table (an embedding), or parts of a tensor by constant places."""

import numpy as np

from isthmus_partitioner.tflite.forms import Layout, Value
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_PLACE_OF = (0, 3, 1, 2)  # where ONNX's dimensions are with channels last


@lowers("Gather", reads=Reads.SAME)
def gather(step: Step) -> None:
    """Computed places have to lie in the table: TFLite does not count back from its end."""
    name, places = step.inputs
    made = step.outputs[0]
    axis = step.attribute("axis", 0) % len(step.shape(name))
    constant = step.source.is_constant(places)
    keeps = len(step.shape(places)) == 1  # as many dimensions as before, in their order
    layout = step.layout(name) if constant and keeps else Layout.PLAIN
    if layout is Layout.CHANNELS_LAST and axis == 1 and _takes_most(step, name, places):
        layout = Layout.PLAIN
    table = _table(step, name, layout)
    indices = _constant(step, places, step.shape(name)[axis]) if constant else step.real(places)
    if layout is Layout.CHANNELS_LAST:
        axis = _PLACE_OF[axis]
    if indices.data_type not in ("int32", "int64"):
        raise step.refused(f"its places are {indices.data_type}")
    shape = (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :])
    out = step.values.new(made, shape, table.data_type, layout, table.grid)
    version = 1 if table.data_type == "float32" else 2
    step.emit(Op.GATHER, version, [table, indices], [out], options("GatherOptions", axis=axis))
    step.values.bind(made, out)


def _table(step: Step, name: str, layout: Layout) -> Value:
    """A table that is stored as int8 on one grid stays so."""
    stored = step.stored(name)
    if stored is None or not hasattr(stored[1], "zero_point"):
        return step.held(name, layout)
    return step.fixed(name, *stored)


def _takes_most(step: Step, name: str, places: str) -> bool:
    """Whether whole planes, with a transpose before and after, are quicker than single values.

    Along the last dimension GATHER copies value by value, in 3 to 6 times what a transpose takes
    for one; a SLICE or SPLIT for each channel with a CONCATENATION takes twice GATHER's time.
    """
    return 2 * step.shape(places)[0] >= step.shape(name)[1]


def _constant(step: Step, name: str, size: int) -> Value:
    places = step.source.constant(name).astype(np.int64)
    places = np.where(places < 0, places + size, places)
    if places.size and not 0 <= places.min() <= places.max() < size:
        raise step.refused(f"a place outside of {size}")
    return step.fixed(f"{step.outputs[0]};places", places.astype(np.int32))
