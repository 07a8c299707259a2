"""The frames of the last minute: how many, by which candidate, and where their time went."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from isthmus.web.board import Batch, Share, Trend, shortened
from isthmus.web.recent import Recent, add_time, quantile_ms

MOST_CANDIDATES = 64
OTHERS = "others"

__all__ = ["Minute"]


@dataclass(slots=True)
class _Sum:
    frames: int = 0
    payload_bytes: int = 0
    total_ms: float = 0.0
    parts_ms: list[float] = field(default_factory=list)

    def add(
        self, parts_ms: Sequence[float], total_ms: float, payload_bytes: int, frames: int
    ) -> None:
        self.frames += frames
        self.payload_bytes += payload_bytes
        self.total_ms += total_ms
        if not self.parts_ms:
            self.parts_ms = [0.0] * len(parts_ms)
        for index, part_ms in enumerate(parts_ms):
            self.parts_ms[index] += part_ms


@dataclass(slots=True)
class _Second:
    failed: int = 0
    times: "Counter[int]" = field(default_factory=Counter)
    batches: "Counter[int]" = field(default_factory=Counter)
    candidates: dict[str, _Sum] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        return sum(each.frames for each in self.candidates.values())


class Minute:
    """Counts what it is told, in room that does not grow; not for several threads at once."""

    def __init__(self) -> None:
        self._seconds: Recent[_Second] = Recent(_Second)

    def answered(
        self,
        now_s: float,
        candidate: str,
        parts_ms: Sequence[float],
        total_ms: float,
        payload_bytes: int,
    ) -> None:
        """A frame has its answer. `parts_ms` go by the board's stages."""
        second = self._seconds.at(now_s)
        known = second.candidates
        name = candidate if candidate in known or len(known) < MOST_CANDIDATES else OTHERS
        known.setdefault(name, _Sum()).add(parts_ms, total_ms, payload_bytes, 1)
        add_time(second.times, total_ms)

    def failed(self, now_s: float) -> None:
        """A frame ended with an error."""
        self._seconds.at(now_s).failed += 1

    def batch(self, now_s: float, size: int) -> None:
        """A part of a network was run on `size` items."""
        self._seconds.at(now_s).batches[size] += 1

    def quantiles_ms(self, now_s: float, shares: Sequence[float]) -> list[float | None]:
        """Of the whole times of all answers."""
        times: Counter[int] = Counter()
        for second in self._seconds.all(now_s):
            times.update(second.times)
        return [quantile_ms(times, share) for share in shares]

    def shares(self, now_s: float) -> list[Share]:
        """By candidate, the most used first."""
        sums: dict[str, _Sum] = {}
        for second in self._seconds.all(now_s):
            for name, each in second.candidates.items():
                whole = sums.setdefault(name, _Sum())
                whole.add(each.parts_ms, each.total_ms, each.payload_bytes, each.frames)
        ranked = sorted(sums.items(), key=lambda item: (-item[1].frames, item[0]))
        return [_share(name, each) for name, each in ranked[:MOST_CANDIDATES]]

    def batches(self, now_s: float) -> list[Batch]:
        """Sizes that occurred, the smallest first."""
        runs: Counter[int] = Counter()
        for second in self._seconds.all(now_s):
            runs.update(second.batches)
        return [Batch(size, runs[size]) for size in sorted(runs)]

    def trends(self, now_s: float) -> list[Trend]:
        """Answers, errors, and the time that 95 of 100 answers did not exceed, by the second."""
        seconds = self._seconds.ended(now_s)
        return [
            Trend("answers", "/s", [float(each.answered) if each else 0.0 for each in seconds]),
            Trend("errors", "/s", [float(each.failed) if each else 0.0 for each in seconds]),
            Trend(
                "p95", "ms", [quantile_ms(each.times, 0.95) if each else None for each in seconds]
            ),
        ]


def _share(name: str, whole: _Sum) -> Share:
    return Share(
        shortened(name),
        whole.frames,
        [part_ms / whole.frames for part_ms in whole.parts_ms],
        whole.total_ms / whole.frames,
        whole.payload_bytes / whole.frames,
    )
