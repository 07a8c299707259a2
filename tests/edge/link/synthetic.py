"""A link whose truth is known, a service with a clock of its own, and frames that cross it.

A small simulation with its own time: no sleep, the same events for the same seed.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from isthmus_edge import LinkEstimate, LinkEstimator

BEAT_BYTES = 20
DEVICE_START_S = 1000.0


class Rates:
    """A bandwidth that is constant between given times; the last one holds for ever."""

    def __init__(self, times_s: Sequence[float], bps: Sequence[float]) -> None:
        self._times_s, self._bps = list(times_s), list(bps)
        self._bits = [0.0]
        for i in range(1, len(self._times_s)):
            step_s = self._times_s[i] - self._times_s[i - 1]
            self._bits.append(self._bits[-1] + self._bps[i - 1] * step_s)

    def bits_until(self, at: float) -> float:
        i = bisect_right(self._times_s, at) - 1
        return self._bits[i] + self._bps[i] * (at - self._times_s[i])

    def served_at(self, began_at: float, bits: float) -> float:
        total = self.bits_until(began_at) + bits
        i = max(bisect_left(self._bits, total) - 1, 0)
        return max(self._times_s[i] + (total - self._bits[i]) / self._bps[i], began_at)

    def mean_bps(self, since: float, span_s: float = 0.5) -> float:
        return (self.bits_until(since + span_s) - self.bits_until(since)) / span_s


def constant(mbps: float) -> Rates:
    return Rates([0.0, 1.0], [mbps * 1e6, mbps * 1e6])


def step(before_mbps: float, after_mbps: float, at: float) -> Rates:
    return Rates([0.0, at], [before_mbps * 1e6, after_mbps * 1e6])


def varying(step_s: float, mbps: Sequence[float]) -> Rates:
    return Rates([i * step_s for i in range(len(mbps))], [m * 1e6 for m in mbps])


@dataclass(frozen=True, slots=True)
class Jump:
    """A clock is set at `at` (true time) by `by_s`."""

    at: float
    by_s: float

    def shift_s(self, now: float) -> float:
        return self.by_s if now >= self.at else 0.0


NO_JUMP = Jump(0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything about one run but the link's rate."""

    seed: int = 1
    rtt_s: float = 0.04
    jitter_s: float = 0.001
    frames_per_s: float = 10.0
    frame_bytes: tuple[int, int] = (6_000, 20_000)
    window: int = 6
    answer_s: tuple[float, float] = (0.02, 0.05)
    beat_every_s: float = 0.4
    service_ahead_s: float = 4711.0
    service_fast: float = 0.0  # seconds a second
    service_jump: Jump = NO_JUMP
    device_jump: Jump = NO_JUMP
    held_back: tuple[float, float] = (0.0, 0.0)  # nothing arrives in between, all of it at its end
    silent_from: float = float("inf")  # no frames from here on


@dataclass(frozen=True, slots=True)
class Look:
    """What was believed at a (true) time."""

    at: float
    believed: LinkEstimate


@dataclass(order=True, slots=True)
class _Event:
    at: float
    number: int
    happen: Callable[[], None] = field(compare=False)


class Play:
    """Runs one scene over one link."""

    def __init__(self, rates: Rates, scene: Scene, estimator: LinkEstimator | None = None) -> None:
        self.rates = rates
        self.estimator = estimator or LinkEstimator()
        self._scene = scene
        self._random = random.Random(scene.seed)
        self._events: list[_Event] = []
        self._numbers = count()
        self._now = self._free_at = self._arrived_at = 0.0
        self._in_flight = 0
        for _ in range(3):
            self._at(0.0, self._beat)
        self._at(0.001, lambda: self._send(2_000, is_frame=True))
        self._at(scene.beat_every_s, self._beat_for_ever)
        self._at(0.5, self._frame_for_ever)

    def looks(self, until: float, every_s: float = 0.1) -> Iterator[Look]:
        """The belief at regular times. Can be continued with a later `until`."""
        while self._now + every_s <= until:
            self.run(self._now + every_s)
            believed = self.estimator.estimate(self.device_s)
            if believed is not None:
                yield Look(self._now, believed)

    def run(self, until: float) -> None:
        while self._events and self._events[0].at <= until:
            event = heapq.heappop(self._events)
            self._now = event.at
            event.happen()
        self._now = until

    @property
    def device_s(self) -> float:
        return self._now + DEVICE_START_S + self._scene.device_jump.shift_s(self._now)

    def _service_s(self, at: float) -> float:
        s = self._scene
        return at * (1 + s.service_fast) + s.service_ahead_s + s.service_jump.shift_s(at)

    def _at(self, at: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, _Event(at, next(self._numbers), happen))

    def _frame_for_ever(self) -> None:
        apart_s = self._random.uniform(0.9, 1.1) / self._scene.frames_per_s
        if self._now < self._scene.silent_from:
            self._at(self._now + apart_s, self._frame_for_ever)
        if self._in_flight < self._scene.window:
            self._send(self._random.randint(*self._scene.frame_bytes), is_frame=True)

    def _beat_for_ever(self) -> None:
        self._at(self._now + self._scene.beat_every_s, self._beat_for_ever)
        self._beat()

    def _beat(self) -> None:
        self._send(BEAT_BYTES, is_frame=False)

    def _send(self, size_bytes: int, *, is_frame: bool) -> None:
        message = self.estimator.sent(size_bytes, self.device_s)
        arrived_at = self._carry(size_bytes)
        received_s = self._service_s(arrived_at)
        back_s = self._scene.rtt_s / 2 + self._jitter_s()
        if not is_frame:
            self._at(
                arrived_at + back_s,
                lambda: self.estimator.heartbeat(message, received_s, self.device_s),
            )
            return
        self._in_flight += 1
        answer_s = self._random.uniform(*self._scene.answer_s)
        self._at(
            arrived_at + answer_s + back_s, lambda: self._answer(message, received_s, answer_s)
        )

    def _answer(self, message: int, received_s: float, answer_s: float) -> None:
        self._in_flight -= 1
        self.estimator.received(message, received_s, answer_s)

    def _carry(self, size_bytes: int) -> float:
        self._free_at = self.rates.served_at(max(self._free_at, self._now), size_bytes * 8)
        arrived_at = self._free_at + self._scene.rtt_s / 2 + self._jitter_s()
        begin, end = self._scene.held_back
        self._arrived_at = max(arrived_at, self._arrived_at)
        if begin <= self._arrived_at < end:
            self._arrived_at = end
        return self._arrived_at

    def _jitter_s(self) -> float:
        return abs(self._random.gauss(0.0, self._scene.jitter_s))
