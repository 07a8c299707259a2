"""Rate control: how many bytes the next frame may take, and which rung of the ladder that is.

A candidate's rungs are the same cut and head at ever coarser steps (or picture qualities). The
controller sends the finest one that fits the budget: coarser at once, finer only one rung at a time
after `GOOD_FRAMES` frames in a row that would have fitted it, and never below the agreement floor.

Sizes. What makes one rung of a frame larger makes all of them larger, so one ratio of actual to
planned bytes serves the whole ladder. The mean that follows it is a quick one, because frames of a
camera resemble each other. Two predictions come out of it:

* *expected*: ratio x median. The rung in use stays as long as this fits.
* *cautious*: ratio x (median + surprise x (p95 - median)). Another rung is taken only if this fits.

`surprise`, from 0 to 1, is how far frames have lately been from what was expected, measured in the
plan's own spread: near 0 for a video, near 1 for unrelated pictures, and 1 while nothing is known:
at the start, and after another candidate was in use. (A margin from the mean deviation: Jacobson,
Congestion Avoidance and Control, 1988.) The p95 alone would keep a video, whose frames hardly
differ, up to a rung coarser than need be; the median alone would take a rung that every second
frame overruns. The gap between the two predictions is the hysteresis: a rung that was entered with
room to spare is not left because one frame is a little larger than the one before.

No clock, no I/O, no randomness.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from isthmus import Candidate, ConfigError, Figures
from isthmus_edge.config import Objective
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import FRAME_OVERHEAD_BYTES

GOOD_FRAMES = 10
SAFETY_SHARE = 0.85  # of the link that is believed in: sizes and the belief itself are uncertain
SLACK = 0.02
_GAIN = 0.5  # weight of the newest frame in the running means

__all__ = ["GOOD_FRAMES", "Budget", "Choice", "Demand", "RateController", "Remaining", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of the frames.

    `period_ms` is the time between them, `deadline_left_ms` what remains of this one's time (below
    0: it is late already). `share` of the link's bandwidth may be planned with. Where nothing is
    asked, a rung finer than the coarsest may cost up to `slack` of the latency (a share).
    """

    objective: Objective = "latency"
    period_ms: float | None = None
    deadline_left_ms: float | None = None
    share: float = SAFETY_SHARE
    slack: float = SLACK

    def __post_init__(self) -> None:
        if self.period_ms is not None and not self.period_ms > 0:
            raise ConfigError(f"period_ms must be above 0, or None, got {self.period_ms}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share must lie above 0 and up to 1, got {self.share}")
        if not self.slack >= 0:
            raise ConfigError(f"slack must be 0 or more, got {self.slack}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What a candidate's frame still has before it, in ms, but for its own way over the link.

    The link's bandwidth should be a pessimistic one. `queue_ms` is all waiting: for the frames
    ahead on the link, and for those ahead in the cloud.
    """

    link: LinkEstimate
    device_ms: float
    cloud_ms: float
    queue_ms: float = 0.0
    answer_bytes: int = 0

    @property
    def answer_ms(self) -> float:
        """How long the answer occupies the link."""
        return self.link.transfer_ms(self.answer_bytes + FRAME_OVERHEAD_BYTES)

    @property
    def still_ms(self) -> float:
        """All but the two transfers."""
        return self.device_ms + self.link.rtt_ms + self.queue_ms + self.cloud_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes that the payload of one frame may take.

    `link_bytes` is what keeps the link from falling behind, `deadline_bytes` what arrives in time;
    one that nobody asked for is infinite. `bytes_per_ms` is what a millisecond of the deadline is
    worth on the link.
    """

    link_bytes: float = inf
    deadline_bytes: float = inf
    bytes_per_ms: float = 0.0

    @property
    def payload_bytes(self) -> float:
        """The stricter of the two, 0 if there is no time left to send anything."""
        return max(min(self.link_bytes, self.deadline_bytes), 0.0)

    def after(self, extra_ms: float) -> "Budget":
        """The budget of a candidate that computes `extra_ms` longer (negative: less long)."""
        return Budget(
            link_bytes=self.link_bytes,
            deadline_bytes=self.deadline_bytes - extra_ms * self.bytes_per_ms,
            bytes_per_ms=self.bytes_per_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The rung for the next frame. `advice` says what would fit where no allowed rung does."""

    rung: int
    predicted_bytes: int
    fits: bool
    reason: str
    advice: str | None


def budget(remaining: Remaining, demand: Demand, coarsest_bytes: float) -> Budget:
    """What a frame may take, from the policy's own formula for latency and period.

    A frame rate and a deadline are promises: they can be missed. Without them the coarsest allowed
    rung, of `coarsest_bytes` (`RateController.coarsest_bytes`), always fits, and what is finer may
    cost `slack` of the latency or, for throughput, fill the link up to the slowest other stage.
    """
    planned = demand.share * remaining.link.bandwidth_bps / 8e3  # bytes a millisecond
    deadline_bytes = inf
    if demand.deadline_left_ms is not None:
        left_ms = demand.deadline_left_ms - remaining.still_ms
        overhead = remaining.answer_bytes + 2 * FRAME_OVERHEAD_BYTES
        deadline_bytes = left_ms * planned - overhead
    return Budget(
        link_bytes=_link_bytes(remaining, demand, coarsest_bytes),
        deadline_bytes=deadline_bytes,
        bytes_per_ms=planned,
    )


def _link_bytes(remaining: Remaining, demand: Demand, coarsest_bytes: float) -> float:
    bytes_per_ms = remaining.link.bandwidth_bps / 8e3
    if demand.period_ms is not None:
        return demand.period_ms * demand.share * bytes_per_ms - FRAME_OVERHEAD_BYTES
    if demand.objective == "throughput":
        slowest_ms = max(remaining.device_ms, remaining.cloud_ms, remaining.answer_ms)
        room = slowest_ms * demand.share * bytes_per_ms - FRAME_OVERHEAD_BYTES
        return max(room, coarsest_bytes)
    if demand.deadline_left_ms is not None:
        return inf
    up_ms = remaining.link.transfer_ms(coarsest_bytes + FRAME_OVERHEAD_BYTES)
    latency_ms = remaining.still_ms + up_ms + remaining.answer_ms
    return coarsest_bytes + demand.slack * latency_ms * bytes_per_ms


@dataclass(slots=True)
class _Course:
    """What is known of one candidate's frames; `rung` is None before the first."""

    rung: int | None = None
    good: int = 0  # frames in a row that would have fitted the next finer rung
    ratio: float = 1.0  # running mean of actual / planned bytes
    newest: float = 1.0
    surprise: float = 1.0
    frames: int = 0

    def learn(self, actual: float, spread: float) -> None:
        """`actual` is a frame's ratio, `spread` the plan's p95 over its median, less 1."""
        if self.frames and spread > 0:
            # The mean deviation of a bell curve is about half of the way from median to p95.
            far = min(2 * abs(actual / self.ratio - 1) / spread, 1.0)
            self.surprise += _GAIN * (far - self.surprise)
        self.frames += 1
        self.ratio += max(_GAIN, 1 / self.frames) * (actual - self.ratio)
        self.newest = actual


class RateController:
    """One for a plan; remembers how large each candidate's frames really were."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates = {c.id: c for c in candidates}
        self._courses = {name: _Course() for name in self._candidates}
        self._in_use: str | None = None

    def choose(self, candidate: Candidate, floor: float, budget: Budget) -> Choice:
        """The rung for the next frame: to be asked once a frame.

        Never coarser than `candidate.rung_for(floor)`; if no rung meets the floor, the finest.
        """
        course = self._course(candidate.id)
        entering = candidate.id != self._in_use
        if entering:
            self._in_use, course.good, course.surprise = candidate.id, 0, 1.0
        room, lowest = budget.payload_bytes, _lowest(candidate, floor)
        before = candidate.chosen if course.rung is None else course.rung
        rung, why = self._walk(candidate, min(before, lowest), lowest, room, entering)
        course.rung = rung
        expected = self.expected_bytes(candidate, rung)
        fits = expected <= room
        return Choice(
            rung=rung,
            predicted_bytes=expected,
            fits=fits,
            reason=f"rung {rung}, about {expected} of {room:.0f} bytes: {why}",
            advice=None if fits else self._advice(candidate, floor, budget),
        )

    def learn(self, candidate_id: str, rung: int, payload_bytes: int) -> None:
        """A frame of `candidate_id` took `payload_bytes` at `rung`.

        For frames of the usual kind: the key frames of a stream of differences are the exception,
        and would pass for a change of scene.
        """
        course = self._course(candidate_id)
        figures = self._candidates[candidate_id].rungs[rung].figures
        if figures.payload_bytes > 0:
            spread = figures.payload_bytes_p95 / figures.payload_bytes - 1
            course.learn(max(payload_bytes, 1) / figures.payload_bytes, spread)

    def revise(self, candidates: Iterable[Candidate]) -> None:
        """Take these for the ones of their ids: other agreement than was planned, for instance."""
        for candidate in candidates:
            self._course(candidate.id)
            self._candidates[candidate.id] = candidate

    def expected_bytes(self, candidate: Candidate, rung: int) -> int:
        """What a frame should take at `rung` by what the recent ones took."""
        planned = candidate.rungs[rung].figures.payload_bytes
        return round(self._course(candidate.id).ratio * planned)

    def coarsest_bytes(self, candidate: Candidate, floor: float) -> int:
        """What must fit for the coarsest rung that the floor allows to be taken."""
        return self._cautious_bytes(candidate, _lowest(candidate, floor))

    def _cautious_bytes(self, candidate: Candidate, rung: int) -> int:
        course, figures = self._course(candidate.id), candidate.rungs[rung].figures
        above = figures.payload_bytes_p95 - figures.payload_bytes
        return round(course.ratio * (figures.payload_bytes + course.surprise * above))

    def _walk(
        self, candidate: Candidate, held: int, lowest: int, room: float, entering: bool
    ) -> tuple[int, str]:
        """From the rung `held` to that of the next frame, and why."""
        course = self._course(candidate.id)
        needed = (self._cautious_bytes if entering else self.expected_bytes)(candidate, held)
        if needed > room:
            course.good = 0
            coarser = range(held + 1, lowest + 1)
            fitting = (r for r in coarser if self._cautious_bytes(candidate, r) <= room)
            rung = next(fitting, lowest)
            if rung == held:
                return held, "nothing coarser is allowed"
            return rung, f"rung {held} would take {needed}"
        if held == 0 or not self._would_have_fitted(candidate, held - 1, room):
            course.good = 0
            return held, "the finest that fits"
        if course.good < GOOD_FRAMES:
            course.good += 1
            return held, f"{course.good} frames in a row would have fitted rung {held - 1}"
        course.good = 0
        return held - 1, f"{GOOD_FRAMES} frames in a row would have fitted it"

    def _would_have_fitted(self, candidate: Candidate, rung: int, room: float) -> bool:
        """By the prediction, and in hindsight: the frame before would not have overrun it."""
        newest = self._course(candidate.id).newest * candidate.rungs[rung].figures.payload_bytes
        return max(newest, self._cautious_bytes(candidate, rung)) <= room

    def _advice(self, candidate: Candidate, floor: float, budget: Budget) -> str:
        """The other kept candidate of greatest agreement that would fit, by the plan's times."""
        others = [
            c
            for c in self._candidates.values()
            if c.kept and not c.is_local and c.id != candidate.id and c.rung_for(floor) is not None
        ]
        offers = [o for c in others for o in self._offers(c, candidate, floor, budget)]
        if offers:
            agreement, less_bytes, name, rung = max(offers)
            return (
                f"{name} would fit at rung {rung}: {-less_bytes} bytes, agreement {agreement:.3f}"
            )
        ways = "allow fewer frames, more time or a lower agreement floor, or answer on the device"
        if not others:
            return f"the plan keeps no other candidate that meets the floor: {ways}"
        least_bytes, name = min((self.coarsest_bytes(c, floor), c.id) for c in others)
        return f"no other candidate fits (the least is {name}, {least_bytes} bytes): {ways}"

    def _offers(
        self, other: Candidate, instead_of: Candidate, floor: float, budget: Budget
    ) -> list[tuple[float, int, str, int]]:
        """The rungs of `other` that would fit: agreement, bytes less than 0, id and rung."""
        offers = []
        for rung in range(_lowest(other, floor) + 1):
            figures, size = other.rungs[rung].figures, self._cautious_bytes(other, rung)
            extra_ms = _computing_ms(figures) - _computing_ms(instead_of.figures)
            if size <= budget.after(extra_ms).payload_bytes:
                offers.append((figures.agreement, -size, other.id, rung))
        return offers

    def _course(self, candidate_id: str) -> _Course:
        try:
            return self._courses[candidate_id]
        except KeyError as error:
            known = ", ".join(self._courses)
            raise ConfigError(
                f"rate control knows no candidate {candidate_id!r}; it was given: {known}"
            ) from error


def _lowest(candidate: Candidate, floor: float) -> int:
    """The coarsest rung that may be used."""
    return candidate.rung_for(floor) or 0


def _computing_ms(figures: Figures) -> float:
    return figures.device_ms + figures.cloud_ms
