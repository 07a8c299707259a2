"""Which measured candidates the plan keeps, and in words why or why not.

Kept is what meets the constraints and is best at some bandwidth, by the objective (without one, in
latency or in frames/s), and always `local` and the JPEGs: without them nobody could see what
splitting is worth. What may not leave the device is never kept, not even for comparison.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from statistics import median
from typing import Protocol

import msgspec
import numpy as np

from isthmus import Candidate, Picture
from isthmus_partitioner.planning.constraints import (
    Breach,
    Goals,
    breaches_of,
    deadline_span,
    infeasible,
)
from isthmus_partitioner.planning.envelope import (
    LOCAL_ADVANTAGE,
    Curve,
    Span,
    amount,
    lowest,
    rate_words,
)
from isthmus_partitioner.planning.objectives import OBJECTIVES, Measure, Objective
from isthmus_partitioner.planning.prices import Prices

__all__ = ["Nearest", "Placed", "Race", "Standing", "select", "standing_of"]

_LEAST_OCTAVES = 0.1  # best over less than 7 % of bandwidth is a tie
_DEFAULT: tuple[Objective, ...] = ("latency", "throughput")
_SAMPLES = 33  # bandwidths at which a winner is compared with the runner-up
_PRIVACY = {"privacy_depth", "no_raw_input"}

_ALWAYS = {
    True: "always kept so that the comparison with sending a picture is honest",
    False: "always kept: the device can do without a link",
}


class Placed(Protocol):
    """Where a cut lies."""

    @property
    def macs_share(self) -> float:
        """Share (0-1) of the multiply-accumulates before it."""
        ...


@dataclass(frozen=True, slots=True)
class Nearest:
    """Where a candidate comes nearest to the best of the others, and what both cost there."""

    bandwidth_bps: float
    cost: float
    rival: str
    rival_cost: float


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """One objective: what each feasible candidate costs, and where which of them is best."""

    measure: Measure
    within: Span
    curves: Mapping[str, Curve]
    winners: Mapping[str, Sequence[Span]]

    def octaves(self, name: str) -> float:
        """Over how many doublings of bandwidth a candidate is best."""
        return sum(span.octaves for span in self.winners.get(name, ()))

    def lead(self, name: str) -> str:
        """Where a winner is best and by how much (median over these ranges), in words."""
        spans = self.winners[name]
        where = " and ".join(_span_words(span, self.within) for span in spans)
        points = [self._compared(name, bps) for span in spans for bps in _grid(span)]
        beaten = [point for point in points if point is not None]
        if not beaten:
            return f"{self.measure.most} {where} (nothing else is feasible there)"
        rival = Counter(point.rival for point in beaten).most_common(1)[0][0]
        gain = median(point.rival_cost - point.cost for point in beaten)
        share = median(1 - point.cost / (point.rival_cost or inf) for point in beaten)
        if gain <= 0:
            return f"{self.measure.most} {where} (level with {rival})"
        by = f"{amount(gain)} {self.measure.unit}, {share:.0%}"
        return f"{self.measure.most} {where} ({by} before {rival})"

    def nearest(self, name: str) -> Nearest | None:
        """Where a feasible candidate comes nearest to the best of the others."""
        points = [self._compared(name, bps) for bps in _grid(self.within)]
        known = [point for point in points if point is not None]
        return min(known, key=lambda p: p.cost / (p.rival_cost or inf), default=None)

    def _compared(self, name: str, bandwidth_bps: float) -> Nearest | None:
        cost = self.curves[name].at(bandwidth_bps)
        costs = ((c.at(bandwidth_bps), other) for other, c in self.curves.items() if other != name)
        rival_cost, rival = min(costs, default=(inf, ""))
        if not isfinite(cost) or not isfinite(rival_cost):
            return None
        return Nearest(bandwidth_bps, cost, rival, rival_cost)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What candidates are worth under some goals: their breaches by id, and a race by objective."""

    goals: Goals
    candidates: tuple[Candidate, ...]
    breaches: Mapping[str, tuple[Breach, ...]]
    races: tuple[Race, ...]

    @property
    def winners(self) -> tuple[str, ...]:
        """The ids of what is best somewhere, over the widest ranges first."""
        octaves = {c.id: sum(r.octaves(c.id) for r in self.races) for c in self.candidates}
        found = [name for name, width in octaves.items() if width > 0]
        return tuple(sorted(found, key=lambda name: -octaves[name]))


def select(
    candidates: Sequence[Candidate], cuts: Mapping[str, Placed], goals: Goals, prices: Prices
) -> tuple[Candidate, ...]:
    """The same candidates, begun at the rung for the agreement floor, with `kept` and `reason`.

    `cuts` by id; whole inputs and `local` need none. Raises InfeasibleError if no candidate meets
    the constraints.
    """
    standing = standing_of(candidates, cuts, goals, prices)
    kept = _kept(standing)
    return tuple(
        msgspec.structs.replace(
            candidate, kept=candidate.id in kept, reason=_reason(candidate, standing, kept)
        )
        for candidate in standing.candidates
    )


def standing_of(
    candidates: Sequence[Candidate], cuts: Mapping[str, Placed], goals: Goals, prices: Prices
) -> Standing:
    """Judge candidates; raises InfeasibleError if none meets the constraints."""
    begun = tuple(c.at_floor(goals.min_agreement) for c in candidates)
    breaches = {c.id: breaches_of(c, _macs_share(c, cuts), goals) for c in begun}
    feasible = [c for c in begun if not breaches[c.id]]
    if not feasible:
        raise infeasible(begun, breaches, goals)
    objectives = _DEFAULT if goals.objective is None else (goals.objective,)
    races = (_race(OBJECTIVES[objective], feasible, goals, prices) for objective in objectives)
    return Standing(goals, begun, breaches, tuple(races))


def _macs_share(candidate: Candidate, cuts: Mapping[str, Placed]) -> float:
    if candidate.is_local:
        return 1.0
    return 0.0 if candidate.precision == "none" else cuts[candidate.cut].macs_share


def _race(measure: Measure, feasible: Sequence[Candidate], goals: Goals, prices: Prices) -> Race:
    curves = {}
    for candidate in sorted(feasible, key=lambda c: c.figures.payload_bytes):  # ties: fewer bytes
        span = deadline_span(candidate.figures, goals)
        assert span is not None  # it has no breach
        curve = measure.curve(candidate.figures, goals.rtt_ms, prices)
        is_bound = span != goals.range
        curves[candidate.id] = replace(curve, from_bps=span.low_bps) if is_bound else curve
    local = {c.id for c in feasible if c.is_local}
    weighed = {
        name: curve.times(1 - LOCAL_ADVANTAGE) if name in local else curve
        for name, curve in curves.items()
    }
    within = goals.range
    least = min(_LEAST_OCTAVES, within.octaves / 10)
    spans = lowest(weighed, *goals.bandwidth_bps)
    wide = {name: own for name, own in spans.items() if sum(s.octaves for s in own) >= least}
    return Race(measure, within, curves, wide)


def _kept(standing: Standing) -> set[str]:
    """Winners, then rows for comparison while there is room, and `local`."""
    local = {c.id for c in standing.candidates if c.is_local}
    may_leave = [
        c.id
        for c in standing.candidates
        if not any(breach.field in _PRIVACY for breach in standing.breaches[c.id])
    ]
    jpegs = {c.id for c in standing.candidates if _is_jpeg(c)}
    ranked = [name for name in standing.winners if name not in local]
    ranked += [name for name in may_leave if name in jpegs and name not in ranked]
    return {*ranked[: standing.goals.candidates], *local}


def _reason(candidate: Candidate, standing: Standing, kept: set[str]) -> str:
    name = candidate.id
    reasons = [race.lead(name) for race in standing.races if name in race.winners]
    reasons += [breach.words for breach in standing.breaches[name]]
    if not reasons:
        reasons.append(_how_close(standing.races[0], name))
    elif name in standing.winners and name not in kept:
        reasons.append("left out: others are best over wider ranges, and no more were asked for")
    if standing.goals.deadline_ms is not None and not standing.breaches[name]:
        reasons += _in_time(candidate, standing.goals)
    if name in kept and name not in standing.winners:
        reasons.append(_ALWAYS[not candidate.is_local])
    return "; ".join(reasons)


def _in_time(candidate: Candidate, goals: Goals) -> Sequence[str]:
    span = deadline_span(candidate.figures, goals)
    if span is None or span == goals.range:
        return ()
    return (f"meets the deadline of {goals.deadline_ms:g} ms {_span_words(span, goals.range)}",)


def _how_close(race: Race, name: str) -> str:
    """Where a candidate that is never best comes nearest, and to whom."""
    point = race.nearest(name)
    if point is None:
        return "never best"
    unit = race.measure.unit
    return (
        f"never best; nearest at {rate_words(point.bandwidth_bps)}: {amount(point.cost)} {unit}, "
        f"{point.rival} {amount(point.rival_cost)} {unit}"
    )


def _is_jpeg(candidate: Candidate) -> bool:
    return any(isinstance(e, Picture) and e.format == "jpeg" for e in candidate.encodings)


def _span_words(span: Span, within: Span) -> str:
    low, high = rate_words(span.low_bps), rate_words(span.high_bps)
    if span.low_bps <= within.low_bps and span.high_bps >= within.high_bps:
        return "at any bandwidth"
    if span.low_bps <= within.low_bps:
        return f"below {high}"
    if span.high_bps >= within.high_bps:
        return f"above {low}"
    return f"from {low} to {high}"


def _grid(span: Span) -> Sequence[float]:
    grid: list[float] = np.geomspace(span.low_bps, span.high_bps, _SAMPLES).tolist()
    return grid
