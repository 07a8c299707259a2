"""The best cut for a bandwidth, and all cuts that are the best at some bandwidth.

**Theory of operation.** A cut costs a + b·λ, where λ is the time per byte and b its bytes, so the
best cost over λ is the lower envelope of lines, one for each cut that is best somewhere. The walk
of Eisner & Severance (1976; a discrete Newton method, see Gusfield 1980) finds them all: solve at
both ends; where two neighbouring lines meet, either nothing is cheaper there, and the break-point
between them is certain, or a new line lies between them. Every solve but the first brings a line or
settles a break-point: at most 2K - 1 solves for K cuts, and 2 if there is but one. The cuts of one
envelope need not nest, so the monotone parametric flow of Gallo, Grigoriadis & Tarjan (1989) does
not apply.

A solve (see `blocks`, `contraction`, `flow`) is O(n + m) where contraction leaves little, as in
chains, residual blocks, branches and long skips, and at worst that of Dinic's flow, O(V²E).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from isthmus import ConfigError
from isthmus_partitioner.cuts.blocks import Series
from isthmus_partitioner.cuts.contraction import contracted
from isthmus_partitioner.cuts.dag import MODEL_INPUT, Costs, Dag, FoundCut
from isthmus_partitioner.cuts.problem import Indices, Mask, problem_of

__all__ = ["CutSearch", "best_cuts", "cut_after", "envelope", "minimum_cut"]

_MS_PER_BYTE = 8e3  # on a link of one bit per second
_GAIN = 1e-12  # a line that gains less than this share is the same within rounding


def minimum_cut(dag: Dag, costs: Costs, bandwidth_bps: float) -> FoundCut:
    """The cheapest cut on one link; on a tie fewer bytes, then fewer nodes on the edge.

    What runs on the edge is closed under predecessors. Tensors that may not cross never do; `local`
    and `input` are cuts like any other. Outputs go nowhere: the answer's way is free.

    Raises ConfigError for a bandwidth that is no positive number or costs of another DAG.
    """
    return CutSearch(dag, costs, bandwidth_bps, bandwidth_bps).best_at(bandwidth_bps)


def best_cuts(
    dag: Dag, costs: Costs, *, slowest_bps: float, fastest_bps: float
) -> tuple[FoundCut, ...]:
    """Every cut that `minimum_cut` gives for some bandwidth of the interval, slowest first.

    Bytes grow from one to the next; where one ends the next begins, and both cost the same. Raises
    like `minimum_cut`.
    """
    return CutSearch(dag, costs, slowest_bps, fastest_bps).all()


def cut_after(dag: Dag, costs: Costs, head: Iterable[int]) -> FoundCut:
    """What a given cut costs, `head` on the edge, whether it is any good or not."""
    edge = np.zeros(dag.node_count, np.bool_)
    edge[list(head)] = True
    return _Prices(dag, costs).cut(edge)


def envelope(
    solve: Callable[[float], FoundCut], slowest_bps: float, fastest_bps: float
) -> tuple[FoundCut, ...]:
    """All that `solve` gives for some time per byte, slowest first, with their bandwidths."""
    lines = [solve(_MS_PER_BYTE / fastest_bps)]
    if fastest_bps > slowest_bps and lines[0].wire_bytes > 0:
        lines = _joined(solve, lines[0], solve(_MS_PER_BYTE / slowest_bps))
    changes = [_MS_PER_BYTE / _meeting(one, other) for one, other in pairwise(lines)]
    ends = [fastest_bps, *(min(max(bps, slowest_bps), fastest_bps) for bps in changes), slowest_bps]
    found = [
        replace(line, from_bps=slower, to_bps=faster)
        for line, (faster, slower) in zip(lines, pairwise(ends), strict=True)
    ]
    return tuple(reversed(found))


def _joined(solve: Callable[[float], FoundCut], first: FoundCut, last: FoundCut) -> list[FoundCut]:
    if first.wire_bytes <= last.wire_bytes:  # the same, but for rounding
        return [first]
    if _fixed_ms(last) <= _fixed_ms(first):
        return [last]
    return [first, *_between(solve, first, last), last]


def _between(
    solve: Callable[[float], FoundCut], one: FoundCut, other: FoundCut
) -> Iterator[FoundCut]:
    """Lines below the two where they meet, in order; a stack, for there may be many."""
    gaps = [(one, other)]
    while gaps:
        left, right = gaps.pop()
        meeting = _meeting(left, right)
        found = solve(meeting)
        bps = _MS_PER_BYTE / meeting
        is_new = left.wire_bytes > found.wire_bytes > right.wire_bytes
        if is_new and found.cost_ms(bps) < left.cost_ms(bps) * (1 - _GAIN):
            gaps += [(found, right), (left, found)]
        elif right is not other:
            yield right


def _meeting(left: FoundCut, right: FoundCut) -> float:
    return (_fixed_ms(right) - _fixed_ms(left)) / (left.wire_bytes - right.wire_bytes)


def _fixed_ms(cut: FoundCut) -> float:
    return cut.edge_ms + cut.cloud_ms + cut.wire_ms


class CutSearch:
    """One DAG with its costs, made ready for a range of bandwidths; counts its `solves`."""

    def __init__(self, dag: Dag, costs: Costs, slowest_bps: float, fastest_bps: float) -> None:
        if not 0 < slowest_bps <= fastest_bps < float("inf"):
            raise ConfigError(
                f"bandwidths are {slowest_bps} … {fastest_bps} bit/s; needed: two positive "
                "numbers, the smaller one first"
            )
        costs.require_fit(dag)
        self._range_bps = (slowest_bps, fastest_bps)
        self._prices = _Prices(dag, costs)
        lowest, highest = _MS_PER_BYTE / fastest_bps, _MS_PER_BYTE / slowest_bps
        problem, self._group = contracted(problem_of(dag, costs), lowest, highest)
        self._series = Series(problem)
        self.solves = 0

    def best_at(self, bandwidth_bps: float) -> FoundCut:
        """The best cut for one bandwidth of the range."""
        found = self._solve(_MS_PER_BYTE / bandwidth_bps)
        return replace(found, from_bps=bandwidth_bps, to_bps=bandwidth_bps)

    def all(self) -> tuple[FoundCut, ...]:
        """The best cuts of all bandwidths of the range, slowest first."""
        return envelope(self._solve, *self._range_bps)

    def _solve(self, ms_per_byte: float) -> FoundCut:
        self.solves += 1
        places = self._series.best(ms_per_byte)[self._group]
        return self._prices.cut(places[1:-1])


class _Prices:
    """Adds up what cuts of a DAG cost."""

    def __init__(self, dag: Dag, costs: Costs) -> None:
        costs.require_fit(dag)
        self._costs = costs
        tensors = dag.tensors
        counts = [len(tensor.consumers) for tensor in tensors]
        self._producer: Indices = np.array([t.producer for t in tensors], np.int64)
        self._read: Indices = np.repeat(np.arange(len(tensors)), counts)
        readers = [node for tensor in tensors for node in tensor.consumers]
        self._reader: Indices = np.array(readers, np.int64)

    def cut(self, edge: Mask) -> FoundCut:
        """The cut with these nodes on the edge; its bandwidths are all there are."""
        costs = self._costs
        made = np.append(edge, True)[self._producer]  # an input of the model is number -1
        assert MODEL_INPUT == -1
        left = np.bincount(self._read, ~edge[self._reader], len(made)) > 0
        crossing = np.flatnonzero(made & left)
        return FoundCut(
            head=frozenset(np.flatnonzero(edge).tolist()),
            tensors=tuple(crossing.tolist()),
            edge_ms=float(costs.edge_ms[edge].sum()),
            cloud_ms=float(costs.cloud_ms[~edge].sum()),
            wire_ms=float(costs.wire_ms[crossing].sum()),
            wire_bytes=float(costs.wire_bytes[crossing].sum()),
            from_bps=0.0,
            to_bps=float("inf"),
        )
