"""A link's rate over time."""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

from isthmus.errors import ConfigError

__all__ = ["Trace"]


@dataclass(frozen=True, slots=True)
class Trace:
    """A link's rate over time, in Mbit/s, and the round trip time that goes with it.

    Row i holds from `times_s[i]` to `times_s[i + 1]`; the last row lasts as long as the one before
    it (a single row: 1 s). The first time is 0. Whoever plays a trace repeats it from the start.
    Raises `ConfigError`.
    """

    name: str
    times_s: tuple[float, ...]
    mbps: tuple[float, ...]
    rtt_ms: float

    def __post_init__(self) -> None:
        if not self.times_s or len(self.times_s) != len(self.mbps):
            raise ConfigError(
                f"trace {self.name}: {len(self.times_s)} times and {len(self.mbps)} rates; give as"
                " many of one as of the other, and one at least"
            )
        if self.times_s[0] != 0:
            raise ConfigError(
                f"trace {self.name}: begins at {self.times_s[0]} s; give times that begin at 0"
            )
        for before_s, at_s in zip(self.times_s, self.times_s[1:], strict=False):
            if not before_s < at_s < math.inf:
                raise ConfigError(
                    f"trace {self.name}: {at_s} s comes after {before_s} s; give times that rise"
                )
        for at_s, mbps in zip(self.times_s, self.mbps, strict=True):
            if not 0 <= mbps < math.inf:
                raise ConfigError(
                    f"trace {self.name}: the rate at {at_s} s is {mbps}; give Mbit/s of 0 or more"
                )
        if not 0 <= self.rtt_ms < math.inf:
            raise ConfigError(
                f"trace {self.name}: rtt_ms is {self.rtt_ms}; give milliseconds of 0 or more"
            )

    @property
    def duration_s(self) -> float:
        """The length of one round."""
        if len(self.times_s) == 1:
            return 1.0
        return round(2 * self.times_s[-1] - self.times_s[-2], 9)

    def mean_mbps(self) -> float:
        """The mean rate of one round."""
        ends_s = (*self.times_s[1:], self.duration_s)
        mbit = math.fsum(
            mbps * (end_s - begin_s)
            for begin_s, end_s, mbps in zip(self.times_s, ends_s, self.mbps, strict=True)
        )
        return mbit / self.duration_s

    def mbps_at(self, t: float) -> float:
        """The rate `t` seconds after the start, in any round."""
        return self.mbps[bisect_right(self.times_s, t % self.duration_s) - 1]

    def excerpt(self, start_s: float, seconds: float) -> "Trace":
        """What a player shows in the `seconds` from `start_s` on, as a trace that begins at 0.

        May run over the end into the next round. Its last row is split in two where that is needed
        to make it last for exactly `seconds`.
        """
        if not (start_s >= 0 and 0 < seconds < math.inf):
            raise ConfigError(
                f"trace {self.name}: an excerpt of {seconds} s from {start_s} s; give a start of 0"
                " or later and a length above 0"
            )
        times_s, mbps = [0.0], [0.0]
        first_round = math.floor(start_s / self.duration_s)
        last_round = math.floor((start_s + seconds) / self.duration_s)
        for number in range(max(0, first_round - 1), last_round + 1):
            for row_s, rate in zip(self.times_s, self.mbps, strict=True):
                at_s = round(number * self.duration_s + row_s - start_s, 9)
                if at_s <= 0:
                    mbps[0] = rate
                elif at_s < seconds:
                    times_s.append(at_s)
                    mbps.append(rate)
        _end_at(seconds, times_s, mbps)
        name = f"{self.name}[{start_s:g}+{seconds:g}s]"
        return Trace(name, tuple(times_s), tuple(mbps), self.rtt_ms)

    def scaled(self, factor: float) -> "Trace":
        """The same shape at `factor` times the rate."""
        if not 0 <= factor < math.inf:
            raise ConfigError(f"trace {self.name}: scaled by {factor}; give a factor of 0 or more")
        if factor == 1:
            return self
        return replace(
            self, name=f"{self.name}x{factor:g}", mbps=tuple(factor * mbps for mbps in self.mbps)
        )


def _end_at(end_s: float, times_s: list[float], mbps: list[float]) -> None:
    """Split the last row, if need be, so that the rule for the last row ends it at `end_s`."""
    last_s = end_s - times_s[-1]
    before_s = times_s[-1] - times_s[-2] if len(times_s) > 1 else 1.0
    if not math.isclose(last_s, before_s, rel_tol=1e-9, abs_tol=1e-9):
        times_s.append(end_s - last_s / 2)
        mbps.append(mbps[-1])
