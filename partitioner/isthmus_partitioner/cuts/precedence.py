"""Which places of a problem depend on which others, as far as can be told in linear time."""

from dataclasses import dataclass

import numpy as np

from isthmus_partitioner.cuts.problem import Indices, Mask, Problem

__all__ = ["Precedence"]

_WINDOW = 512  # places before each place of which it is known exactly what it depends on
_ALL = (1 << _WINDOW) - 1
_RECENT = 62  # of these are kept: one int64


@dataclass(frozen=True, slots=True, eq=False)
class Precedence:
    """What each place certainly depends on: all up to `all_before`, and some of those just before.

    Bit k of `recent` says that place v depends on place v - 1 - k. Exact for places that are close
    to each other, and for what every path goes through; else it may know less than there is.
    """

    all_before: Indices
    recent: Indices

    @classmethod
    def of(cls, problem: Problem) -> "Precedence":
        """One sweep over the readings, O(n + m)."""
        makers = problem.maker[problem.read]
        order = np.argsort(problem.reader, kind="stable")
        ends = np.searchsorted(problem.reader[order], np.arange(problem.last + 1), side="right")
        return cls._swept(makers[order].tolist(), ends.tolist())

    @classmethod
    def _swept(cls, makers: list[int], ends: list[int]) -> "Precedence":
        recent = [0] * len(ends)
        all_before = [0] * len(ends)
        begin = ends[0]
        for place in range(1, len(ends)):
            seen, oldest = 0, 0
            for maker in makers[begin : ends[place]]:
                lag = place - maker
                if lag <= _WINDOW:
                    seen |= recent[maker] << lag | 1 << (lag - 1)
                oldest = max(oldest, all_before[maker])
            begin = ends[place]
            seen &= _ALL
            if oldest >= place - 1 - _WINDOW:  # no gap before the window
                oldest = max(oldest, place - 1 - (seen ^ _ALL).bit_length())
            recent[place], all_before[place] = seen, oldest
        kept = (1 << _RECENT) - 1
        return cls(np.asarray(all_before), np.asarray([seen & kept for seen in recent]))

    def holds(self, first: Indices, second: Indices) -> Mask:
        """Whether `second` is `first` or certainly depends on it; `first` <= `second` by place."""
        lag = second - first
        is_seen = self.recent[second] >> np.clip(lag - 1, 0, _RECENT) & 1
        is_far = first <= self.all_before[second]
        return np.asarray((lag == 0) | ((lag > 0) & (is_far | (is_seen > 0))), np.bool_)
