"""What the road between device and service takes besides the bandwidth, and how well it is known.

*Transit* is received (service clock) - sent (device clock) of a tiny message on an idle link. It
holds the unknown difference of the clocks, so it may have any sign and size; it moves when a clock
drifts, when one of them jumps, and when the route changes.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median, median_low

__all__ = ["Beat", "Road"]

_KEPT = 15
_OTHER_ROUTE = 3  # idle heartbeats in a row that differ from the usual: the route has changed …
_APART_S = 0.012  # … if by more than a busy machine delays a time stamp
_JUMP_S = 0.05  # a contradiction beyond this is a clock that was set
_STALE_S = 5.0  # without an idle heartbeat: those of the loaded link must do
_NOISE_S, _NOISE_WEIGHT = 1e-3, 3  # assumed before it is measured, with the weight of 3 heartbeats
_LEAST_NOISE_S = 3e-4
_TO_DEVIATION = 1.4826  # from the median absolute deviation


@dataclass(frozen=True, slots=True)
class Beat:
    """A tiny message: device clock, service clock, and device clock less what the service held."""

    sent_at: float
    received_s: float
    back_at: float

    @property
    def round_trip_s(self) -> float:
        """There and back."""
        return self.back_at - self.sent_at

    @property
    def transit_s(self) -> float:
        """There, by two clocks."""
        return self.received_s - self.sent_at


class Road:
    """Round trip time and transit, from heartbeats."""

    def __init__(self) -> None:
        self._idle: deque[Beat] = deque(maxlen=_KEPT)
        self._loaded: deque[Beat] = deque(maxlen=_KEPT)
        self._transit_s: float | None = None
        self._noise_s = _NOISE_S
        self._round_trip_s: float | None = None
        self._round_trip_spread_s = 0.0

    @property
    def transit_s(self) -> float | None:
        """None while nothing is known of the clocks."""
        return self._transit_s

    @property
    def noise_s(self) -> float:
        """Standard deviation of a transit: what the machines add to time stamps."""
        return self._noise_s

    @property
    def round_trip_s(self) -> float | None:
        """What an idle link takes there and back, None before the first heartbeat."""
        return self._round_trip_s

    @property
    def round_trip_spread_s(self) -> float:
        """Standard deviation of one idle round trip."""
        return self._round_trip_spread_s

    def forget_clocks(self) -> None:
        """A clock was set: transits of before say nothing. The round trip time stands."""
        self._idle.clear()
        self._loaded.clear()
        self._transit_s = None

    def contradicted_by(self, beat: Beat) -> bool:
        """Whether a clock jumped: no queue and no route explain this heartbeat.

        Whatever the load, a transit ends before the message is there, and begins after an answer
        that was sent back at once would have had to leave.
        """
        if self._transit_s is None:
            return False
        too_long_s = self._transit_s - beat.transit_s
        too_short_s = beat.received_s - beat.back_at - self._transit_s
        return max(too_long_s, too_short_s) > _JUMP_S

    def note(self, beat: Beat, found_idle: bool) -> None:
        """Learn from a heartbeat. One that queued tells by its way back alone."""
        if found_idle or self._round_trip_s is None:
            self._loaded.clear()
            self._idle.append(beat)
            self._forget_another_route()
            self._measure_round_trip()
            self._set_transit([b.transit_s for b in self._idle])
            return
        self._loaded.append(beat)
        stale = not self._idle or beat.sent_at - self._idle[-1].sent_at > _STALE_S
        if stale:
            # A way back without a queue is the round trip less the transit, by two clocks.
            least_s = max(b.received_s - b.back_at for b in self._loaded) + self._round_trip_s
            self._transit_s = min(least_s, *(b.transit_s for b in self._loaded), beat.transit_s)

    def _set_transit(self, transits_s: list[float]) -> None:
        self._transit_s = median_low(transits_s)
        apart_s = _TO_DEVIATION * median(abs(t - self._transit_s) for t in transits_s)
        self._noise_s = max(_blend(apart_s, _NOISE_S, len(transits_s)), _LEAST_NOISE_S)

    def _measure_round_trip(self) -> None:
        times_s = [b.round_trip_s for b in self._idle]
        middle_s = median_low(times_s)
        apart_s = _TO_DEVIATION * median(abs(t - middle_s) for t in times_s)
        self._round_trip_s = middle_s
        self._round_trip_spread_s = _blend(apart_s, _NOISE_S + 0.1 * middle_s, len(times_s))

    def _forget_another_route(self) -> None:
        usual_s = median_low(b.transit_s for b in self._idle)
        newest = list(self._idle)[-_OTHER_ROUTE:]
        apart = [b.transit_s - usual_s for b in newest]
        if min(apart) > _APART_S or max(apart) < -_APART_S:
            self._idle.clear()
            self._idle.extend(newest)


def _blend(measured: float, assumed: float, count: int) -> float:
    return (measured * count + assumed * _NOISE_WEIGHT) / (count + _NOISE_WEIGHT)
