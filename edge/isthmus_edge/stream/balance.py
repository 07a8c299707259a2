"""When a device looks at another service, and when it moves there: loads and times in, words out.

The device hears its own service's load all the time, and that of another one when it looks:

    the first stream has begun -> a look within seconds, at one other service
    one was lost, and the next has begun -> a look within half a minute
    looked, nothing better -> the next look after a rest, twice as long as the one before
    the own queue stays long, or many devices have come -> the next look is near again
    looked, clearly better -> it moves, by lot; the next rest is longer, too

Two choices and the less loaded of them are nearly as even as knowing all (Mitzenmacher 2001). All
devices of a service may see the same empty neighbour at one time: so each of them moves only with
the probability that makes the two even. And one that comes counts as load there already, with a
margin, or two devices would swap for ever.

All devices of a service lose it at one moment, and those of the others see them come: each draws
when it looks out of a time that is long enough for so many, or all would ask at once.

Nothing here knows a socket or a clock; `now` is the device's monotonic clock, in seconds.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from random import Random

FIRST_LOOK_S = (0.5, 2.0)  # after the first stream has begun, for it measures its link first
SPREAD_S = 30.0  # after one that was lost, the first look is in so long a time …
LOOKS_PER_S = 40.0  # … and of one service's devices so many look where all have a reason to
LEAST_REST_S = 4.0  # between two looks, on average; it doubles …
MOST_REST_S = 300.0  # … up to this
PRESSED_REST_S = 30.0  # … or to this, while the own queue is long
PRESSED_MS = 20.0  # a queue that is longer …
PRESSED_S = 2.0  # … for so long is a reason to look
AGAIN_S = 60.0  # a queue that comes back within this was never gone
CROWDED = 1.5  # so many times the devices that there were at the last look are one, too
CLEARLY_MS = 10.0  # a queue is shorter by more than this …
CLEARLY = 0.5  # … and less than this share of the own one, or the other is no better
MARGIN = 0.2  # of the own load: what stays less even than this is even enough

__all__ = ["Balance", "Better", "Load", "better"]


@dataclass(frozen=True, slots=True)
class Load:
    """Of one service: what a frame waits there, and how many devices it serves, this one counted
    (0 where it does not say)."""

    queue_ms: float
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Better:
    """Another service is less loaded: `share` of the devices here should go there, and why."""

    share: float
    why: str


def better(own: Load, other: Load) -> Better | None:
    """Whether `other`, which counts this device already, is clearly less loaded than `own`."""
    if _has_shorter_queue(own, other):
        why = f"frames wait {own.queue_ms:.0f} ms here, {other.queue_ms:.0f} ms there"
        return Better((own.queue_ms - other.queue_ms) / (2 * own.queue_ms), why)
    if other.queue_ms <= CLEARLY_MS and 0 < other.streams <= (1 - MARGIN) * own.streams:
        others = other.streams - 1
        why = f"{own.streams} devices are here, {others} there"
        return Better((own.streams - others) / (2 * own.streams), why)
    return None


def _has_shorter_queue(own: Load, other: Load) -> bool:
    """Clearly so, also when this device has brought its share of the own queue there."""
    brought_ms = own.queue_ms / own.streams if own.streams else 0.0
    return (
        own.queue_ms - other.queue_ms > CLEARLY_MS
        and other.queue_ms < CLEARLY * own.queue_ms
        and other.queue_ms + brought_ms <= (1 - MARGIN) * own.queue_ms
    )


class Balance:
    """One device's: what it has heard of its service, and when it looks again."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._queues: deque[tuple[float, float]] = deque()  # when, ms: of the last PRESSED_S
        self._streams = 0
        self._streams_then = 0  # at the last look
        self._calm_at = -inf  # when the queue was last short
        self._pressed_at = -inf  # when it had last been long for so long
        self._least_s = self._rest_s = LEAST_REST_S
        self._looked_at = -inf
        self._look_at = inf
        self._was_lost = False  # the last stream, and no look was made since
        self._is_first = True  # no stream has begun yet

    def connected(self, now: float, *, moved: bool) -> None:
        """A stream has begun: of the device's choice, or because another one was lost."""
        self._queues.clear()
        self._streams = self._streams_then = 0
        self._calm_at = now
        self._was_lost, self._is_first = not (moved or self._is_first), False
        if moved:
            self._least_s = min(2 * self._least_s, MOST_REST_S)
            self._rest_s = max(self._rest_s, self._least_s)
            self._rest(now)
            return
        soonest_s, latest_s = FIRST_LOOK_S
        self._rest_s = self._least_s
        if self._was_lost:
            self._rest_s, latest_s = max(self._least_s, SPREAD_S / 2), SPREAD_S
        first_at = now + self._random.uniform(soonest_s, latest_s)
        self._look_at = max(first_at, self._looked_at + self._least_s)

    def told(self, load: Load, now: float) -> None:
        """The own service has said its load."""
        self._queues.append((now, load.queue_ms))
        self._forget_older(now)
        if load.queue_ms <= PRESSED_MS:
            self._calm_at = now
        elif now - self._calm_at >= PRESSED_S:
            if now - self._pressed_at > AGAIN_S:
                self._hurry(now)
            self._pressed_at = now
        if load.streams:
            self._streams = load.streams
            self._streams_then = self._streams_then or load.streams
        if self._streams > CROWDED * self._streams_then + 1:
            self._streams_then = self._streams
            self._hurry(now)

    def is_due(self, now: float) -> bool:
        """Whether it is time for a look."""
        return now >= self._look_at

    def looks(self, now: float) -> None:
        """A look begins; `saw` or `saw_none` says how it ends."""
        self._looked_at, self._look_at = now, inf
        self._was_lost = False
        self._streams_then = self._streams

    def saw(self, other: Load, now: float) -> Better | None:
        """What a look has shown: a better place if this device is to move there, else None."""
        found = better(self._own(now), other)
        if found is None:
            self._least_s = LEAST_REST_S
            self.saw_none(now)
            return None
        self._rest(now)
        return found if self._random.random() < found.share else None

    def saw_none(self, now: float) -> None:
        """There is no other one, or it let nobody look, or it is no better."""
        is_pressed = now - self._pressed_at <= AGAIN_S
        most_s = PRESSED_REST_S if is_pressed else MOST_REST_S
        self._rest_s = min(2 * self._rest_s, most_s)
        self._rest(now)

    def _own(self, now: float) -> Load:
        """The shortest queue of late: one that was long for a moment only is none."""
        self._forget_older(now)
        return Load(min((ms for _, ms in self._queues), default=0.0), self._streams)

    def _hurry(self, now: float) -> None:
        """It is worse than it was: look soon, but not all devices at once."""
        if self._was_lost:  # then it is for all of them, and their looks are spread already
            return
        within_s = max(self._least_s, min(self._streams / LOOKS_PER_S, SPREAD_S))
        self._rest_s = max(self._least_s, within_s / 2)
        soon = max(now, self._looked_at + self._least_s)
        if self._look_at < inf:  # else one is under way
            self._look_at = min(self._look_at, soon + self._random.uniform(0, within_s))

    def _rest(self, now: float) -> None:
        self._look_at = now + self._rest_s * self._random.uniform(0.5, 1.5)

    def _forget_older(self, now: float) -> None:
        while self._queues and self._queues[0][0] < now - PRESSED_S:
            self._queues.popleft()
