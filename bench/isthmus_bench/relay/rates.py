"""The arithmetic of a slow link: when do bytes leave it? No clock and no socket in here.

A direction of the link is a queue served at a rate that may change at any moment. Bytes that come
in at `start_s` have left when the integral of the rate from `start_s` on reaches their size. That
integral is asked again after every change of the rate, so bytes that are half way through are
neither served twice nor forgotten, and a timer that fires late costs nothing.

All times are seconds of one monotonic clock, all rates are bit/s of TCP payload.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from isthmus_bench.traces import Trace

__all__ = ["ConstantRate", "Rate", "RateHistory", "TraceRate", "arrival_s", "chunk_bytes"]

# How far the link's clock may run behind, so that a late timer does not slow a busy link.
_LAG_S = 0.100
# Link time in one chunk: short enough for prompt changes, long enough for 200 Mbit/s in Python.
_CHUNK_S = 0.002
_CHUNK_LIMITS_BYTES = (1448, 65536)


class Rate(Protocol):
    """The service rate of one direction as a function of time: a constant or a trace."""

    def bps_at(self, time_s: float) -> float:
        """The rate at one moment."""
        ...

    def bits_between(self, start_s: float, end_s: float) -> float:
        """What passes in a window: the integral of the rate."""
        ...

    def departure_s(self, start_s: float, bits: float) -> float:
        """When the integral from `start_s` reaches `bits` (> 0); `math.inf` if it never does."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """A rate that stays; 0 passes nothing, infinity passes everything at once."""

    bps: float

    def bps_at(self, time_s: float) -> float:
        """The rate, whatever the time."""
        return self.bps

    def bits_between(self, start_s: float, end_s: float) -> float:
        """Rate times width of the window; none in an empty window, however fast the link."""
        return self.bps * (end_s - start_s) if end_s > start_s else 0.0

    def departure_s(self, start_s: float, bits: float) -> float:
        """`start_s + bits / bps`."""
        return start_s + bits / self.bps if self.bps > 0 else math.inf


class TraceRate:
    """A trace that began at `start_s` and repeats for ever; before that, it had always repeated."""

    def __init__(self, trace: Trace, start_s: float) -> None:
        self._trace = trace
        self._start_s = start_s
        self._round_s = trace.duration_s
        ends_s = (*trace.times_s[1:], trace.duration_s)
        rows = zip(trace.times_s, ends_s, trace.mbps, strict=True)
        row_bits = [1e6 * mbps * (end_s - begin_s) for begin_s, end_s, mbps in rows]
        self._bits_by_row = [0.0, *accumulate(row_bits)]  # at the begin of each row, and at the end

    def bps_at(self, time_s: float) -> float:
        """The rate of the row that rules at this moment."""
        return 1e6 * self._trace.mbps_at(time_s - self._start_s)

    def bits_between(self, start_s: float, end_s: float) -> float:
        """Whole rounds plus what lies in the rows at both ends."""
        if end_s <= start_s:
            return 0.0
        if math.isinf(end_s):
            return math.inf if self._bits_by_row[-1] > 0 else 0.0
        first, from_s = self._place(start_s)
        last, until_s = self._place(end_s)
        whole_rounds = (last - first) * self._bits_by_row[-1]
        return max(0.0, whole_rounds + self._bits_until(until_s) - self._bits_until(from_s))

    def departure_s(self, start_s: float, bits: float) -> float:
        """The first moment at which the integral from `start_s` is `bits`."""
        round_bits = self._bits_by_row[-1]
        if round_bits <= 0:
            return math.inf
        first, from_s = self._place(start_s)
        target = self._bits_until(from_s) + bits
        rounds = (
            math.ceil(target / round_bits) - 1
        )  # a target on the edge belongs to the round before
        left = min(round_bits, max(0.0, target - rounds * round_bits))
        row = max(0, bisect_left(self._bits_by_row, left) - 1)
        into_row_s = 0.0
        if self._trace.mbps[row] > 0:
            into_row_s = (left - self._bits_by_row[row]) / (1e6 * self._trace.mbps[row])
        begin_s = self._start_s + (first + rounds) * self._round_s
        return max(start_s, begin_s + self._trace.times_s[row] + into_row_s)

    def _place(self, time_s: float) -> tuple[int, float]:
        """In which round a time falls, and how far into it."""
        rounds, within_s = divmod(time_s - self._start_s, self._round_s)
        return int(rounds), within_s

    def _bits_until(self, within_s: float) -> float:
        """What has passed since the begin of a round."""
        row = bisect_right(self._trace.times_s, within_s) - 1
        row_s = within_s - self._trace.times_s[row]
        return self._bits_by_row[row] + 1e6 * self._trace.mbps[row] * row_s


class RateHistory:
    """Rates that replaced one another: itself a `Rate`, whose past never changes."""

    def __init__(self, rate: Rate) -> None:
        self._since_s = [-math.inf]
        self._rates = [rate]

    def change(self, at_s: float, rate: Rate) -> None:
        """Let `rate` rule from `at_s` on; changes come in the order of their times."""
        assert at_s >= self._since_s[-1], "the past of a link does not change"
        self._since_s.append(at_s)
        self._rates.append(rate)

    def bps_at(self, time_s: float) -> float:
        """The rate at one moment; at the moment of a change, the new one."""
        return self._rates[bisect_right(self._since_s, time_s) - 1].bps_at(time_s)

    def bits_between(self, start_s: float, end_s: float) -> float:
        """The integral over all the rates that ruled within the window."""
        bits, begin_s = 0.0, start_s
        for index in range(bisect_right(self._since_s, start_s) - 1, len(self._rates)):
            until_s = min(self._end_s(index), end_s)
            bits += self._rates[index].bits_between(begin_s, until_s)
            if until_s >= end_s:
                break
            begin_s = until_s
        return bits

    def departure_s(self, start_s: float, bits: float) -> float:
        """When `bits` that start at `start_s` have passed, by the changes known so far."""
        left, begin_s = bits, start_s
        for index in range(bisect_right(self._since_s, start_s) - 1, len(self._rates)):
            end_s = self._end_s(index)
            departure_s = self._rates[index].departure_s(begin_s, left)
            if departure_s <= end_s:
                return departure_s
            left -= self._rates[index].bits_between(begin_s, end_s)
            if left <= 0:  # rounding: the last bit left on the edge of a change
                return end_s
            begin_s = end_s
        return math.inf

    def _end_s(self, index: int) -> float:
        return self._since_s[index + 1] if index + 1 < len(self._since_s) else math.inf


def arrival_s(read_s: float, waiting_since_s: float | None) -> float:
    """Since when a chunk that was read at `read_s` may have been on the link.

    A chunk that lay ready when its predecessor left (`waiting_since_s`) was read late only because
    a timer was late: that time is given back, up to 100 ms. A chunk that had to be waited for
    (`None`) gets no such credit, or short messages after a pause would travel for nothing.
    """
    if waiting_since_s is None:
        return read_s
    return min(read_s, max(waiting_since_s, read_s - _LAG_S))


def chunk_bytes(bps: float) -> int:
    """How much to read at once: about 2 ms of link time, one packet at least."""
    least, most = _CHUNK_LIMITS_BYTES
    return int(max(least, min(most, bps * _CHUNK_S / 8)))
