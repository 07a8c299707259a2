"""A problem as a series of blocks that are joined by single tensors, each solved alone.

**Theory of operation.** Take the places in topological order. Where only one tensor is still to be
read, where everything so far leads to it and everything after depends on it, the network is two
parts in series: a place behind can be on the edge only if all before are, one before in the cloud
only if all behind are. So the best cut lies within one block: all before it on the edge, all after
it in the cloud. Most blocks have nothing inside, and their cut is a number in an array. One sweep,
O(n + m), finds all blocks (the cut vertices of series-parallel reductions; DADS, Hu et al., INFOCOM
2019, cuts the whole graph; QDMP, Zhang et al., IMWUT 2020, showed that blocks make it fast).

Where no single tensor joins two parts, a block may still be long. If all up to place a(b) is known
to come before place b, then a cut whose last place on the edge is b decides only about the places
between a(b) and b: all before are on the edge, all behind in the cloud. So a long block is a row of
overlapping windows, each for some b, and the best cut lies within one of them. As long as paths do
not run side by side for long, that is linear, too.

For one link a block is looked at only if what any cut inside must cost, times alone, is below the
best cut so far; then it is contracted for that link, with that cut as the bound, and what is left
goes to the flow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from isthmus_partitioner.cuts.contraction import contracted
from isthmus_partitioner.cuts.flow import cheapest_edge
from isthmus_partitioner.cuts.precedence import Precedence
from isthmus_partitioner.cuts.problem import Indices, Mask, Problem, summed

__all__ = ["Series", "windows"]

_TIE = 1e-12  # of the time of everything: rounding of sums
_WINDOW = 256  # places: what a flow takes in a few milliseconds
_MUCH_MORE = 4  # times as many places in windows that overlap
_SMALL = 50  # places that the flow takes as fast as they could be contracted


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """What lies between two places, the first of which is on the edge, the last in the cloud.

    `least_ms` is what any cut inside costs at least, what runs before included.
    """

    first: int
    before_ms: float
    least_ms: float
    problem: Problem


@dataclass(frozen=True, slots=True, eq=False)
class _Option:
    """A cut as a set of places, with what it costs more than running everything in the cloud."""

    cost_ms: float
    wire_bytes: float
    edge: Mask


class Series:
    """All blocks of a problem where every tensor may cross; finds the best cut for any one link."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        borders = _borders(problem)
        self._before_ms = np.cumsum(problem.extra_ms)
        self._count = problem.last + 1
        self._scale_ms = float(np.abs(problem.extra_ms).sum())
        is_thin = np.diff(borders) == 1
        self._plain = borders[:-1][is_thin]
        crossing = [
            summed(problem.maker, wire, self._count)[self._plain]
            for wire in (problem.wire_ms, problem.wire_bytes)
        ]
        self._plain_ms = self._before_ms[self._plain] + crossing[0]
        self._plain_bytes = crossing[1]
        thick = zip(borders[:-1][~is_thin].tolist(), borders[1:][~is_thin].tolist(), strict=True)
        self._blocks = [
            _block(problem, first, last, float(self._before_ms[first]))
            for first, last in windows(problem, list(thick))
        ]
        self._least_ms = np.array([block.least_ms for block in self._blocks])

    def best(self, ms_per_byte: float) -> Mask:
        """The places on the edge in the best cut; see `flow` for ties."""
        best = self._best_without_looking_inside(ms_per_byte)
        for number in np.argsort(self._least_ms, kind="stable"):
            if self._least_ms[number] > best.cost_ms + self._slack(best):
                break
            found = self._inside(self._blocks[number], ms_per_byte, best)
            best = best if found is None else self._better(best, found)
        return best.edge

    def _best_without_looking_inside(self, ms_per_byte: float) -> _Option:
        """Nothing more than must be on the edge, all that may be, or up to a place in between."""
        place = np.arange(self._count)
        least, most = (
            _Option(*_cost(self._problem, edge, ms_per_byte), edge)
            for edge in (place == 0, place < self._problem.last)
        )
        best = self._better(least, most)
        if self._plain.size:
            best = self._better(best, self._best_plain(ms_per_byte))
        return best

    def _best_plain(self, ms_per_byte: float) -> _Option:
        cost_ms = self._plain_ms + self._plain_bytes * ms_per_byte
        least_ms = float(cost_ms.min())
        slack_ms = _TIE * (self._scale_ms + abs(least_ms))
        tied = np.flatnonzero(cost_ms <= least_ms + slack_ms)
        chosen = tied[np.lexsort((self._plain[tied], self._plain_bytes[tied]))[0]]
        edge = np.arange(self._count) <= self._plain[chosen]
        return _Option(float(cost_ms[chosen]), float(self._plain_bytes[chosen]), edge)

    def _inside(self, block: _Block, ms_per_byte: float, best: _Option) -> _Option | None:
        """The best cut inside a block; None if it is certain to be no better."""
        inside, group = block.problem, np.arange(block.problem.last + 1)
        if inside.last > _SMALL:
            known_ms = best.cost_ms - block.before_ms
            inside, group = contracted(inside, ms_per_byte, ms_per_byte, known_ms)
        if inside.last == 0:
            return None
        one = np.array([True, False])
        edge = (one if inside.last == 1 else cheapest_edge(inside, ms_per_byte))[group]
        cost_ms, wire_bytes = _cost(block.problem, edge, ms_per_byte)
        if block.before_ms + cost_ms > best.cost_ms + self._slack(best):
            return None
        places = np.arange(self._count) <= block.first
        places[block.first : block.first + len(edge)] |= edge
        return _Option(block.before_ms + cost_ms, wire_bytes, places)

    def _better(self, one: _Option, other: _Option) -> _Option:
        """The cheaper; if neither is, that of fewer bytes, then of fewer places on the edge."""
        if other.cost_ms < one.cost_ms - self._slack(one):
            return other
        if other.cost_ms > one.cost_ms + self._slack(one):
            return one
        return min(one, other, key=lambda option: (option.wire_bytes, option.edge.sum()))

    def _slack(self, option: _Option) -> float:
        return _TIE * (self._scale_ms + abs(option.cost_ms))


def _borders(problem: Problem) -> Indices:
    """Place 0, the last place, and between them those after which one tensor joins two parts."""
    count = problem.last + 1
    makers = problem.maker[problem.read]
    alive = np.zeros(count + 1, np.int64)
    np.add.at(alive, problem.maker, 1)
    np.subtract.at(alive, problem.last_reader(), 1)
    sources = np.setdiff1d(np.arange(1, count), problem.reader)
    sinks = np.setdiff1d(np.arange(count - 1), makers)
    last_source = sources[sources < problem.last].max(initial=0)
    first_sink = sinks[sinks > 0].min(initial=problem.last)
    inner = np.flatnonzero(np.cumsum(alive[:count]) == 1)
    inner = inner[(inner >= last_source) & (inner < first_sink) & (inner > 0)]
    return np.unique(np.concatenate(([0], inner, [problem.last])))


def windows(problem: Problem, blocks: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Long blocks as overlapping windows, unless these would be almost as long."""
    if all(last - first <= 2 * _WINDOW for first, last in blocks):
        yield from blocks
        return
    all_before = Precedence.of(problem).all_before
    for first, last in blocks:
        cuts = [*range(first, last, _WINDOW), last]
        windows = [
            (max(first, int(all_before[begin:end].min())), end) for begin, end in pairwise(cuts)
        ]
        is_less = sum(end - begin for begin, end in windows) < _MUCH_MORE * (last - first)
        yield from windows if is_less else [(first, last)]


def _block(problem: Problem, first: int, last: int, before_ms: float) -> _Block:
    inside = problem.between(first, last)
    faster_ms = float(np.minimum(inside.extra_ms, 0.0).sum())
    return _Block(first, before_ms, before_ms + faster_ms, inside)


def _cost(problem: Problem, edge: Mask, ms_per_byte: float) -> tuple[float, float]:
    """What a cut costs more than all in the cloud, and its bytes."""
    ends = np.bincount(problem.read, ~edge[problem.reader], len(problem.maker)) > 0
    crosses = edge[problem.maker] & ends
    wire_bytes = float(problem.wire_bytes[crosses].sum())
    wire_ms = float(problem.wire_ms[crosses].sum())
    own_ms = float(problem.extra_ms[edge].sum())
    return own_ms + wire_ms + wire_bytes * ms_per_byte, wire_bytes
