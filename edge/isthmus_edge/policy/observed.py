"""Live figures: what things take here and now, against what the plan says."""

from collections import defaultdict, deque
from collections.abc import Iterable
from statistics import median, quantiles

_RECENT = 9
_TRUSTED = 3  # so many live figures replace those of the plan
FORGOTTEN_AFTER = 300  # frames: then the plan counts again, and the thing gets another chance
_CLEARLY = 1.25  # what slows down or up by less does it by chance
_DEVIATIONS = 2.0
_QUARTILES_APART = 1.349  # standard deviations, of a normal distribution

__all__ = ["FORGOTTEN_AFTER", "Observed"]


class Observed:
    """Running medians of one kind of time (device, cloud, rest), by name.

    It counts frames (`frame_passed`), not seconds. A figure that none renewed for FORGOTTEN_AFTER
    frames is forgotten: who was slow once and is not used since could never show otherwise. Until
    then it follows the machine: what is used instead tells whether that has grown hot or cool.
    """

    def __init__(self) -> None:
        self._live_ms: defaultdict[str, deque[tuple[int, float]]] = defaultdict(_recent)
        self._ratios: deque[tuple[int, float]] = _recent()
        self._pace = _Pace()
        self._pace_at: dict[str, float] = {}  # by name: how slow the machine was, when last seen
        self._frames = 0

    def add(self, name: str, took_ms: float, planned_ms: float) -> None:
        """`name` took `took_ms`; its plan says `planned_ms`."""
        entries = self._live_ms[name]
        slower = self._slower_since(name)
        if slower != 1.0:  # what is remembered goes on as if it were of now
            entries = deque(((at, ms * slower) for at, ms in entries), maxlen=_RECENT)
            self._live_ms[name] = entries
        entries.append((self._frames, took_ms))
        self._pace_at[name] = self._pace.after(name, took_ms)
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
                slower = self._slower_since(name)
                yield name, [time * slower for time in times]

    def _slower_since(self, name: str) -> float:
        """By what factor the machine has grown slower since it was seen last."""
        slower = self._pace.slowness / self._pace_at.get(name, self._pace.slowness)
        return slower if not 1 / _CLEARLY < slower < _CLEARLY else 1.0

    def _fresh(self, entries: Iterable[tuple[int, float]]) -> list[float]:
        return [value for at, value in entries if self._frames - at < FORGOTTEN_AFTER]


class _Pace:
    """How slow the machine is against how it was at first, by what one name takes again and again.

    Two names tell nothing of each other: the plan may misjudge each in its own way. So while a name
    is in use its recent times are compared with its first ones, and the next name goes on from
    there.
    """

    def __init__(self) -> None:
        self.slowness = 1.0
        self._name: str | None = None
        self._slowness_at_first = 1.0
        self._first_ms: list[float] = []
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)

    def after(self, name: str, took_ms: float) -> float:
        """`slowness`, now that `name` took `took_ms`."""
        if name != self._name:
            self._name, self._slowness_at_first = name, self.slowness
            self._first_ms.clear()
            self._recent_ms.clear()
        self._recent_ms.append(took_ms)
        if len(self._first_ms) < _RECENT:
            self._first_ms.append(took_ms)
        at_first_ms = median(self._first_ms)
        if at_first_ms > 0:
            self.slowness = self._slowness_at_first * median(self._recent_ms) / at_first_ms
        return self.slowness


def _recent() -> deque[tuple[int, float]]:
    return deque(maxlen=_RECENT)


def _deviation(values: list[float]) -> float:
    """Standard deviation from the quartiles, for which an outlier does not count."""
    if len(values) < _TRUSTED:
        return 0.0
    first, _, third = quantiles(values, n=4, method="inclusive")
    return (third - first) / _QUARTILES_APART
