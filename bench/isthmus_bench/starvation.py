"""How much of its processor time a virtual machine did not get: a caution for its figures."""

from collections.abc import Iterator
from typing import Any

import psutil

STARVED = 0.05  # figures of a run that missed more than this share are not to be trusted

__all__ = ["STARVED", "StolenTime", "caution"]


def caution(stolen_share: float, what: str = "times") -> Iterator[str]:
    """The line of a report that says so, if there is a reason; `what` of it suffers."""
    if stolen_share > STARVED:
        yield (
            f"CAUTION: this machine got {stolen_share:.0%} less processor time than it asked for "
            f"(steal): take {what} with care, or run it again."
        )


class StolenTime:
    """Measures from its making to each reading; a machine that cannot tell reads 0."""

    def __init__(self) -> None:
        self._begin = psutil.cpu_times()

    def share(self) -> float:
        """Stolen time as a share (0-1) of all the processors' time so far."""
        now = psutil.cpu_times()
        total = _total(now) - _total(self._begin)
        return (_stolen(now) - _stolen(self._begin)) / total if total > 0 else 0.0


def _total(times: Any) -> float:
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - guest)  # Linux counts guests in user time already


def _stolen(times: Any) -> float:
    return float(getattr(times, "steal", 0.0))
