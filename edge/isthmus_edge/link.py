"""The link estimator: bandwidth and round trip time, learned from the frames themselves.

Model: a message of b bits that was sent at s (device clock) and received at r (service clock) has
left the link at a = r - f, where f is the *transit floor*: the least r - s ever seen of a tiny
message. f holds the unknown difference of the two clocks and the one-way delay, so no clocks need
to agree. The link served the message for a - max(s, a of the message before), because messages
queue behind each other; bandwidth is bits over that time. (Packet dispersion, Keshav 1991, with
the queueing seen by relative one-way delays as in Jain and Dovrolis 2003.)

No socket and no clock in here: times come with the events.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["LinkEstimate", "LinkEstimator"]

_SAMPLES = 12
_RTT_SAMPLES = 16
_CHANGE = 1.35  # two samples in a row further off than this: the link has changed
_FLOOR_LEAK = 1e-4  # the transit floor may rise 0.1 ms a second: clocks drift, routes change
_LEAST_SERVICE_S = 2e-4  # timers cannot tell less
_ANSWER_SLACK_S = 0.1  # what the service may need before silence says something about the link
_TELLING_BYTES = 1000  # the silence about a smaller message says nothing about bandwidth


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What is believed of a link that is up."""

    bandwidth_bps: float
    rtt_ms: float

    def transfer_ms(self, size_bytes: float) -> float:
        """How long `size_bytes` occupy the link."""
        return size_bytes * 8e3 / self.bandwidth_bps


@dataclass(frozen=True, slots=True)
class _Sample:
    bits: float
    service_s: float

    @property
    def bandwidth_bps(self) -> float:
        return self.bits / self.service_s


class LinkEstimator:
    """One per connection's life; `reset` when a new connection begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: another connection may take another road."""
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)
        self._round_trips_ms: deque[float] = deque(maxlen=_RTT_SAMPLES)
        self._floor_s: float | None = None
        self._floor_at = 0.0
        self._left_link_at = float("-inf")
        self._outstanding: dict[int, tuple[float, int]] = {}
        self._next_message = 0

    def sent(self, size_bytes: int, now: float) -> int:
        """A message goes out at `now` (s); the returned number names it in `received`."""
        self._next_message += 1
        self._outstanding[self._next_message] = (now, size_bytes)
        return self._next_message

    def received(self, message: int, received_s: float) -> None:
        """The service says it had the whole message at `received_s`, by its own clock."""
        if message not in self._outstanding:
            return
        sent_at, size_bytes = self._outstanding.pop(message)
        if self._floor_s is None:
            return
        left_at = received_s - self._floor_s
        service_s = left_at - max(sent_at, self._left_link_at)
        self._left_link_at = max(left_at, self._left_link_at)
        self._learn(_Sample(size_bytes * 8.0, max(service_s, _LEAST_SERVICE_S)))

    def heartbeat(self, message: int, received_s: float, now: float) -> None:
        """A tiny message came back at `now`: it tells round trip time and transit floor."""
        if message not in self._outstanding:
            return
        sent_at, _ = self._outstanding.pop(message)
        self._round_trips_ms.append((now - sent_at) * 1e3)
        transit_s = received_s - sent_at
        if self._floor_s is None:
            self._floor_s = transit_s
        else:
            risen = self._floor_s + (now - self._floor_at) * _FLOOR_LEAK
            self._floor_s = min(risen, transit_s)
        self._floor_at = now

    def lost(self, message: int) -> None:
        """No answer is expected any more."""
        self._outstanding.pop(message, None)

    def estimate(self, now: float) -> LinkEstimate | None:
        """The present belief, or None before the first measurement.

        A message that is still on its way bounds the bandwidth from above: the link cannot be
        faster than the bits that it has failed to deliver so far.
        """
        if not self._samples or not self._round_trips_ms:
            return None
        bandwidth = sum(s.bits for s in self._samples) / sum(s.service_s for s in self._samples)
        rtt_ms = min(self._round_trips_ms)
        for sent_at, size_bytes in self._outstanding.values():
            waited_s = now - max(sent_at, self._left_link_at) - 2 * rtt_ms / 1e3 - _ANSWER_SLACK_S
            if size_bytes >= _TELLING_BYTES and waited_s > size_bytes * 8 / bandwidth:
                bandwidth = size_bytes * 8 / waited_s
        return LinkEstimate(max(bandwidth, 1.0), rtt_ms)

    def backlog_bytes(self) -> int:
        """Bytes sent of which nothing has been heard."""
        return sum(size for _, size in self._outstanding.values())

    def _learn(self, sample: _Sample) -> None:
        if len(self._samples) >= 2:
            older = list(self._samples)[:-1]
            believed = sum(s.bits for s in older) / sum(s.service_s for s in older)
            ratios = [s.bandwidth_bps / believed for s in (self._samples[-1], sample)]
            if min(ratios) > _CHANGE or max(ratios) < 1 / _CHANGE:
                last = self._samples[-1]
                self._samples.clear()
                self._samples.append(last)
        self._samples.append(sample)
