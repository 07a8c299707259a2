"""The link estimator: bandwidth and round trip time, learned from the traffic itself.

A message of b bits that was sent at s (device clock) and received at r (service clock) left the
link at a = r - f, where f is the *transit* of `road.py`, so no clocks need to agree. The link is
first in, first out (`flight.py`): it served the message for a - max(s, a of the message before).
That is packet dispersion (Keshav 1991) with the queueing seen by relative one-way delays (Jain and
Dovrolis 2003). What b bits in that time say about the bandwidth is weighed in `belief.py`. A
message that should have been acknowledged and is not says something too: see `estimate`.

docs/link.md has the model and its limits. No socket and no clock in here: times come with the
events.
"""

from collections import deque
from dataclasses import dataclass
from math import exp, isfinite

from isthmus_edge.link.belief import Belief, Overdue, Service
from isthmus_edge.link.estimate import LinkEstimate
from isthmus_edge.link.flight import Flight, Message
from isthmus_edge.link.road import Beat, Road

__all__ = ["LinkEstimator"]

_ANSWER_TIMES = 8
_ANSWER_SLACK_S, _ANSWER_SLACK = 0.01, 0.25  # answers are late by this, and this share of theirs
_OVERDUE_AT_MOST = 4  # the oldest say all
_TYPICAL_SHARE = 0.2  # of the newest message in the running mean of sizes
_QUEUED_NOISE = 2**0.5  # two time stamps instead of one
_STALL_S, _STALL = 0.5, 5.0  # a message took so long, and so many times what was expected
_LONGEST_S = 60.0  # longer services and round trips are clocks that were set
_TOO_EARLY_S, _TOO_EARLY_NOISES = 0.05, 6.0  # so much before it was sent: likewise
_CLOCK_BACK_S = 0.5
_STAMP_LIMIT_S = 1e12  # no clock shows 30,000 years


@dataclass(frozen=True, slots=True)
class _Learned:
    at: float
    bandwidth_bps: float


@dataclass(frozen=True, slots=True)
class _Stall:
    """Nothing got through until `ended_at`; before, the link was believed to do so much."""

    ended_at: float
    bandwidth_bps: float


class LinkEstimator:
    """One per connection's life; `reset` when a new connection begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: another connection may take another road."""
        self._belief = Belief()
        self._road = Road()
        self._flight = Flight()
        self._answer_times_s: deque[float] = deque(maxlen=_ANSWER_TIMES)
        self._left_link_at = float("-inf")
        self._busy_until = float("-inf")  # by messages that were lost: nobody knows when they left
        self._stall = _Stall(float("-inf"), 0.0)
        self._told_from = 0  # messages before it have times of a clock that was set since
        self._typical_bits = 0.0
        self._latest = float("-inf")
        self._learned: _Learned | None = None
        self._cached: tuple[float, LinkEstimate] | None = None

    def sent(self, size_bytes: int, now: float) -> int:
        """A message goes out at `now` (s); the returned number names it from here on."""
        if now < self._latest - _CLOCK_BACK_S:
            self._distrust_clocks(now)
        self._latest = now
        self._cached = None
        return self._flight.send(size_bytes, now)

    def received(self, message: int, received_s: float, answered_after_s: float = 0.0) -> None:
        """The service had the whole message at `received_s` by its clock, and answered later."""
        known = self._flight.get(message)
        if known is None:
            return
        if 0 < answered_after_s < _LONGEST_S:
            self._answer_times_s.append(answered_after_s)
        self._acknowledge(known, received_s)

    def heartbeat(self, message: int, received_s: float, now: float, held_s: float = 0.0) -> None:
        """A tiny message came back at `now`: it tells round trip time and transit."""
        known = self._flight.get(message)
        if known is None:
            return
        self._latest = max(now, self._latest)
        took_s = now - known.sent_at
        held_s = min(held_s, took_s) if held_s > 0 else 0.0
        if _is_stamp(received_s) and 0 <= took_s < _LONGEST_S:
            known.beat = Beat(known.sent_at, received_s, now - held_s)
            if self._road.contradicted_by(known.beat):
                self._distrust_clocks(now, known.number)
        self._acknowledge(known, received_s)

    def lost(self, message: int) -> None:
        """No answer is expected any more."""
        known = self._flight.get(message)
        if known is not None:
            known.is_lost = True
            self._learn_in_order()

    def withdrawn(self, message: int) -> None:
        """It was taken back before it was on the link."""
        self._flight.forget(message)
        self._learn_in_order()

    def estimate(self, now: float) -> LinkEstimate | None:
        """The present belief, or None before the first message and the first heartbeat.

        A message that is still on its way bounds the bandwidth from above: the link cannot be
        faster than the bits that it has failed to deliver so far.
        """
        if self._cached is not None and self._cached[0] == now:
            return self._cached[1]
        round_trip_s = self._road.round_trip_s
        if self._learned is None or round_trip_s is None:
            return None
        age_s = max(now - self._learned.at, 0.0)
        ln_bps, spread = self._belief.expect(age_s, self._overdue(now, round_trip_s))
        estimate = LinkEstimate(
            exp(ln_bps), round_trip_s * 1e3, spread, self._road.round_trip_spread_s * 1e3, age_s
        )
        self._cached = (now, estimate)
        return estimate

    def backlog_s(self) -> float:
        """How long the link should need for all that was sent and not acknowledged."""
        if self._learned is None:
            return 0.0
        return self._flight.waiting_bytes() * 8 / self._learned.bandwidth_bps

    def queue_s(self, now: float) -> float:
        """How long a message that is sent at `now` would wait until the link is free."""
        estimate = self.estimate(now)
        if estimate is None:
            return 0.0
        free_at = min(self._left_link_at, now)
        for message in self._flight.travelling():
            served_s = message.size_bytes * 8 / estimate.bandwidth_bps
            free_at = max(free_at, message.sent_at) + served_s
        return max(free_at - now, 0.0)

    def _overdue(self, now: float, round_trip_s: float) -> list[Overdue]:
        """What should have been acknowledged by now, the oldest first.

        While a tiny message hangs, so would one of the usual size: a stall is reported by what it
        would do to that one, not as some bits a second.
        """
        answer_s = max(self._answer_times_s, default=0.0)
        noise_s = _ANSWER_SLACK_S + _ANSWER_SLACK * answer_s
        overdue: list[Overdue] = []
        began_at, bits = self._left_link_at, 0.0
        for message in self._flight.travelling()[:_OVERDUE_AT_MOST]:
            if message.number <= self._told_from:
                continue
            began_at = max(began_at, message.sent_at) if bits == 0 else began_at
            bits += message.size_bytes * 8.0
            waited_s = now - max(began_at, self._busy_until) - round_trip_s - answer_s
            if waited_s > 0:
                overdue.append(Overdue(max(bits, self._typical_bits), waited_s, noise_s))
        return overdue

    def _acknowledge(self, message: Message, received_s: float) -> None:
        if _is_stamp(received_s):
            message.received_s = received_s
        else:
            message.is_lost = True
        self._learn_in_order()

    def _learn_in_order(self) -> None:
        self._cached = None
        for message in self._flight.take_settled(self._latest):
            if message.number < self._told_from:
                continue
            if message.received_s is None:
                self._pass_over(message)
            else:
                self._learn(message, message.received_s)

    def _pass_over(self, message: Message) -> None:
        """It may have occupied the link: twice as long as it should have, to be safe."""
        if self._learned is not None:
            began_at = max(message.sent_at, self._left_link_at, self._busy_until)
            served_s = message.size_bytes * 8 / self._learned.bandwidth_bps
            self._busy_until = began_at + 2 * min(served_s, 1.0)

    def _learn(self, message: Message, received_s: float) -> None:
        found_idle = message.sent_at >= max(self._left_link_at, self._busy_until)
        if message.beat is not None:
            self._road.note(message.beat, found_idle)
        transit_s = self._road.transit_s
        if transit_s is None:
            return
        left_at = received_s - transit_s
        began_at = max(message.sent_at, self._left_link_at)
        noise_s = self._road.noise_s * (1 if found_idle else _QUEUED_NOISE)
        took_s = left_at - began_at
        early_s = max(_TOO_EARLY_S, _TOO_EARLY_NOISES * noise_s)
        if not -early_s < took_s < _LONGEST_S:
            return
        self._left_link_at = max(left_at, self._left_link_at)
        service = Service(message.size_bytes * 8.0, took_s, noise_s)
        telling = not self._was_let_loose(message, service) and message.beat is None
        if telling and message.sent_at >= self._busy_until:
            self._weigh(service, left_at)

    def _was_let_loose(self, message: Message, service: Service) -> bool:
        """Whether it waited in a buffer behind a stall: then it came at once, not by bandwidth."""
        if self._learned is None:
            return False
        believed_bps = self._learned.bandwidth_bps
        if service.took_s > max(_STALL_S, _STALL * service.bits / believed_bps):
            self._stall = _Stall(self._left_link_at, believed_bps)
        elif message.sent_at < self._stall.ended_at:
            return service.took_s < 0.5 * service.bits / self._stall.bandwidth_bps
        return False

    def _weigh(self, service: Service, at: float) -> None:
        passed_s = 0.0 if self._learned is None else max(at - self._learned.at, 0.0)
        self._belief.learn(service, passed_s)
        latest = at if self._learned is None else max(at, self._learned.at)
        self._learned = _Learned(latest, self._belief.median_bps())
        share = _TYPICAL_SHARE if self._typical_bits else 1.0
        self._typical_bits += share * (service.bits - self._typical_bits)

    def _distrust_clocks(self, now: float, number: int | None = None) -> None:
        """A clock was set: what was sent before message `number` cannot be timed any more."""
        self._road.forget_clocks()
        self._told_from = self._flight.last_number if number is None else number
        self._left_link_at = self._busy_until = float("-inf")
        self._stall = _Stall(float("-inf"), 0.0)
        self._latest = now
        if self._learned is not None:
            self._learned = _Learned(min(self._learned.at, now), self._learned.bandwidth_bps)


def _is_stamp(seconds: float) -> bool:
    return isfinite(seconds) and abs(seconds) < _STAMP_LIMIT_S
