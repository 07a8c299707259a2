"""What depends on the inputs' shapes alone is computed once: their sizes are fixed for a plan.

Exporters compute shapes inside the graph (`Shape -> Gather -> Concat -> Reshape`). With everything
but the batch fixed, almost all of that is constant. It is evaluated by the runtime itself at a
batch of one and, where the network can do it, of two: what is the same is a constant. Where it
doubles in one place, a Reshape can find that size by itself, and an Expand need not know it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from isthmus_partitioner.graph.rewriting import as_proto, constant_value, inline_decided
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between
from isthmus_partitioner.graph.trial import Feed
from isthmus_partitioner.runtime import AnyArray, open_session, run_one

__all__ = ["RANDOM_OPS", "fold", "loosen"]

LARGEST_CONSTANT = 1 << 16  # elements; what is larger is cheaper to compute than to store
_ROUNDS = 8  # Ifs inside of Ifs
_REST, _AS_IT_WAS, _AS_IT_IS = -1, 0, 1  # in the shape of a Reshape, of a Reshape, of an Expand
_ONLY_SHAPES = frozenset({"Shape", "Size"})
Changing = dict[ir.Value, list[AnyArray]]
RANDOM_OPS = frozenset(
    {
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
        "RandomUniformLike",
    }
)  # fmt: skip
# Weights that were stored as integers stay integers.
_NEVER = RANDOM_OPS | {"DequantizeLinear"}


def fold(model: ir.Model, feeds: Sequence[Feed], *, shapes: bool = True) -> Changing:
    """Fold in place; `feeds` are an item and, of a network that runs batches, two joined.

    Without `shapes`, only what depends on constants alone. Returns what is not the same for both
    feeds, and its values.
    """
    for _ in range(_ROUNDS):
        changing = _fold_once(model, feeds, _ONLY_SHAPES if shapes else frozenset())
        has_inlined = inline_decided(model)
        passes.RemoveUnusedNodesPass()(model)
        if not has_inlined:
            break
    return changing


def _fold_once(model: ir.Model, feeds: Sequence[Feed], sources: frozenset[str]) -> Changing:
    wanted = _frontier(model.graph, sources)
    found = _evaluated(as_proto(model), wanted, feeds) if wanted else {}
    for value in [value for value in wanted if _is_constant(found[value])]:
        new = constant_value(model.graph, found.pop(value)[0], f"{value.name}.value")
        ir.convenience.replace_all_uses_with(value, new)
    return found


def loosen(model: ir.Model, found: Changing, is_right: Callable[[], bool]) -> None:
    """Free Reshapes and Expands from knowing the batch, in place; `found` is what `fold` returned.

    `is_right` says whether the model still answers as it should: otherwise that step is undone.
    """
    frees = (("Reshape", _REST), ("Reshape", _AS_IT_WAS), ("Expand", _AS_IT_IS))
    if not _free(model.graph, found, frees, is_right):
        for free in frees:
            _free(model.graph, found, (free,), is_right)
    passes.RemoveUnusedNodesPass()(model)


def _free(
    graph: ir.Graph,
    found: Changing,
    frees: Sequence[tuple[str, int]],
    is_right: Callable[[], bool],
) -> bool:
    changed: list[tuple[ir.Node, ir.Value, dict[str, ir.Attr]]] = []
    for kind, size in frees:
        for value, versions in found.items():
            if (target := _free_target(versions, size)) is not None:
                changed += _replaced(graph, value, target, kind)
    if not changed or is_right():
        return True
    for node, value, attributes in changed:
        node.replace_input_with(1, value)
        node.attributes.update(attributes)
    return False


def _replaced(
    graph: ir.Graph, value: ir.Value, target: AnyArray, kind: str
) -> list[tuple[ir.Node, ir.Value, dict[str, ir.Attr]]]:
    """Give nodes of a kind another target; the nodes, with what they had before."""
    changed = []
    for node in [use.node for use in value.uses() if use.idx == 1 and use.node.op_type == kind]:
        before = dict(node.attributes)
        node.attributes.pop("allowzero", None)  # there is no 0 in a target but our own
        node.replace_input_with(1, constant_value(graph, target, f"{value.name}.value"))
        changed.append((node, value, before))
    return changed


def _frontier(graph: ir.Graph, sources: frozenset[str]) -> list[ir.Value]:
    """Tensors that depend on no value of an input and are read by nodes that do."""
    constant: set[ir.Value] = set(graph.initializers.values())
    made: list[ir.Value] = []
    for node in graph:
        if node.op_type in _NEVER or _has_subgraphs(node):
            continue
        known = all(value is None or value in constant for value in node.inputs)
        if known or node.op_type in sources:
            constant.update(node.outputs)
            made.extend(value for value in node.outputs if value.name)
    return [value for value in made if any(_is_last(use.node, constant) for use in value.uses())]


def _is_last(reader: ir.Node, constant: set[ir.Value]) -> bool:
    return not any(value in constant for value in reader.outputs)


def _has_subgraphs(node: ir.Node) -> bool:
    kinds = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    return any(attribute.type in kinds for attribute in node.attributes.values())


def _evaluated(
    model: onnx.ModelProto, wanted: Sequence[ir.Value], feeds: Sequence[Feed]
) -> Changing:
    graph = model.graph
    names = [value.name or "" for value in wanted]
    nodes = nodes_between(graph, [info.name for info in graph.input], names)
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    part = assemble(model, nodes, graph.input, outputs, initialisers(graph))
    session = open_session(part, threads=2)
    rows = zip(*(run_one(session, feed, names) for feed in feeds), strict=True)
    return {value: list(row) for value, row in zip(wanted, rows, strict=True)}


def _is_constant(versions: Sequence[AnyArray]) -> bool:
    first = versions[0]
    if not isinstance(first, np.ndarray) or first.size > LARGEST_CONSTANT:
        return False
    return all(
        np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in versions
    )


def _free_target(versions: Sequence[AnyArray], size: int) -> AnyArray | None:
    """A shape with `size` where it doubles with the batch; None if it does not do so in one place.

    There is only one rest in a shape.
    """
    one, two = versions
    if one.ndim != 1 or one.dtype != np.int64 or one.shape != two.shape:
        return None
    grown = np.flatnonzero(one != two)
    if len(grown) != 1 or two[grown[0]] != 2 * one[grown[0]]:
        return None
    if 0 in one or (size == _REST and -1 in one):
        return None
    target = one.copy()
    target[grown[0]] = size
    return target
