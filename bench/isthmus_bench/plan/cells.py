"""The cells of the bench as plain data: what was predicted and what was measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Literal

__all__ = ["CANDIDATES", "Cell", "Figure", "Kind", "Row", "Terms", "with_static_splits"]

Figure = Literal["latency", "throughput"]
Kind = Literal["local", "split", "cloud-only", "edge-only", "fp32 wire"]
CANDIDATES: tuple[Kind, ...] = ("local", "split", "cloud-only")  # of the plan


@dataclass(frozen=True, slots=True)
class Terms:
    """A frame's latency in ms, divided: head and encoder, link and all overhead, cloud."""

    device_ms: float
    wire_ms: float
    cloud_ms: float

    @property
    def latency_ms(self) -> float:
        """Their sum."""
        return self.device_ms + self.wire_ms + self.cloud_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to answer in one cell.

    `predicted` and `predicted_fps` are the policy's formulas on figures of the plan's kind,
    measured before the cell and apart from it. `measured_ms` is the median over frames, `spread`
    the width of the middle half of them as a share of it; `measured` holds the medians of its
    terms. `planners` names other planners that chose this way here, with the latency that they
    expected. `is_static`: the one split that is best for all cells in hindsight.
    """

    way: str
    kind: Kind
    agreement: float
    meets_floor: bool
    is_kept: bool
    payload_bytes: int
    predicted: Terms
    measured: Terms
    measured_ms: float
    spread: float
    predicted_fps: float
    measured_fps: float
    planners: Mapping[str, float]
    is_static: bool = False

    def cost(self, figure: Figure) -> float:
        """What was measured and is to be small: ms a frame, or ms between frames."""
        return self.measured_ms if figure == "latency" else 1e3 / self.measured_fps

    def predicted_cost(self, figure: Figure) -> float:
        """The same as predicted."""
        return self.predicted.latency_ms if figure == "latency" else 1e3 / self.predicted_fps

    @property
    def is_candidate(self) -> bool:
        """Whether the plan measured it; else it is a baseline alone."""
        return self.kind in CANDIDATES

    @property
    def is_baseline(self) -> bool:
        """Whether there was such a thing before there were plans like ours."""
        return self.kind not in {"local", "split"} or self.is_static


@dataclass(frozen=True, slots=True)
class Cell:
    """One model, link and slow-down; `rtt_ms` is the round trip that the agent had found.

    `left_out` are ways that would have been too slow to wait for.
    """

    model: str
    link_mbps: float
    slow_down: float
    rtt_ms: float
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """In one line."""
        return f"{self.model}, {self.link_mbps:g} Mbit/s, device {self.slow_down:g}x slower"

    def chosen(self, figure: Figure) -> Row:
        """What the plan's figures choose: the best prediction of a kept candidate at the floor.

        As the policy does: if none meets the floor, the one of greatest agreement.
        """
        kept = [row for row in self.rows if row.is_candidate and row.is_kept]
        fit = [row for row in kept if row.meets_floor]
        if not fit:
            return max(kept, key=lambda row: row.agreement)
        return min(fit, key=lambda row: row.predicted_cost(figure))

    def best(self, figure: Figure) -> Row:
        """The best of the plan's candidates, kept or not, as measured, at the floor."""
        fit = [row for row in self.rows if row.is_candidate and row.meets_floor]
        return min(fit or [self.chosen(figure)], key=lambda row: row.cost(figure))

    def best_baseline(self, figure: Figure) -> Row | None:
        """As measured, at the floor."""
        fit = [row for row in self.rows if row.is_baseline and row.meets_floor]
        return min(fit, key=lambda row: row.cost(figure), default=None)

    def regret(self, figure: Figure) -> float:
        """How much worse the choice was than the best candidate; 0: it is the best."""
        return self.chosen(figure).cost(figure) / self.best(figure).cost(figure) - 1

    def behind_baseline(self, figure: Figure) -> float | None:
        """How much worse the choice was than the best baseline; negative where it was better."""
        baseline = self.best_baseline(figure)
        if baseline is None:
            return None
        return self.chosen(figure).cost(figure) / baseline.cost(figure) - 1

    def row(self, way: str) -> Row | None:
        """The row of a way."""
        return next((row for row in self.rows if row.way == way), None)


def with_static_splits(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Mark the best static cut in hindsight: one split for all cells of a model.

    Where no split is in all plans of a model, one for all links of a plan.
    """
    return tuple(_marked(cell, _static(cell, cells)) for cell in cells)


def _static(cell: Cell, cells: Iterable[Cell]) -> str | None:
    of_model = [each for each in cells if each.model == cell.model]
    of_plan = [each for each in of_model if each.slow_down == cell.slow_down]
    return _best_split(of_model) or _best_split(of_plan)


def _best_split(cells: Sequence[Cell]) -> str | None:
    """The split with the least geometric mean of latencies, of those that are at the floor."""
    everywhere = set.intersection(*(set(_splits(cell)) for cell in cells))
    means = {
        way: exp(sum(log(_splits(cell)[way]) for cell in cells) / len(cells)) for way in everywhere
    }
    return min(sorted(means), key=lambda way: means[way], default=None)


def _splits(cell: Cell) -> dict[str, float]:
    fit = (row for row in cell.rows if row.kind == "split" and row.meets_floor)
    return {row.way: row.measured_ms for row in fit}


def _marked(cell: Cell, way: str | None) -> Cell:
    rows: Iterator[Row] = (replace(row, is_static=row.way == way) for row in cell.rows)
    return replace(cell, rows=tuple(rows))
