"""When a frame that a device sends has arrived: bytes over a trace, one frame after the other."""

from bisect import bisect_left, bisect_right
from itertools import accumulate

from isthmus import ConfigError
from isthmus_bench.traces import Trace

__all__ = ["Road", "Uplink"]


class Road:
    """A trace as bits that have passed by each moment; many devices may use it.

    ConfigError of a trace on which nothing ever passes.
    """

    def __init__(self, trace: Trace) -> None:
        self.one_way_s = trace.rtt_ms / 2e3
        self.duration_s = trace.duration_s
        self._times_s = (*trace.times_s, trace.duration_s)
        steps = zip(trace.mbps, trace.times_s, self._times_s[1:], strict=True)
        self._bits = (0.0, *accumulate(mbps * 1e6 * (end - begin) for mbps, begin, end in steps))
        if not self._bits[-1] > 0:
            raise ConfigError(f"trace {trace.name}: nothing ever passes; give one with a rate")

    def passed_at(self, start_s: float, bits: float) -> float:
        """When so many bits have passed that begin at `start_s`."""
        rounds, at_s = divmod(start_s, self.duration_s)
        more, left = divmod(self._bits_by(at_s) + bits, self._bits[-1])
        if not left:  # the end of a round, not the beginning of the next
            more, left = more - 1, self._bits[-1]
        return (rounds + more) * self.duration_s + self._time_of(left)

    def _bits_by(self, at_s: float) -> float:
        row = min(bisect_right(self._times_s, at_s), len(self._times_s) - 1) - 1
        return self._bits[row] + self._share(row, at_s)

    def _share(self, row: int, at_s: float) -> float:
        begin_s, end_s = self._times_s[row : row + 2]
        return (self._bits[row + 1] - self._bits[row]) * (at_s - begin_s) / (end_s - begin_s)

    def _time_of(self, bits: float) -> float:
        row = max(1, bisect_left(self._bits, bits))
        low, high = self._bits[row - 1 : row + 1]
        begin_s, end_s = self._times_s[row - 1 : row + 1]
        return begin_s + (end_s - begin_s) * (bits - low) / (high - low)


class Uplink:
    """One device's link, `offset_s` into the trace at the beginning."""

    def __init__(self, road: Road, offset_s: float) -> None:
        self._road, self._offset_s = road, offset_s
        self._free_s = 0.0

    def arrives_at(self, now_s: float, count: int) -> float:
        """When `count` bytes that are sent now have arrived, after all that were sent before."""
        start_s = max(now_s, self._free_s) + self._offset_s
        self._free_s = self._road.passed_at(start_s, count * 8) - self._offset_s
        return self._free_s + self._road.one_way_s
