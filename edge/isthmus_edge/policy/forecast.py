"""What a candidate would do now: by the link as it is believed to be, and over all of that belief.

    latency = device + bits / bandwidth + round trip + queue + cloud + answer's bits / bandwidth
    answered = latency + what bits ahead on the link take longer than device
    period  = the slowest of device, link and cloud: frames are pipelined

An expectation is a sum over five points of the belief (Gauss-Hermite quadrature of a normal
distribution; Abramowitz and Stegun, table 25.10), at which bandwidth and round trip are so many
deviations better or worse: exact for the mean of a log-normal transfer time to 1 in 10,000 as far
as a spread of 1. At a point where the answer comes late the frame takes what its rescue takes: the
device finishes it from the cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, inf, isfinite

from isthmus import Candidate
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.energy import frame_mj
from isthmus_edge.policy.vitals import Vitals

FRAME_OVERHEAD_BYTES = 160  # message header, HTTP/2, TCP and IP headers of one small frame
POINTS = (  # deviations from the median and weight; weights add up to 1
    (0.0, 8 / 15),
    (1.355626, 0.2220759),
    (-1.355626, 0.2220759),
    (2.856970, 0.0112574),
    (-2.856970, 0.0112574),
)
FARTHEST = 2.856970
WIDEST_SPREAD = 3.0  # of ln bandwidth: beyond it, the belief says nothing anyway
LATE_DEVIATIONS = 2.5  # each of bandwidth, round trip and cloud is worse in 0.62 % of cases
LEAST_PATIENCE_MS = 150.0
MOST_PATIENCE_MS = 10_000.0
_CERTAIN = ((0.0, 1.0),)

__all__ = [
    "FARTHEST",
    "FRAME_OVERHEAD_BYTES",
    "LEAST_PATIENCE_MS",
    "MOST_PATIENCE_MS",
    "POINTS",
    "Outcome",
    "Prediction",
    "Situation",
    "computing_ms",
    "outcomes",
    "patience_ms",
    "predict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known right now.

    `link` is None while the cloud cannot be reached. `device_ms` and `cloud_ms` hold live figures
    by candidate; for the others the plan's figures count, times `device_scale` / `cloud_scale`.
    `cloud_spread_ms` is the standard deviation of the cloud's. `answers` are the bytes that come
    back, by candidate; `answer_bytes` those of the others. `rest_ms` is what the device would need
    to finish a frame behind the candidate's cut; a candidate without it counts as never rescued.
    `backlog_bytes` were sent before and have not arrived.
    """

    link: LinkEstimate | None
    device_scale: float = 1.0
    cloud_scale: float = 1.0
    device_ms: Mapping[str, float] = field(default_factory=dict)
    cloud_ms: Mapping[str, float] = field(default_factory=dict)
    cloud_spread_ms: Mapping[str, float] = field(default_factory=dict)
    queue_ms: float = 0.0
    backlog_bytes: float = 0.0
    answer_bytes: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    rest_ms: Mapping[str, float] = field(default_factory=dict)
    vitals: Vitals = field(default_factory=Vitals)
    in_use: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a candidate would do now.

    `late_ms` is what a lone frame takes from when it is sent until its answer is here, and
    `late_period_ms` the time between frames, if everything comes at its slow end, where the link
    carries `late_bps`; None for what is not sent.
    """

    latency_ms: float
    period_ms: float
    late_ms: float | None = None
    late_period_ms: float = 0.0
    late_bps: float = inf

    def late_behind_ms(self, ahead_bytes: float) -> float | None:
        """The same as `late_ms` for a frame that waits for others on the link."""
        waits_ms = ahead_bytes * 8e3 / self.late_bps
        return None if self.late_ms is None else self.late_ms + waits_ms

    @property
    def in_flight(self) -> int:
        """Frames that must be under way to keep the slowest stage busy, and one to spare.

        Little's law: L = latency / period.
        """
        if not isfinite(self.latency_ms):
            return 1
        return ceil(self.latency_ms / max(self.period_ms, 1e-3)) + 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a frame would fare at one point of the belief, which has that `weight`.

    `answered_ms` is when its answer is here, the cloud's or the device's; `energy_mj` leaves the
    rescue out.
    """

    weight: float
    answered_ms: float
    period_ms: float
    energy_mj: float


def predict(candidate: Candidate, situation: Situation) -> Prediction:
    """Latency and period of one candidate at its chosen rung, in ms, at the belief's median."""
    if candidate.is_local:
        device_ms, _ = computing_ms(candidate, situation)
        return Prediction(device_ms, device_ms)
    if situation.link is None:
        return Prediction(inf, inf)
    way = _Way.of(candidate, situation)
    slow = _believable(situation.link).at(-LATE_DEVIATIONS)
    spread_ms = situation.cloud_spread_ms.get(candidate.id, 0.0)
    return Prediction(
        latency_ms=way.latency_ms(situation.link),
        period_ms=way.period_ms(situation.link),
        late_ms=way.latency_ms(slow) - way.device_ms + LATE_DEVIATIONS * spread_ms,
        late_period_ms=way.period_ms(slow),
        late_bps=slow.bandwidth_bps,
    )


def outcomes(
    candidate: Candidate, situation: Situation, deadline_ms: float | None = None
) -> tuple[Outcome, ...]:
    """How a frame of a candidate fares over the belief in the link, which must be up."""
    weight = situation.vitals.device_weight
    if candidate.is_local:
        device_ms, _ = computing_ms(candidate, situation)
        return (Outcome(1.0, device_ms, device_ms, frame_mj(weight * device_ms)),)
    assert situation.link is not None
    way, link = _Way.of(candidate, situation), _believable(situation.link)
    rescued_ms = _rescued_ms(candidate, way, situation, deadline_ms)
    return tuple(
        Outcome(
            share,
            min(way.latency_ms(at) + way.waiting_ms(at), rescued_ms),
            way.period_ms(at),
            way.energy_mj(at, weight),
        )
        for share, at in _belief(link)
    )


def computing_ms(candidate: Candidate, situation: Situation) -> tuple[float, float]:
    """What the device and the cloud take for one frame, in ms: live figures, else the plan's."""
    figures = candidate.figures
    return (
        situation.device_ms.get(candidate.id, figures.device_ms * situation.device_scale),
        situation.cloud_ms.get(candidate.id, figures.cloud_ms * situation.cloud_scale),
    )


def patience_ms(prediction: Prediction, ahead_bytes: float | None = None) -> float:
    """How long after it was sent a frame's answer is clearly late, by the belief alone.

    Bandwidth, round trip and cloud are each worse than at LATE_DEVIATIONS in 0.62 % of cases, so an
    answer that is merely slow comes later than this in less than 2 % (the sum of the three).
    `ahead_bytes` lie before the frame on the link; None: two periods, as in a full window, which
    has up to two frames more than the link holds.
    """
    late_ms = prediction.late_behind_ms(ahead_bytes or 0.0)
    if late_ms is None:
        return LEAST_PATIENCE_MS
    if ahead_bytes is None:
        late_ms += 2 * prediction.late_period_ms
    most_ms = max(MOST_PATIENCE_MS, 3 * prediction.latency_ms)
    return min(max(late_ms, LEAST_PATIENCE_MS), most_ms)


@dataclass(frozen=True, slots=True)
class _Way:
    """A frame's way in terms that do not depend on the link: it is costed at several."""

    device_ms: float
    cloud_ms: float
    queue_ms: float
    backlog_bytes: float
    up_bytes: int
    down_bytes: int

    @classmethod
    def of(cls, candidate: Candidate, situation: Situation) -> "_Way":
        device_ms, cloud_ms = computing_ms(candidate, situation)
        return cls(
            device_ms=device_ms,
            cloud_ms=cloud_ms,
            queue_ms=situation.queue_ms,
            backlog_bytes=situation.backlog_bytes,
            up_bytes=candidate.figures.payload_bytes + FRAME_OVERHEAD_BYTES,
            down_bytes=situation.answers.get(candidate.id, situation.answer_bytes)
            + FRAME_OVERHEAD_BYTES,
        )

    def latency_ms(self, link: LinkEstimate) -> float:
        both_ways_ms = link.rtt_ms + link.transfer_ms(self.up_bytes + self.down_bytes)
        return self.device_ms + both_ways_ms + self.queue_ms + self.cloud_ms

    def ahead_bytes(self, link: LinkEstimate) -> float:
        """What of the backlog is still on the link when the device has done its part."""
        return max(self.backlog_bytes - self.device_ms * link.bandwidth_bps / 8e3, 0.0)

    def waiting_ms(self, link: LinkEstimate) -> float:
        """For the frames ahead on the link, as far as the device does not need that time itself."""
        return link.transfer_ms(self.ahead_bytes(link))

    def period_ms(self, link: LinkEstimate) -> float:
        slower_way_ms = link.transfer_ms(max(self.up_bytes, self.down_bytes))
        return max(self.device_ms, slower_way_ms, self.cloud_ms)

    def energy_mj(self, link: LinkEstimate, weight: float) -> float:
        radio_ms = link.transfer_ms(self.up_bytes + self.down_bytes)
        return frame_mj(weight * self.device_ms, self.up_bytes, self.down_bytes, radio_ms)


def _rescued_ms(
    candidate: Candidate, way: _Way, situation: Situation, deadline_ms: float | None
) -> float:
    """When the device's own answer would be here.

    It begins when the cloud's is clearly late, with a deadline no later than the rest allows.
    """
    rest_ms = situation.rest_ms.get(candidate.id)
    if rest_ms is None:
        return inf
    alone_ms = way.device_ms + rest_ms
    assert situation.link is not None
    ahead_bytes = way.ahead_bytes(situation.link)
    when_late_ms = alone_ms + patience_ms(predict(candidate, situation), ahead_bytes)
    return when_late_ms if deadline_ms is None else min(max(alone_ms, deadline_ms), when_late_ms)


def _belief(link: LinkEstimate) -> list[tuple[float, LinkEstimate]]:
    certain = link.bandwidth_spread == 0 and link.rtt_spread_ms == 0
    return [(weight, link.at(z)) for z, weight in (_CERTAIN if certain else POINTS)]


def _believable(link: LinkEstimate) -> LinkEstimate:
    if link.bandwidth_spread <= WIDEST_SPREAD:
        return link
    return replace(link, bandwidth_spread=WIDEST_SPREAD)
