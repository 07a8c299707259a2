"""Rewrites on the way from a file to a network, on `onnx_ir`: none changes an answer."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Literal

import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from isthmus import ModelError
from isthmus_partitioner.graph.inputs import OpenInput
from isthmus_partitioner.graph.reading import ModelFile
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.graph.surgery import BATCH
from isthmus_partitioner.runtime import AnyArray

__all__ = [
    "OWN",
    "Sizes",
    "as_proto",
    "fixed",
    "inline_decided",
    "read_graph",
    "unhook_batch",
    "with_inputs",
]

OWN = "isthmus_"  # begins the name of every tensor that heads and tails add


def read_graph(file: ModelFile) -> ir.Model:
    """The graph without functions, constant nodes and dead ends, in order, its weights in memory.

    Weights in files of their own are read last, and only those that are still used.
    """
    try:
        model = ir.from_proto(file.model)
        ir.external_data.set_base_dir(model.graph, file.folder)
        for step in (
            passes.InlinePass(),
            passes.RemoveInitializersFromInputsPass(),
            passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            passes.RemoveUnusedNodesPass(),
            passes.TopologicalSortPass(),
        ):
            step(model)
        return ir.external_data.load_to_model(model)
    except (ir.passes.PassError, ir.serde.SerdeError, ValueError, OSError) as error:
        raise ModelError(f"{file.path}: its graph cannot be read: {first_line(error)}") from error


def fixed(model: ir.Model, values: Mapping[str, AnyArray]) -> ir.Model:
    """The same model without the inputs that became constants."""
    graph = model.graph
    for value in [each for each in graph.inputs if each.name in values]:
        graph.inputs.remove(value)
        assert value.name is not None
        value.const_value = ir.tensor(values[value.name], name=value.name)
        graph.register_initializer(value)
    return model


Sizes = Literal["stated", "batch is free", "open"]


def with_inputs(model: ir.Model, inputs: tuple[OpenInput, ...], sizes: Sizes) -> ir.Model:
    """State the sizes of the inputs, and forget all others that the file states."""
    for value in _values(model.graph):
        if not value.is_initializer() and value.shape != ():  # a Loop has to know its scalars
            value.shape = None
    known = {each.name: each for each in inputs}
    for value in model.graph.inputs:
        each = known[value.name or ""]
        dims: list[int | str | None] = list(each.shape)
        if sizes == "open":
            dims = [None] * len(dims)
        if sizes == "batch is free" and each.batch_axis is not None:
            dims[each.batch_axis] = BATCH
        value.shape = ir.Shape(dims)
    return model


def unhook_batch(model: ir.Model) -> list[tuple[ir.Node, ir.Value]]:
    """Let Reshapes that state a batch of one copy it; those nodes, with what they read before.

    In the shape of a Reshape 0 means "as it was". Whether this is right has to be tried out.
    """
    changed = []
    for node in model.graph:
        target = node.inputs[1] if node.op_type == "Reshape" else None
        if target is None or target.const_value is None or "allowzero" in node.attributes:
            continue
        sizes = target.const_value.numpy().copy()
        if sizes.ndim == 1 and len(sizes) and sizes[0] == 1:
            sizes[0] = 0
            node.replace_input_with(1, constant_value(model.graph, sizes, target.name or "shape"))
            changed.append((node, target))
    return changed


def constant_value(graph: ir.Graph, array: AnyArray, name: str) -> ir.Value:
    """A new initialiser whose name begins with `name`."""
    name = _free_name(name, _names(graph))
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def inline_decided(model: ir.Model) -> bool:
    """Put the branch of each If with a constant condition in its place; whether there was one."""
    decided = [node for node in model.graph if _decision(node) is not None]
    for node in decided:
        branch = node.attributes["then_branch" if _decision(node) else "else_branch"].as_graph()
        _move(branch, node, model.graph)
    return bool(decided)


def as_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as ONNX, every node with a name of its own, the names of tails' inputs free."""
    _free_reserved_names(model.graph)
    _name_nodes(model.graph)
    return ir.to_proto(model)


def _decision(node: ir.Node) -> bool | None:
    if node.op_type != "If" or node.domain or node.inputs[0] is None:
        return None
    condition = node.inputs[0].const_value
    return None if condition is None else bool(condition.numpy().reshape(-1)[0])


def _move(branch: ir.Graph, node: ir.Node, graph: ir.Graph) -> None:
    """Two branches may use the same names: what is moved gets new ones where they are taken."""
    taken = _names(graph)
    for value in list(branch.initializers.values()):
        moved = constant_value(graph, value.const_value.numpy(), value.name or "constant")  # type: ignore[union-attr]
        ir.convenience.replace_all_uses_with(value, moved, replace_graph_outputs=True)
    nodes = list(branch)
    results = list(branch.outputs)
    branch.outputs.clear()
    branch.remove(nodes)
    for value in (value for inner in nodes for value in inner.outputs if value.name):
        value.name = _free_name(value.name or "", taken)
        taken.add(value.name)
    copies = [ir.node("Identity", [result]) for result in results]
    graph.insert_before(node, nodes)
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], copies, node.outputs, [copy.outputs[0] for copy in copies]
    )


def _free_reserved_names(graph: ir.Graph) -> None:
    interface = {value.name for value in (*graph.inputs, *graph.outputs)}
    taken = _names(graph)
    for value in _values(graph):
        if value.name and value.name.startswith(OWN) and value.name not in interface:
            value.name = _free_name(f"inner_{value.name}", taken)
            taken.add(value.name)


def _name_nodes(graph: ir.Graph) -> None:
    taken: set[str] = set()
    for index, node in enumerate(graph):
        if not node.name or node.name in taken:
            node.name = _free_name(f"{node.name or node.op_type}_{index}", taken)
        taken.add(node.name)


def _free_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(new for i in count(1) if (new := f"{name}_{i}") not in taken)


def _names(graph: ir.Graph) -> set[str]:
    return {value.name for value in _values(graph) if value.name}


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All tensors of a graph and of its subgraphs."""
    for each in (graph, *graph.subgraphs()):
        yield from each.inputs
        yield from list(each.initializers.values())
        for node in each:
            yield from node.outputs
