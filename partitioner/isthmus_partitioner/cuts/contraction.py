"""Places that no best cut separates become one place: what is left of most networks is tiny.

**Theory of operation.** Among the best cuts for one bandwidth there is exactly one with the fewest
bytes and, among those, the fewest nodes on the edge: the sets of nodes that are best so far are
closed under intersection, because the cost is submodular (Picard & Queyranne 1980). If moving one
place over any cut that separates it from a neighbour makes that cut better in this order, then the
one we look for does not separate them. So all such pairs may be joined at once:

* *to the edge*: place u, if all that it reads is made by p or by what p depends on. Where p is on
  the edge and u is not, u can follow: it costs `extra_ms` and the tensors it makes, and saves those
  that nobody else in the cloud reads.
* *to the cloud*: place v, if all its readers are s or depend on s. Where s is in the cloud and v is
  not, v can follow: it saves `extra_ms` and the tensors it makes, and costs those that it reads
  and that do not cross for another reader anyway.
* *too dear*: a tensor that may not cross, or that together with all that must run on the edge
  before it costs more than a cut already known, joins its maker with its readers; a place that
  must not be on the edge for the same reason joins the cloud.

Costs are linear in the time per byte, so what holds at both ends of an interval holds within it.
What depends on what is known by `Precedence`: enough to see through residual blocks and long
skips. What it misses is left to the flow.

A round takes O(n + m); where costs go up and down along a network it at least halves it. Rounds are
repeated while they pay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from isthmus_partitioner.cuts.dag import Numbers
from isthmus_partitioner.cuts.precedence import Precedence
from isthmus_partitioner.cuts.problem import Indices, Mask, Problem, summed

__all__ = ["contracted"]

_WORTH_ANOTHER_ROUND = 0.98  # of the places that a round leaves
_ROUNDING = 1e-9  # sums in another order may differ by this share
_Pairs = tuple[Indices, Indices]


def contracted(
    problem: Problem, lowest: float, highest: float, known_ms: float = np.inf
) -> tuple[Problem, Indices]:
    """The same problem for links of `lowest` … `highest` ms per byte, and each place's new number.

    `known_ms` is what some cut costs on every such link, `extra_ms` of what it has on the edge
    and what crosses. If no cut costs less, all may become one place.
    """
    group = np.arange(problem.last + 1)
    stuck = np.isinf(problem.wire_ms)[problem.read]
    if stuck.any():
        group = _grouped(problem, [(problem.maker[problem.read[stuck]], problem.reader[stuck])])
        problem = problem.merged(group)
    while problem.last > 1:
        before = problem.last
        moves = _Moves.of(problem)
        better = moves.better((lowest, highest))
        too_dear = moves.too_dear((lowest, highest), known_ms)
        labels = _grouped(problem, (*better, *too_dear))
        if labels[0] == labels[-1] and not _tell_apart(problem, better):
            break
        problem = problem.merged(labels)
        group = labels[group]
        if problem.last > before * _WORTH_ANOTHER_ROUND:
            break
    return problem, group


def _tell_apart(problem: Problem, better: Sequence[_Pairs]) -> bool:
    """Not if a tie within rounding was taken for a gain from both sides."""
    labels = _grouped(problem, better)
    return bool(labels[0] != labels[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """What it costs at most to move each place after `before` on the edge, or `after` in the cloud.

    `before` is the last place that each one reads from, `after` the first that reads from it;
    `can_follow` and `can_lead`: all other such places are on the same side then. `saved` are
    the tensors that need not cross if their last reader is on the edge too; `added` the readings
    for which a tensor has to cross if they move to the cloud.
    """

    problem: Problem
    precedence: Precedence
    makers: Indices  # by reading
    before: Indices
    after: Indices
    can_follow: Mask
    can_lead: Mask
    saved: Mask
    added: Mask

    @classmethod
    def of(cls, problem: Problem) -> "_Moves":
        known = Precedence.of(problem)
        count, reader = problem.last + 1, problem.reader
        makers = problem.maker[problem.read]
        before = np.zeros(count, np.int64)
        np.maximum.at(before, reader, makers)
        after = np.full(count, problem.last)
        np.minimum.at(after, makers, reader)
        latest = problem.last_reader()[problem.read]
        is_last = reader == latest
        alone = is_last | known.holds(reader, before[latest])
        return cls(
            problem=problem,
            precedence=known,
            makers=makers,
            before=before,
            after=after,
            can_follow=_all(reader, known.holds(makers, before[reader]), count),
            can_lead=_all(makers, known.holds(after[makers], reader), count),
            saved=_all(problem.read, alone, len(problem.maker)),
            added=is_last | ~known.holds(after[reader], latest),
        )

    def better(self, ends: tuple[float, float]) -> tuple[_Pairs, _Pairs]:
        """Places that better follow `before` to the edge, or `after` to the cloud; it wins ties."""
        extra_ms = self.problem.extra_ms
        to_edge = _change(extra_ms, self._wire_to_edge, self.problem, ends) < 0
        to_cloud = _change(-extra_ms, self._wire_to_cloud, self.problem, ends) <= 0
        to_edge[[0, -1]] = to_cloud[[0, -1]] = False
        followers = np.flatnonzero(to_edge & self.can_follow)
        leaders = np.flatnonzero(to_cloud & self.can_lead)
        return (followers, self.before[followers]), (leaders, self.after[leaders])

    def too_dear(self, ends: tuple[float, float], known_ms: float) -> tuple[_Pairs, _Pairs]:
        """Readings that may not cross, and places that must not be on the edge."""
        problem = self.problem
        slower = np.maximum(problem.extra_ms, 0.0)
        slack_ms = _ROUNDING * float(np.abs(problem.extra_ms).sum())
        limit_ms = known_ms - float(np.minimum(problem.extra_ms, 0.0).sum()) + slack_ms
        edge_ms = np.cumsum(slower)[self.precedence.all_before]
        edge_ms += np.where(self.precedence.all_before < np.arange(len(slower)), slower, 0.0)
        wire_ms = np.minimum(problem.wire_at(ends[0]), problem.wire_at(ends[1]))
        wire_ms *= 1 - _ROUNDING
        is_stuck = wire_ms + edge_ms[problem.maker] > limit_ms
        stuck = np.flatnonzero(is_stuck[problem.read])
        costly = np.flatnonzero(edge_ms[:-1] > limit_ms)
        in_cloud = np.full_like(costly, problem.last)
        return (self.makers[stuck], problem.reader[stuck]), (costly, in_cloud)

    def _wire_to_edge(self, wire: Numbers) -> Numbers:
        made = summed(self.problem.maker, wire, self.problem.last + 1)
        latest = self.problem.last_reader()[self.saved]
        return made - summed(latest, wire[self.saved], self.problem.last + 1)

    def _wire_to_cloud(self, wire: Numbers) -> Numbers:
        made = summed(self.problem.maker, wire, self.problem.last + 1)
        added = wire[self.problem.read[self.added]]
        return summed(self.problem.reader[self.added], added, self.problem.last + 1) - made


def _all(where: Indices, holds: Mask, count: int) -> Mask:
    """For each number in `where`, whether it holds wherever that number stands."""
    return np.asarray(np.bincount(where, ~holds, count) == 0, np.bool_)


def _change(
    extra_ms: Numbers,
    wire: Callable[[Numbers], Numbers],
    problem: Problem,
    ends: tuple[float, float],
) -> Numbers:
    """Below 0 if a move is cheaper on every link, or costs no more and saves bytes; 0: a tie."""
    at_ends = [extra_ms + wire(problem.wire_at(end)) for end in ends]
    worst = np.maximum(at_ends[0], at_ends[1])
    more_bytes = wire(problem.wire_bytes)
    return np.where(worst == 0.0, np.where(more_bytes > 0, 1.0, more_bytes), worst)


def _grouped(problem: Problem, pairs: Sequence[_Pairs]) -> Indices:
    """The group of each place, numbered in topological order: strongly connected components."""
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    count = problem.last + 1
    makers = problem.maker[problem.read]
    sources = np.setdiff1d(np.arange(1, count), problem.reader)
    sinks = np.setdiff1d(np.arange(count - 1), makers)
    tails = (makers, np.zeros_like(sources), sinks, one, other)
    heads = (problem.reader, sources, np.full_like(sinks, count - 1), other, one)
    where = (np.concatenate(tails), np.concatenate(heads))
    arcs = coo_array((np.ones(len(where[0]), np.int8), where), shape=(count, count))
    number, labels = connected_components(arcs.tocsr(), directed=True, connection="strong")
    ordered: Indices = labels.astype(np.int64)
    if ordered[0] > ordered[-1]:  # scipy (Pearce's algorithm) numbers them from the sinks
        ordered = number - 1 - ordered
    assert bool((ordered[makers] <= ordered[problem.reader]).all())
    return ordered
