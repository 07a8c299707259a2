"""What the link's bench finds: what was asked for, beside what was measured."""

from dataclasses import dataclass
from statistics import median

__all__ = ["AskedMeasured", "HalfOpenRow", "JitterRow", "StallRow", "TraceRow"]


@dataclass(frozen=True, slots=True)
class AskedMeasured:
    """One figure in several runs, in the unit of what was asked."""

    asked: float
    measured: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the runs."""
        return median(self.measured)

    @property
    def spread(self) -> float:
        """Largest minus smallest."""
        return max(self.measured) - min(self.measured)

    @property
    def error(self) -> float:
        """Median minus asked, as a share of what was asked (above 0)."""
        return self.median / self.asked - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterRow:
    """How much longer round trips took than without jitter, in ms.

    Mean and standard deviation of all; `error_ms` is the median over single round trips of how far
    each was from its own draws.
    """

    jitter_ms: float
    pings: int
    asked_mean_ms: float
    mean_ms: float
    asked_deviation_ms: float
    deviation_ms: float
    error_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StallRow:
    """Stalls seen in some seconds, and the mean number that was asked for."""

    seconds: float
    asked_count: float
    count: int
    length_ms: AskedMeasured


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpenRow:
    """Bytes given to silenced connections, what came out of them, and whether it ended well.

    `after_bytes` of `after_sent_bytes` passed on a new connection once it was switched off;
    `refused` of `refuse_tries` connections were broken while it refused.
    """

    sent_bytes: int
    passed_bytes: int
    after_sent_bytes: int
    after_bytes: int
    refuse_tries: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """A replay with a queue in front: what the trace's integral asks for, second by second.

    Errors are shares of the trace's mean rate: mean and worst over the seconds.
    """

    name: str
    asked_mbit: tuple[float, ...]
    delivered_mbit: tuple[float, ...]

    @property
    def total_error(self) -> float:
        """All that was delivered against all that was asked, as a share of the latter."""
        return sum(self.delivered_mbit) / sum(self.asked_mbit) - 1

    @property
    def mean_error(self) -> float:
        """Mean absolute error of a second."""
        return sum(self._errors()) / sum(self.asked_mbit)

    @property
    def worst_error(self) -> float:
        """Largest absolute error of a second."""
        return max(self._errors()) * len(self.asked_mbit) / sum(self.asked_mbit)

    def _errors(self) -> list[float]:
        pairs = zip(self.asked_mbit, self.delivered_mbit, strict=True)
        return [abs(delivered - asked) for asked, delivered in pairs]
