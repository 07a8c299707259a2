"""The cloud's network as parts that run one after the other, which the tails of cuts share.

A cut is a *place* in the network: a set of nodes that have run. From each place one part leads to
the next, which is a place behind it, or to the end; so the tails of a bundle are paths of a tree
that grow together. Of nested cuts each leads to the next. Of cuts that do not nest, each leads to
the first place that both are before. Where a path begins, an entry makes the network's tensors of
what crosses.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from isthmus import CutTensor, Encoding, ModelError, TensorSpec, left_to_answer
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.graph.files import save_model
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between, used_by
from isthmus_partitioner.parts.arrivals import Arrival, entry_model
from isthmus_partitioner.runtime import AnyArray, Session, all_cores, open_session, run_one

__all__ = ["OpenTail", "TailCut", "part_model", "places_behind", "write_tails"]

Head = frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class TailCut:
    """A cut whose tail is to be written.

    `tensors` are those of `cut` in order, as they cross; `arrivals` how the quantised ones among
    them become the network's own again. `rung` is an encoding for each tensor.
    """

    id: str
    cut: NetworkCut
    tensors: tuple[CutTensor, ...]
    arrivals: tuple[Arrival, ...]
    rung: tuple[Encoding, ...]


def places_behind(
    cuts: Iterable[NetworkCut], unjoinable: Collection[str] = ()
) -> dict[Head, NetworkCut | None]:
    """For the head of each cut, in the order in which heads grow, the place its part leads to.

    That is the one behind it from which the most parts lead to the end, the nearest of several;
    None for the end itself. No part leads to a place with one of the `unjoinable` tensors: a batch
    could not go on from there.
    """
    closed = frozenset(unjoinable)
    places = {cut.head: cut for cut in cuts}
    lengths: dict[Head, int] = {}
    behind: dict[Head, NetworkCut | None] = {}
    for head in sorted(places, key=lambda head: (-len(head), sorted(head))):
        others = [
            other
            for other in lengths
            if head < other and closed.isdisjoint(spec.name for spec in places[other].tensors)
        ]
        best = max(others, key=lambda other: (lengths[other], -len(other)), default=None)
        lengths[head] = 1 + (0 if best is None else lengths[best])
        behind[head] = None if best is None else places[best]
    return {head: behind[head] for head in reversed(behind)}


def part_model(network: Network, at: NetworkCut, to: NetworkCut | None) -> onnx.ModelProto | None:
    """The fp32 network from one place to a later one, or to its end.

    Reads the tensors of `at` that it needs; makes those of `to`, and the outputs that are computed
    on the way. None if there is nothing to make: all that `to` reads has crossed already.
    """
    held = {spec.name: spec for spec in at.tensors}
    targets = {spec.name: spec for spec in _answered(network, at, to)}
    if to is not None:
        targets |= {spec.name: spec for spec in to.tensors if spec.name not in held}
    if not targets:
        return None
    graph = network.model.graph
    nodes = nodes_between(graph, held, targets)
    used = {name for node in nodes for name in used_by(node)} | targets.keys()
    inputs = [network.info(spec) for name, spec in held.items() if name in used]
    outputs = [network.info(spec) for spec in targets.values()]
    return assemble(network.model, nodes, inputs, outputs, initialisers(graph))


def _answered(network: Network, at: NetworkCut, to: NetworkCut | None) -> list[TensorSpec]:
    """The model's outputs that are computed between two places."""
    left = left_to_answer(network.outputs, at.answers)
    return left if to is None else [spec for spec in left if spec.name in to.answers]


def write_tails(
    network: Network, cuts: Sequence[TailCut], folder: Path
) -> dict[str, tuple[str, ...]]:
    """Write entries and parts below `folder`; the files of each tail in order, by cut.

    A place that the runtime does not take as the end of a part is passed by: that part leads to
    the end. ModelError if it takes no such part either.
    """
    places = {each.cut.head: each.cut for each in cuts}
    paths: dict[Head, tuple[str, ...]] = {}
    behind = places_behind(places.values(), network.unjoinable)
    for number, (head, to) in reversed(list(enumerate(behind.items()))):
        part, end = _accepted(network, places[head], to)
        rest = () if end is None else paths[end.head]
        file = f"cloud/tail-{number}.onnx"
        if part is not None:
            save_model(part, folder / file)
        paths[head] = rest if part is None else (file, *rest)
    return {each.id: (*_write_entry(network, each, folder), *paths[each.cut.head]) for each in cuts}


def _accepted(
    network: Network, at: NetworkCut, to: NetworkCut | None
) -> tuple[onnx.ModelProto | None, NetworkCut | None]:
    """The part from a place, and where it leads to."""
    part = part_model(network, at, to)
    if part is None:
        return None, to
    try:
        open_session(part, threads=all_cores())
    except ModelError:
        if to is None:
            raise
        return _accepted(network, at, None)
    return part, to


def _write_entry(network: Network, cut: TailCut, folder: Path) -> tuple[str, ...]:
    if not cut.arrivals:
        return ()
    file = f"cloud/entry-{cut.id}.onnx"
    save_model(entry_model(network, cut.arrivals), folder / file)
    return (file,)


class OpenTail:
    """The graphs of one tail as sessions, which run one after the other."""

    def __init__(self, files: Sequence[str], sessions: Mapping[str, Session]) -> None:
        self._parts = [
            (
                sessions[file],
                [each.name for each in sessions[file].get_inputs()],
                [each.name for each in sessions[file].get_outputs()],
            )
            for file in files
        ]

    def run(self, feed: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """All that is known at the end: what was fed, and what each graph made of it."""
        held = dict(feed)
        for session, reads, makes in self._parts:
            made = run_one(session, {name: held[name] for name in reads}, makes)
            held |= dict(zip(makes, made, strict=True))
        return held
