"""The estimator that others use: moving averages of bandwidth and round trip time, nothing more.

Each message whose arrival is known gives one sample of the bandwidth: its bits over the time for
which the link served it. Samples go into an exponentially weighted moving average with the weights
of RFC 6298 for the round trip (1/8) and 1/4 for the bandwidth. It knows no uncertainty, notices no
change of the link as such, and learns nothing from an answer that does not come.
"""

from collections import deque
from dataclasses import dataclass

from isthmus_edge.link import LinkEstimate

__all__ = ["EwmaEstimator"]

_BANDWIDTH_WEIGHT = 1 / 4
_RTT_WEIGHT = 1 / 8
_TELLING_BYTES = 1000  # a smaller message says nothing about bandwidth
_LEAST_SERVICE_S = 1e-3
_TRANSITS = 16


@dataclass(frozen=True, slots=True)
class _Message:
    sent_at: float
    size_bytes: int


class EwmaEstimator:
    """An `Estimator` of edge/link: belief without spread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new connection begins: it may take another road."""
        self._messages: dict[int, _Message] = {}
        self._sent = 0
        self._bandwidth_bps: float | None = None
        self._rtt_s: float | None = None
        self._transits_s: deque[float] = deque(maxlen=_TRANSITS)
        self._left_link_at = float("-inf")  # by the service's clock
        self._learned_at = float("-inf")

    def sent(self, size_bytes: int, now: float) -> int:
        """A message goes out; the returned number names it from here on."""
        self._sent += 1
        self._messages[self._sent] = _Message(now, size_bytes)
        return self._sent

    def received(self, message: int, received_s: float, answered_after_s: float = 0.0) -> None:
        """The service had all of it at `received_s` by its own clock, and answered later."""
        known = self._messages.pop(message, None)
        if known is not None:
            self._learn(known, received_s)

    def heartbeat(self, message: int, received_s: float, now: float, held_s: float = 0.0) -> None:
        """A tiny message came back; the service had held it for `held_s`."""
        known = self._messages.pop(message, None)
        if known is None:
            return
        round_trip_s = max(now - known.sent_at - held_s, 0.0)
        if self._rtt_s is None:
            self._rtt_s = round_trip_s
        self._rtt_s += _RTT_WEIGHT * (round_trip_s - self._rtt_s)
        self._transits_s.append(received_s - known.sent_at)
        self._left_link_at = max(self._left_link_at, received_s)

    def lost(self, message: int) -> None:
        """No answer is expected any more."""
        self._messages.pop(message, None)

    def withdrawn(self, message: int) -> None:
        """It was taken back before it was on the link."""
        self._messages.pop(message, None)

    def estimate(self, now: float) -> LinkEstimate | None:
        """The present averages, or None before there are any."""
        if self._bandwidth_bps is None or self._rtt_s is None:
            return None
        age_s = max(now - self._learned_at, 0.0)
        return LinkEstimate(self._bandwidth_bps, self._rtt_s * 1e3, age_s=age_s)

    def backlog_s(self) -> float:
        """How long the link should need for all that was sent and not acknowledged."""
        if self._bandwidth_bps is None:
            return 0.0
        return sum(m.size_bytes for m in self._messages.values()) * 8 / self._bandwidth_bps

    def queue_s(self, now: float) -> float:
        """How long a message that is sent at `now` would wait until the link is free."""
        if self._bandwidth_bps is None or not self._messages:
            return 0.0
        oldest = next(iter(self._messages.values()))
        return max(oldest.sent_at + self.backlog_s() - now, 0.0)

    def _learn(self, message: _Message, received_s: float) -> None:
        """The least transit of the last heartbeats holds clock difference and one-way delay."""
        is_overtaken = received_s < self._left_link_at  # answers come in any order
        if not self._transits_s or message.size_bytes < _TELLING_BYTES or is_overtaken:
            return
        arrives_s = message.sent_at + min(self._transits_s)  # had it no bytes to carry
        service_s = received_s - max(arrives_s, self._left_link_at)
        self._left_link_at = max(self._left_link_at, received_s)
        self._learned_at = message.sent_at
        sample_bps = message.size_bytes * 8 / max(service_s, _LEAST_SERVICE_S)
        if self._bandwidth_bps is None:
            self._bandwidth_bps = sample_bps
        self._bandwidth_bps += _BANDWIDTH_WEIGHT * (sample_bps - self._bandwidth_bps)
