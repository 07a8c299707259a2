"""The policy: a pure function from the plan and the present situation to one candidate.

    latency = device + bits / bandwidth + round trip + queue + cloud + answer's bits / bandwidth
    period  = the slowest of device, link and cloud: frames are pipelined

No clock, no I/O, no memory: what was observed comes in as `Situation`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite

from isthmus import Candidate
from isthmus_edge.config import Objective
from isthmus_edge.link import LinkEstimate

FRAME_OVERHEAD_BYTES = 160  # message header, HTTP/2, TCP and IP headers of one small frame
SWITCH_GAIN = 0.05  # a switch must promise at least this much: noise alone must not cause one

__all__ = [
    "Decision",
    "Goal",
    "Prediction",
    "Situation",
    "computing_ms",
    "decide",
    "predict",
]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: the least latency or the most frames a second, above an agreement floor."""

    objective: Objective
    agreement_floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known right now.

    `link` is None while the cloud cannot be reached. `device_ms` and `cloud_ms` hold live figures
    by candidate; for the others the plan's figures count, times `device_scale` / `cloud_scale`.
    """

    link: LinkEstimate | None
    device_scale: float = 1.0
    cloud_scale: float = 1.0
    device_ms: Mapping[str, float] = field(default_factory=dict)
    cloud_ms: Mapping[str, float] = field(default_factory=dict)
    queue_ms: float = 0.0
    answer_bytes: int = 0
    in_use: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a candidate would do now."""

    latency_ms: float
    period_ms: float

    @property
    def in_flight(self) -> int:
        """Frames that must be under way to keep the slowest stage busy, and one to spare."""
        if not isfinite(self.latency_ms):
            return 1
        return ceil(self.latency_ms / max(self.period_ms, 1e-3)) + 1


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen candidate, whose `chosen` is the rung to send, and, in one line, why."""

    candidate: Candidate
    prediction: Prediction
    reason: str


def decide(candidates: Iterable[Candidate], situation: Situation, goal: Goal) -> Decision:
    """Choose for the next frame; of each candidate its `chosen` rung counts (`at_floor`).

    Rules, in order: without a link, `local`; else the best candidate that meets the agreement
    floor; but stay with the one in use unless the best is better by more than `SWITCH_GAIN`. If
    nothing meets the floor, the one of greatest agreement.
    """
    pool = tuple(candidates)
    local = next(c for c in pool if c.is_local)
    if situation.link is None:
        return Decision(local, predict(local, situation), "no link: answering on the device")
    eligible = [c for c in pool if c.figures.agreement >= goal.agreement_floor]
    if not eligible:
        eligible = [max(pool, key=lambda c: c.figures.agreement)]
    predictions = {c.id: predict(c, situation) for c in eligible}
    best = min(eligible, key=lambda c: _cost(predictions[c.id], goal))
    current = next((c for c in eligible if c.id == situation.in_use), None)
    if current is not None and current is not best:
        gain = 1 - _cost(predictions[best.id], goal) / _cost(predictions[current.id], goal)
        if gain <= SWITCH_GAIN:
            best = current
    return Decision(best, predictions[best.id], _reason(best, predictions, situation.link, goal))


def predict(candidate: Candidate, situation: Situation) -> Prediction:
    """Latency and period of one candidate at its chosen rung, in ms."""
    device_ms, cloud_ms = computing_ms(candidate, situation)
    if candidate.is_local:
        return Prediction(device_ms, device_ms)
    if situation.link is None:
        return Prediction(float("inf"), float("inf"))
    up_ms = situation.link.transfer_ms(candidate.figures.payload_bytes + FRAME_OVERHEAD_BYTES)
    down_ms = situation.link.transfer_ms(situation.answer_bytes + FRAME_OVERHEAD_BYTES)
    round_trip_ms = situation.link.rtt_ms + up_ms + down_ms
    return Prediction(
        latency_ms=device_ms + round_trip_ms + situation.queue_ms + cloud_ms,
        period_ms=max(device_ms, up_ms, down_ms, cloud_ms),
    )


def computing_ms(candidate: Candidate, situation: Situation) -> tuple[float, float]:
    """What the device and the cloud take for one frame, in ms: live figures, else the plan's."""
    figures = candidate.figures
    return (
        situation.device_ms.get(candidate.id, figures.device_ms * situation.device_scale),
        situation.cloud_ms.get(candidate.id, figures.cloud_ms * situation.cloud_scale),
    )


def _cost(prediction: Prediction, goal: Goal) -> float:
    return prediction.latency_ms if goal.objective == "latency" else prediction.period_ms


def _reason(
    best: Candidate, predictions: Mapping[str, Prediction], link: LinkEstimate, goal: Goal
) -> str:
    others = [(_cost(p, goal), name) for name, p in predictions.items() if name != best.id]
    what = "a frame" if goal.objective == "latency" else "between frames"
    line = (
        f"{best.id}: {_cost(predictions[best.id], goal):.0f} ms {what} at "
        f"{link.bandwidth_bps / 1e6:.2f} Mbit/s, {link.rtt_ms:.0f} ms round trip"
    )
    if others:
        cost, name = min(others)
        line += f"; next best {name} with {cost:.0f} ms"
    return line
