"""The link estimator: bandwidth and round trip time, learned from the frames themselves.

Model: a message of b bits that was sent at s (device clock) and received at r (service clock) has
left the link at a = r - f, where f is the *transit* r - s of a tiny message that found the link
idle: the median of the last few. f holds the unknown difference of the two clocks, the one-way
delay and what the machines usually add, so no clocks need to agree. The link is first in, first
out: it served the message for a - max(s, a of the message before). Bandwidth is bits over service
time. (Packet dispersion, Keshav 1991, with the queueing seen by relative one-way delays as in Jain
and Dovrolis 2003.)

Acknowledgements come in any order, because a frame is acknowledged by its answer and a heartbeat
at once; they are therefore put back into the order of sending before anything is learned.

No socket and no clock in here: times come with the events.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

__all__ = ["LinkEstimate", "LinkEstimator"]

_SAMPLES = 12
_IDLE_BEATS = 7
_OTHER_ROUTE = 3  # idle heartbeats in a row that differ from the usual: the route has changed
_ANSWER_TIMES = 8
_TELLING_SAMPLES = 3  # as many in a row, further off than …
_CHANGE = 1.35  # … this factor …
_APART = 1.1  # each of them alone
_NOISE_S = 0.012  # … and by more than a busy machine delays a time stamp: the link has changed
_LEAST_SERVICE_S = 1e-3  # a shorter one is within the noise: never believe it
_TELLING_BYTES = 1000  # a smaller message says nothing about bandwidth
_ANSWER_SLACK_S = 0.05
_OVERTAKEN = 64  # acknowledged messages behind one that is not: its answer will never come


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What is believed of a link that is up."""

    bandwidth_bps: float
    rtt_ms: float

    def transfer_ms(self, size_bytes: float) -> float:
        """How long `size_bytes` occupy the link."""
        return size_bytes * 8e3 / self.bandwidth_bps


@dataclass(slots=True)
class _Message:
    sent_at: float
    size_bytes: int
    received_s: float | None = None
    back_at: float | None = None  # for heartbeats


@dataclass(frozen=True, slots=True)
class _Sample:
    """`span_s` is the transit of a message that found the link idle, else the spacing to the
    message before it, which needs no transit taken off."""

    bits: float
    span_s: float
    found_idle: bool

    def service_s(self, transit_s: float) -> float:
        return max(self.span_s - transit_s if self.found_idle else self.span_s, _LEAST_SERVICE_S)


class LinkEstimator:
    """One per connection's life; `reset` when a new connection begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: another connection may take another road."""
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)
        self._round_trips_s: deque[float] = deque(maxlen=_IDLE_BEATS)
        self._transits_s: deque[float] = deque(maxlen=_IDLE_BEATS)
        self._answer_times_s: deque[float] = deque(maxlen=_ANSWER_TIMES)
        self._left_link_at = float("-inf")
        self._messages: dict[int, _Message] = {}  # in the order of sending
        self._sent = 0

    def sent(self, size_bytes: int, now: float) -> int:
        """A message goes out at `now` (s); the returned number names it from here on."""
        self._sent += 1
        self._messages[self._sent] = _Message(now, size_bytes)
        return self._sent

    def received(self, message: int, received_s: float, answered_after_s: float = 0.0) -> None:
        """The service had the whole message at `received_s` by its clock, and answered later."""
        self._answer_times_s.append(answered_after_s)
        self._acknowledge(message, received_s)

    def heartbeat(self, message: int, received_s: float, now: float) -> None:
        """A tiny message came back at `now`: it tells round trip time and transit."""
        known = self._messages.get(message)
        if known is not None:
            known.back_at = now
            self._acknowledge(message, received_s)

    def lost(self, message: int) -> None:
        """No answer is expected any more."""
        self._messages.pop(message, None)
        self._learn_in_order()

    def estimate(self, now: float) -> LinkEstimate | None:
        """The present belief, or None before the first measurement.

        A message that is still on its way bounds the bandwidth from above: the link cannot be
        faster than the bits that it has failed to deliver so far.
        """
        if not self._samples or not self._round_trips_s:
            return None
        rtt_s = median_low(self._round_trips_s)
        bandwidth = self._believed_bps()
        allowance_s = rtt_s + max(self._answer_times_s, default=0.0) + _ANSWER_SLACK_S
        for message in self._still_travelling():
            waited_s = now - max(message.sent_at, self._left_link_at) - allowance_s
            bits = message.size_bytes * 8
            if message.size_bytes >= _TELLING_BYTES and waited_s > bits / bandwidth:
                bandwidth = bits / waited_s
        return LinkEstimate(max(bandwidth, 1.0), rtt_s * 1e3)

    def backlog_s(self) -> float:
        """How long the link should need for all that was sent and not acknowledged."""
        if not self._samples:
            return 0.0
        waiting = sum(m.size_bytes for m in self._messages.values() if m.received_s is None)
        return waiting * 8 / self._believed_bps()

    def queue_s(self, now: float) -> float:
        """How long a message that is sent at `now` would wait until the link is free."""
        if not self._samples:
            return 0.0
        bandwidth, free_at = self._believed_bps(), min(self._left_link_at, now)
        for message in reversed(self._still_travelling()):
            free_at = max(free_at, message.sent_at) + message.size_bytes * 8 / bandwidth
        return max(free_at - now, 0.0)

    def _believed_bps(self) -> float:
        return sum(s.bits for s in self._samples) / self._served_s(self._samples)

    def _served_s(self, samples: Iterable[_Sample]) -> float:
        transit_s = self._transit_s()
        return sum(s.service_s(transit_s) for s in samples)

    def _transit_s(self) -> float:
        return median_low(self._transits_s)

    def _still_travelling(self) -> list[_Message]:
        """Messages that may not have arrived: nothing sent after them is known to have."""
        travelling: list[_Message] = []
        for message in reversed(self._messages.values()):
            if message.received_s is not None:
                break
            travelling.append(message)
        return travelling

    def _acknowledge(self, message: int, received_s: float) -> None:
        known = self._messages.get(message)
        if known is not None:
            known.received_s = received_s
            self._learn_in_order()

    def _learn_in_order(self) -> None:
        while self._messages:
            number, message = next(iter(self._messages.items()))
            if message.received_s is None and len(self._messages) <= _OVERTAKEN:
                return
            del self._messages[number]
            if message.received_s is not None:
                self._learn(message, message.received_s)

    def _learn(self, message: _Message, received_s: float) -> None:
        found_idle = message.sent_at >= self._left_link_at
        if message.back_at is not None and (found_idle or not self._transits_s):
            self._note_idle(message.back_at - message.sent_at, received_s - message.sent_at)
        if not self._transits_s:
            return
        left_at, before_at = received_s - self._transit_s(), self._left_link_at
        self._left_link_at = max(left_at, before_at)
        if message.size_bytes < _TELLING_BYTES:
            return
        span_s = received_s - message.sent_at if found_idle else left_at - before_at
        sample = _Sample(message.size_bytes * 8.0, span_s, found_idle)
        self._samples.append(sample)
        self._forget_another_link()

    def _note_idle(self, round_trip_s: float, transit_s: float) -> None:
        self._round_trips_s.append(round_trip_s)
        self._transits_s.append(transit_s)
        usual_s, last = self._transit_s(), list(self._transits_s)[-_OTHER_ROUTE:]
        if all(t > usual_s + _NOISE_S for t in last) or all(t < usual_s - _NOISE_S for t in last):
            # Another route: what was usual before does not count any more.
            for times in (self._round_trips_s, self._transits_s):
                newest = list(times)[-_OTHER_ROUTE:]
                times.clear()
                times.extend(newest)

    def _forget_another_link(self) -> None:
        """Drop the older samples if the newest ones, together and each alone, belie them.

        Together, because a time stamp that came late makes one sample slow and the next one fast.
        """
        older, newest = (
            list(self._samples)[:-_TELLING_SAMPLES],
            list(self._samples)[-_TELLING_SAMPLES:],
        )
        if not older:
            return
        seconds_per_bit = self._served_s(older) / sum(s.bits for s in older)
        expected = [s.bits * seconds_per_bit for s in newest]
        took = [s.service_s(self._transit_s()) for s in newest]
        by_s = max(sum(expected) * (_CHANGE - 1), _NOISE_S)
        pairs = list(zip(took, expected, strict=True))
        slower = all(t > e * _APART for t, e in pairs) and sum(took) > sum(expected) + by_s
        by_s = max(sum(expected) * (1 - 1 / _CHANGE), _NOISE_S)
        faster = all(t < e / _APART for t, e in pairs) and sum(took) < sum(expected) - by_s
        if slower or faster:
            self._samples.clear()
            self._samples.extend(newest)
