"""Live figures: what things take here and now, against what the plan says."""

from collections import defaultdict, deque
from collections.abc import Iterable
from statistics import median, quantiles

_RECENT = 9
_TRUSTED = 3  # so many live figures replace those of the plan
FORGOTTEN_AFTER = 300  # frames: then the plan counts again, and the thing gets another chance
_DEVIATIONS = 2.0
_QUARTILES_APART = 1.349  # standard deviations, of a normal distribution

__all__ = ["FORGOTTEN_AFTER", "Observed"]


class Observed:
    """Running medians of one kind of time (device, cloud, rest), by name.

    It counts frames (`frame_passed`), not seconds. A figure that none renewed for FORGOTTEN_AFTER
    frames is forgotten: who was slow once and is not used since could never show otherwise.
    """

    def __init__(self) -> None:
        self._live_ms: defaultdict[str, deque[tuple[int, float]]] = defaultdict(_recent)
        self._ratios: deque[tuple[int, float]] = _recent()
        self._frames = 0

    def add(self, name: str, took_ms: float, planned_ms: float) -> None:
        """`name` took `took_ms`; its plan says `planned_ms`."""
        self._live_ms[name].append((self._frames, took_ms))
        if planned_ms > 0:
            self._ratios.append((self._frames, took_ms / planned_ms))

    def frame_passed(self) -> None:
        """One frame more since all that was added."""
        self._frames += 1

    @property
    def scale(self) -> float:
        """How much slower than planned this machine is, by the recent frames."""
        ratios = self._fresh(self._ratios)
        return median(ratios) if ratios else 1.0

    @property
    def at_most_scale(self) -> float:
        """What that is nearly always."""
        return self.scale + _DEVIATIONS * _deviation(self._fresh(self._ratios))

    def live_ms(self) -> dict[str, float]:
        """Live medians of what was measured often enough to trust them."""
        return {name: median(times) for name, times in self._trusted()}

    def spread_ms(self) -> dict[str, float]:
        """Standard deviations of the same."""
        return {name: _deviation(times) for name, times in self._trusted()}

    def at_most_ms(self, name: str) -> float | None:
        """What `name` takes nearly always; None if it was not measured often enough."""
        times = dict(self._trusted()).get(name)
        return None if times is None else median(times) + _DEVIATIONS * _deviation(times)

    def _trusted(self) -> Iterable[tuple[str, list[float]]]:
        for name, entries in self._live_ms.items():
            times = self._fresh(entries)
            if len(times) >= _TRUSTED:
                yield name, times

    def _fresh(self, entries: Iterable[tuple[int, float]]) -> list[float]:
        return [value for at, value in entries if self._frames - at < FORGOTTEN_AFTER]


def _recent() -> deque[tuple[int, float]]:
    return deque(maxlen=_RECENT)


def _deviation(values: list[float]) -> float:
    """Standard deviation from the quartiles, for which an outlier does not count."""
    if len(values) < _TRUSTED:
        return 0.0
    first, _, third = quantiles(values, n=4, method="inclusive")
    return (third - first) / _QUARTILES_APART
