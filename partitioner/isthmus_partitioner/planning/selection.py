"""Which measured candidates the plan keeps, and in words why or why not.

Kept is what meets the constraints and is best at some bandwidth, by the objective (without one, in
latency or in frames/s), and always `local` and the JPEGs: without them nobody could see what
splitting is worth. What may not leave the device is never kept, not even for comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from isthmus import Candidate, Picture
from isthmus_partitioner.planning.constraints import (
    Breach,
    Goals,
    breaches_of,
    deadline_span,
    infeasible,
)
from isthmus_partitioner.planning.envelope import LOCAL_ADVANTAGE, lowest
from isthmus_partitioner.planning.objectives import OBJECTIVES, Measure, Objective
from isthmus_partitioner.planning.prices import Prices
from isthmus_partitioner.planning.race import Compared, Race, Win, span_words

__all__ = ["Placed", "Standing", "select", "standing_of"]

_LEAST_OCTAVES = 0.1  # best over less than 7 % of bandwidth is a tie
_DEFAULT: tuple[Objective, ...] = ("latency", "throughput")
_PRIVACY = {"privacy_depth", "no_raw_input"}

_COMPARISON = "always kept so that the comparison with sending a picture is honest"
_NO_LINK = "always kept: the device can do without a link"
_NEVERTHELESS = "kept nevertheless, for every plan needs what the device does without a link"


class Placed(Protocol):
    """Where a cut lies."""

    @property
    def macs_share(self) -> float:
        """Share (0-1) of the multiply-accumulates before it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What candidates are worth under some goals: their breaches by id, and a race by objective."""

    goals: Goals
    prices: Prices
    candidates: tuple[Candidate, ...]
    breaches: Mapping[str, tuple[Breach, ...]]
    races: tuple[Race, ...]

    @property
    def winners(self) -> tuple[str, ...]:
        """The ids of what is best somewhere, over the widest ranges first."""
        octaves = {c.id: sum(r.octaves(c.id) for r in self.races) for c in self.candidates}
        found = [name for name, width in octaves.items() if width > 0]
        return tuple(sorted(found, key=lambda name: -octaves[name]))

    @property
    def wins(self) -> tuple[Win, ...]:
        """By objective, what is best where and by how much."""
        return tuple(race.win(name) for race in self.races for name in race.winners)

    @property
    def nearest(self) -> tuple[Compared, ...]:
        """By objective, where what is feasible but never best comes nearest to what is."""
        found = (
            race.nearest(name)
            for race in self.races
            for name in race.curves
            if name not in race.winners
        )
        return tuple(point for point in found if point is not None)


def select(
    candidates: Sequence[Candidate], cuts: Mapping[str, Placed], goals: Goals, prices: Prices
) -> Standing:
    """Judge candidates and choose: each begun at the rung for the floor, with `kept` and `reason`.

    `cuts` by id; whole inputs and `local` need none. Raises InfeasibleError if no candidate meets
    the constraints.
    """
    standing = standing_of(candidates, cuts, goals, prices)
    kept = _kept(standing)
    chosen = tuple(
        msgspec.structs.replace(
            candidate, kept=candidate.id in kept, reason=_reason(candidate, standing, kept)
        )
        for candidate in standing.candidates
    )
    return replace(standing, candidates=chosen)


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
    return Standing(goals, prices, begun, breaches, tuple(races))


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
        reasons.append(standing.races[0].shortfall(name))
    elif name in standing.winners and name not in kept:
        reasons.append("left out: others are best over wider ranges, and no more were asked for")
    if standing.goals.deadline_ms is not None and not standing.breaches[name]:
        reasons += _in_time(candidate, standing.goals)
    if name in kept and name not in standing.winners:
        breaks = bool(standing.breaches[name])
        alone = _NEVERTHELESS if breaks else _NO_LINK
        reasons.append(alone if candidate.is_local else _COMPARISON)
    return "; ".join(reasons)


def _in_time(candidate: Candidate, goals: Goals) -> Sequence[str]:
    span = deadline_span(candidate.figures, goals)
    if span is None or span == goals.range:
        return ()
    return (f"meets the deadline of {goals.deadline_ms:g} ms {span_words(span, goals.range)}",)


def _is_jpeg(candidate: Candidate) -> bool:
    return any(isinstance(e, Picture) and e.format == "jpeg" for e in candidate.encodings)
