"""The policy: a pure function from the plan and the present situation to one candidate.

No clock, no I/O, no memory: what was observed comes in as `Situation`, what is wanted as `Goal`.
`forecast.py` says what a candidate would do, `cost.py` makes one number of it. docs/policy.md has
the rules, and the proof that a link that changes little causes few switches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import expm1, hypot, log, sqrt

from isthmus import Candidate
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.cost import Appraisal, Goal, appraise
from isthmus_edge.policy.forecast import (
    FRAME_OVERHEAD_BYTES,
    Prediction,
    Situation,
    computing_ms,
    patience_ms,
    predict,
)

SWITCH_GAIN = 0.05  # a switch must promise at least this much: noise alone must not cause one
GAMMA = -log(1 - SWITCH_GAIN)  # the same, of the cost's logarithm
OPTIMISM = 2.0  # deviations by which a link may be better than believed
# How far ln bandwidth drifts in a second that nobody looks. On recorded mobile and WiFi uplinks it
# was 0.7 to 1.8 after one second (median 1.1) and 1.2 to 2.5 after ten.
DRIFT = 0.5
_WIDEST_DRIFT = 8.0
_FEWEST_IN_FLIGHT = 2

__all__ = [
    "FRAME_OVERHEAD_BYTES",
    "GAMMA",
    "SWITCH_GAIN",
    "Decision",
    "Goal",
    "Prediction",
    "Situation",
    "computing_ms",
    "decide",
    "patience_ms",
    "predict",
    "window",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen candidate, whose `chosen` is the rung to send, and, in one line, why.

    `explore` says that nothing will be sent, that nothing is therefore learned about the link, and
    that it may well have become good enough to send: it is worth a probe.
    """

    candidate: Candidate
    prediction: Prediction
    reason: str
    explore: bool = False


def decide(candidates: Iterable[Candidate], situation: Situation, goal: Goal) -> Decision:
    """Choose for the next frame; of each candidate its `chosen` rung counts (`at_floor`).

    Rules, in order: without a link, `local`; else the cheapest candidate (`cost.appraise`) that
    meets the agreement floor; but stay with the one in use unless the cheapest is better by more
    than `SWITCH_GAIN`. If nothing meets the floor, the one of greatest agreement.
    """
    pool = tuple(candidates)
    local = next(c for c in pool if c.is_local)
    if situation.link is None:
        return Decision(local, predict(local, situation), "no link: answering on the device")
    eligible = [c for c in pool if c.figures.agreement >= goal.agreement_floor]
    if not eligible:
        eligible = [max(pool, key=lambda c: (c.figures.agreement, c.is_local))]
    appraisals = appraise(eligible, situation, goal)
    best = _cheapest(eligible, appraisals, situation.in_use)
    return Decision(
        best,
        predict(best, situation),
        _reason(best, appraisals, situation, goal),
        explore=best.is_local and _may_be_better(eligible, situation, goal),
    )


def window(wanted: int, service_window: int, held_bytes: int, max_held_bytes: int) -> int:
    """How many frames may be under way, at least one.

    `wanted` is what keeps link and cloud busy (`Prediction.in_flight`: bandwidth x delay, counted
    in frames), `service_window` what the service allows, `held_bytes` what the device holds for
    one frame until its answer is here, `max_held_bytes` what it may hold for all of them.
    """
    room = max_held_bytes // max(held_bytes, 1)
    return max(1, min(max(_FEWEST_IN_FLIGHT, wanted), service_window, room))


def _cheapest(
    eligible: Iterable[Candidate], appraisals: Mapping[str, Appraisal], in_use: str | None
) -> Candidate:
    pool = tuple(eligible)
    best = min(pool, key=lambda c: (appraisals[c.id].cost, -c.figures.agreement))
    current = next((c for c in pool if c.id == in_use), best)
    must_beat = (1 - SWITCH_GAIN) * appraisals[current.id].cost
    return best if appraisals[best.id].cost < must_beat else current


def _may_be_better(eligible: Iterable[Candidate], situation: Situation, goal: Goal) -> bool:
    """Whether a link as good as it may have become would cause a switch away from `local`."""
    assert situation.link is not None
    pool = tuple(eligible)
    hopeful = replace(situation, link=_at_best(situation.link))
    return not _cheapest(pool, appraise(pool, hopeful, goal), situation.in_use).is_local


def _at_best(link: LinkEstimate) -> LinkEstimate:
    drift = min(DRIFT * sqrt(link.age_s), _WIDEST_DRIFT)
    spread = hypot(link.bandwidth_spread, drift)
    best = replace(link, bandwidth_spread=spread).at(OPTIMISM)
    return replace(best, bandwidth_spread=0.0, rtt_spread_ms=0.0)


def _reason(
    best: Candidate, appraisals: Mapping[str, Appraisal], situation: Situation, goal: Goal
) -> str:
    what = "a frame" if goal.objective == "latency" else "between frames"
    parts = [f"{best.id}: {appraisals[best.id].expected_ms:.0f} ms {what} at {_seen(situation)}"]
    others = [(seen.cost, name) for name, seen in appraisals.items() if name != best.id]
    if others:
        _, name = min(others)
        parts.append(f"next best {name} with {appraisals[name].expected_ms:.0f} ms")
    if goal.deadline_ms is not None:
        parts.append(f"deadline {goal.deadline_ms:.0f} ms")
    parts += situation.vitals.words
    if goal.power == "saver":
        parts.append("saver")
    return "; ".join(parts)


def _seen(situation: Situation) -> str:
    link = situation.link
    assert link is not None
    spread = f" +-{expm1(link.bandwidth_spread) * 100:.0f} %" if link.bandwidth_spread else ""
    return f"{link.bandwidth_bps / 1e6:.2f} Mbit/s{spread}, {link.rtt_ms:.0f} ms round trip"
