"""Live figures of the candidates: what they take here and now, against what the plan says."""

from collections import defaultdict, deque
from statistics import median

from isthmus import Candidate

_RECENT = 9
_TRUSTED = 3  # so many live figures of a candidate replace those of its plan

__all__ = ["Observed"]


class Observed:
    """Running medians of one kind of time (device or cloud), by candidate."""

    def __init__(self) -> None:
        self._live_ms: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_RECENT))
        self._ratios: deque[float] = deque(maxlen=_RECENT)

    def add(self, candidate: Candidate, took_ms: float, planned_ms: float) -> None:
        """One frame of `candidate` took `took_ms`; its plan says `planned_ms`."""
        self._live_ms[candidate.id].append(took_ms)
        if planned_ms > 0:
            self._ratios.append(took_ms / planned_ms)

    @property
    def scale(self) -> float:
        """How much slower than planned this machine is, by the recent frames."""
        return median(self._ratios) if self._ratios else 1.0

    def live_ms(self) -> dict[str, float]:
        """Live medians of the candidates that were used often enough to trust them."""
        return {
            name: median(times) for name, times in self._live_ms.items() if len(times) >= _TRUSTED
        }
