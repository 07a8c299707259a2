"""The one number by which candidates are compared, for every goal.

    full:  expected  (time + (device weight - 1) x device) x lateness
    saver: expected  energy x lateness
    lateness = max(1, answered / deadline) ^ LATENESS

Without a deadline a saver's limit is SAVER_SLACK times the best candidate's expected time. All are
sums, products and powers of positive terms that inputs scale, so that the logarithm of a cost moves
at most `steepness` times as fast as those of the inputs: what the policy's hysteresis rests on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isthmus import Candidate
from isthmus_edge.config import Objective, Power
from isthmus_edge.policy.forecast import Outcome, Situation, computing_ms, outcomes

LATENESS = 4.0  # an answer that is 19 % late costs double
SAVER_SLACK = 2.0
_SOONEST_MS = 1.0  # a deadline that has passed already

__all__ = ["Appraisal", "Goal", "appraise"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: the least latency or the most frames a second, above an agreement floor.

    Answers are wanted within `deadline_ms` from now, if it is given. With `power` "saver" it is the
    least energy among what is in time.
    """

    objective: Objective
    agreement_floor: float
    deadline_ms: float | None = None
    power: Power = "full"

    @property
    def steepness(self) -> float:
        """How fast a cost's logarithm can move, against the inputs' logarithms."""
        plain = self.deadline_ms is None and self.power == "full"
        return 1.0 if plain else 1.0 + LATENESS


@dataclass(frozen=True, slots=True)
class Appraisal:
    """A candidate's cost, and its expected latency or time between frames, as the goal asks."""

    cost: float
    expected_ms: float


def appraise(
    candidates: Iterable[Candidate], situation: Situation, goal: Goal
) -> dict[str, Appraisal]:
    """Cost every candidate by its id; the link must be up if one of them sends anything."""
    pool = tuple(candidates)
    fates = {c.id: outcomes(c, situation, goal.deadline_ms) for c in pool}
    expected = {name: _expected_ms(fate, goal) for name, fate in fates.items()}
    costs = _saving(fates, expected, goal) if goal.power == "saver" else _timely(fates, goal)
    extra = _burdens(pool, situation) if goal.power == "full" else {}
    return {
        name: Appraisal(cost + extra.get(name, 0.0), expected[name]) for name, cost in costs.items()
    }


def _timely(fates: Mapping[str, tuple[Outcome, ...]], goal: Goal) -> dict[str, float]:
    return {
        name: sum(o.weight * _time_ms(o, goal) * _lateness(o.answered_ms, goal) for o in fate)
        for name, fate in fates.items()
    }


def _saving(
    fates: Mapping[str, tuple[Outcome, ...]], expected: Mapping[str, float], goal: Goal
) -> dict[str, float]:
    limit_ms = SAVER_SLACK * min(expected.values())
    if goal.deadline_ms is not None:
        return {
            name: sum(o.weight * o.energy_mj * _lateness(o.answered_ms, goal) for o in fate)
            for name, fate in fates.items()
        }
    return {
        name: sum(o.weight * o.energy_mj * _late(_time_ms(o, goal), limit_ms) for o in fate)
        for name, fate in fates.items()
    }


def _burdens(pool: Iterable[Candidate], situation: Situation) -> dict[str, float]:
    """What device work counts more on a device that is hot or crowded."""
    extra = situation.vitals.device_weight - 1.0
    return {c.id: extra * computing_ms(c, situation)[0] for c in pool}


def _expected_ms(fate: Iterable[Outcome], goal: Goal) -> float:
    return sum(o.weight * _time_ms(o, goal) for o in fate)


def _time_ms(outcome: Outcome, goal: Goal) -> float:
    return outcome.answered_ms if goal.objective == "latency" else outcome.period_ms


def _lateness(answered_ms: float, goal: Goal) -> float:
    return 1.0 if goal.deadline_ms is None else _late(answered_ms, goal.deadline_ms)


def _late(time_ms: float, limit_ms: float) -> float:
    share = max(1.0, time_ms / max(limit_ms, _SOONEST_MS))
    return float(share**LATENESS)
