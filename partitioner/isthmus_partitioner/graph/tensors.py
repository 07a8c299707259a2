"""Type, size and batch of every tensor, as runs show them: what a file declares may be wrong."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import onnx
from onnx import helper

from isthmus import DataType, TensorSpec
from isthmus_partitioner.graph.surgery import assemble, initialisers, used_by
from isthmus_partitioner.graph.trial import Feed, batch_axis_of
from isthmus_partitioner.runtime import open_session, run_one, session_options

__all__ = ["Tensors", "depending", "find_tensors"]

_ELEMENTS = {"float": "float32", "double": "float64"}
# How many there are depends on what there is to see: one size in two runs proves nothing.
_SELECTING = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})


@dataclass(frozen=True, slots=True)
class Tensors:
    """All tensors that can cross, by name; those of them that are no batch of items; and notes."""

    specs: Mapping[str, TensorSpec]
    unjoinable: tuple[str, ...]
    notes: tuple[str, ...]


def depending(graph: onnx.GraphProto) -> list[str]:
    """The inputs and what the nodes make of them, in order."""
    found = dict.fromkeys(info.name for info in graph.input)
    for node in graph.node:
        if not used_by(node).isdisjoint(found):
            found.update(dict.fromkeys(name for name in node.output if name))
    return list(found)


def find_tensors(
    model: onnx.ModelProto, items: tuple[Feed, Feed], joined: Feed | None, axes: Mapping[str, int]
) -> Tensors:
    """Run two items, and both joined where the network can do it, and look at every tensor.

    A tensor's batch axis is the one that grows from 1 to 2. Without joined runs it is the first
    dimension where that is 1: just a way to write the shape, for nothing is joined then. `axes` are
    those of the inputs. Only the tensors' shapes are taken out of the session, not their values.
    """
    names = depending(model.graph)
    types = _types(model, names)
    usable = [name for name in names if types[name] in get_args(DataType)]
    shaped = _with_shapes(model, usable)
    session = open_session(shaped, threads=2, options=_unoptimised())
    outputs = [info.name for info in shaped.graph.output]
    runs = [
        [tuple(map(int, shape)) for shape in run_one(session, feed, outputs)]
        for feed in (*items, *([joined] if joined else []))
    ]
    selecting = {
        name for node in model.graph.node if node.op_type in _SELECTING for name in node.output
    }
    specs: dict[str, TensorSpec] = {}
    left_out = Counter("of a type that cannot cross" for name in names if name not in usable)
    unjoinable = []
    for name, first, second, *both in zip(usable, *runs, strict=True):
        if first != second or 0 in first or name in selecting:
            left_out["without one size"] += 1
            continue
        axis = batch_axis_of(first, both[0]) if both else axes.get(name, _leading(first, axes))
        if both and axis is None and both[0] != first:
            unjoinable.append(name)
        kept = tuple(size for index, size in enumerate(first) if index != axis)
        data_type = cast(DataType, types[name])
        specs[name] = TensorSpec(name=name, data_type=data_type, shape=kept, batch_axis=axis)
    return Tensors(specs, tuple(unjoinable), tuple(_notes(left_out, unjoinable)))


def _leading(shape: tuple[int, ...], axes: Mapping[str, int]) -> int | None:
    return 0 if axes and len(shape) > 1 and shape[0] == 1 else None


def _notes(left_out: Mapping[str, int], unjoinable: Sequence[str]) -> Iterator[str]:
    for reason, count in left_out.items():
        yield f"{count} tensors {reason}: no cut there"
    if unjoinable:
        yield (
            f"{len(unjoinable)} tensors have the batch folded into another dimension (for instance "
            f"{unjoinable[0]!r}): frames of a cut there are answered one by one"
        )


def _types(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, str]:
    """The type of each tensor in numpy's words, or in the runtime's if it is no such tensor."""
    inputs = {info.name: info.type.tensor_type.elem_type for info in model.graph.input}
    types = {name: helper.tensor_dtype_to_np_dtype(kind).name for name, kind in inputs.items()}
    inner = [name for name in names if name not in inputs]
    if not inner:
        return types
    outputs = [onnx.ValueInfoProto(name=name) for name in inner]
    exposed = _with_outputs(model, list(model.graph.node), outputs)
    session: Any = open_session(exposed, threads=1, options=_unoptimised())
    for info in session.get_outputs():
        element = info.type.removeprefix("tensor(").removesuffix(")")
        types[info.name] = _ELEMENTS.get(element, element)
    return types


def _with_shapes(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with the shapes of its tensors as its outputs, which take no memory."""
    results = [f"isthmus.shape.{index}" for index in range(len(names))]
    nodes = [
        helper.make_node("Shape", [name], [result])
        for name, result in zip(names, results, strict=True)
    ]
    outputs = [
        helper.make_tensor_value_info(result, onnx.TensorProto.INT64, [None]) for result in results
    ]
    return _with_outputs(model, [*model.graph.node, *nodes], outputs)


def _with_outputs(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    return assemble(model, nodes, model.graph.input, outputs, initialisers(model.graph))


def _unoptimised() -> object:
    """Otherwise tensors between fused nodes would be lost, or cost time to keep."""
    options = session_options(2)
    options.graph_optimization_level = options.graph_optimization_level.ORT_DISABLE_ALL
    return options
