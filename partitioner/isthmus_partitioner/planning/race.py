"""Feasible candidates under one objective: who is best where and by how much, who comes how near.

The sentences of a plan and the figures of its record come from here, so that they say the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median

import msgspec
import numpy as np

from isthmus_partitioner.planning.envelope import Curve, Span, amount, rate_words
from isthmus_partitioner.planning.objectives import Measure, Objective

__all__ = ["Compared", "Race", "Win", "span_words"]

_SAMPLES = 33  # bandwidths at which a candidate is compared with the best of the others


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate beside the best of the others at one bandwidth; both costs in `unit`."""

    candidate: str
    objective: Objective
    unit: str
    bandwidth_bps: float
    cost: float
    rival: str
    rival_cost: float


class Win(msgspec.Struct, frozen=True, kw_only=True):
    """Where a candidate is best, and what it saves against the best of the others.

    `gain` (in `unit`) and `gain_share` (of the rival's cost) are medians over what of these ranges
    another is feasible in; 0 or less where staying on the device wins only because it needs no
    link. `rival` is the runner-up over most of that. All three are None where there is no other.
    """

    candidate: str
    objective: Objective
    unit: str
    spans: tuple[Span, ...]
    rival: str | None
    gain: float | None
    gain_share: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """One objective: what each feasible candidate costs, and where which of them is best."""

    measure: Measure
    within: Span
    curves: Mapping[str, Curve]
    winners: Mapping[str, Sequence[Span]]

    def octaves(self, name: str) -> float:
        """Over how many doublings of bandwidth a candidate is best."""
        return sum(span.octaves for span in self.winners.get(name, ()))

    def win(self, name: str) -> Win:
        """Where a winner is best and by how much."""
        spans = self.winners[name]
        inside = (bps for span in spans for bps in _grid(span)[1:-1])  # at an end another is level
        beaten = list(self._compared(name, inside))
        rivals = Counter(point.rival for point in beaten).most_common(1)
        gains = [point.rival_cost - point.cost for point in beaten]
        shares = [1 - point.cost / (point.rival_cost or inf) for point in beaten]
        return Win(
            candidate=name,
            objective=self.measure.objective,
            unit=self.measure.unit,
            spans=tuple(spans),
            rival=rivals[0][0] if rivals else None,
            gain=median(gains) if gains else None,
            gain_share=median(shares) if shares else None,
        )

    def lead(self, name: str) -> str:
        """The win of a winner, in words."""
        win = self.win(name)
        where = " and ".join(span_words(span, self.within) for span in win.spans)
        best = f"{self.measure.most} {where}"
        if win.gain is None or win.gain_share is None:
            return f"{best}, where nothing else is feasible"
        if win.gain <= 0:
            return f"{best}, level with {win.rival}"
        return f"{best}, by {amount(win.gain)} {win.unit} ({win.gain_share:.0%}) over {win.rival}"

    def nearest(self, name: str) -> Compared | None:
        """Where a feasible candidate comes nearest to the best of the others."""
        points = self._compared(name, _grid(self.within))
        return min(points, key=lambda p: p.cost / (p.rival_cost or inf), default=None)

    def shortfall(self, name: str) -> str:
        """Where a candidate that is never best comes nearest, and to whom, in words."""
        point = self.nearest(name)
        if point is None:
            return "never best"
        return (
            f"never best; nearest at {rate_words(point.bandwidth_bps)}: {amount(point.cost)} "
            f"{point.unit}, {point.rival} {amount(point.rival_cost)} {point.unit}"
        )

    def _compared(self, name: str, grid_bps: Iterable[float]) -> Iterable[Compared]:
        """At those of the bandwidths where both the candidate and another are a choice."""
        others = [(other, curve) for other, curve in self.curves.items() if other != name]
        for bandwidth_bps in grid_bps:
            cost = self.curves[name].at(bandwidth_bps)
            costs = ((curve.at(bandwidth_bps), other) for other, curve in others)
            rival_cost, rival = min(costs, default=(inf, ""))
            if isfinite(cost) and isfinite(rival_cost):
                yield Compared(
                    candidate=name,
                    objective=self.measure.objective,
                    unit=self.measure.unit,
                    bandwidth_bps=bandwidth_bps,
                    cost=cost,
                    rival=rival,
                    rival_cost=rival_cost,
                )


def span_words(span: Span, within: Span) -> str:
    """A range of bandwidths for people, told by the ends that lie inside of another range."""
    low, high = rate_words(span.low_bps), rate_words(span.high_bps)
    if span.low_bps <= within.low_bps and span.high_bps >= within.high_bps:
        return "at any bandwidth"
    if span.low_bps <= within.low_bps:
        return f"below {high}"
    if span.high_bps >= within.high_bps:
        return f"above {low}"
    return f"from {low} to {high}"


def _grid(span: Span) -> Sequence[float]:
    grid: list[float] = np.geomspace(span.low_bps, span.high_bps, _SAMPLES).tolist()
    return grid
