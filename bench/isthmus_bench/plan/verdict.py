"""What all cells say together: errors of prediction, regret, and ratios to the baselines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import mean

from isthmus_bench.plan.cells import Cell, Figure, Row

__all__ = ["WITHIN", "Verdict", "cloud_share", "error_terms", "losses", "verdict_of"]

WITHIN = 0.03  # a cell that is worse than its best baseline by more is explained
RAW, JPEG = "input-raw", "input-jpeg"
CONTROL = "edge-only fp32"  # the imitated board keeps its speed by it: no prediction to judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One figure (latency, or the time between pipelined frames) over all cells; fractions.

    `mape`: the mean of |predicted - measured| / measured over all rows but the control's;
    `mape_chosen` over the chosen ones. `regret_…`: the choice against the best of all candidates
    measured.
    `never_worse_than_best_baseline_by`: the greatest excess over the best baseline, negative if
    the choice was better everywhere. Speed-ups are geometric means of baseline / choice over the
    cells that have this baseline at the floor; None where there is none.
    """

    mape: float
    mape_chosen: float
    regret_mean: float
    regret_max: float
    never_worse_than_best_baseline_by: float | None
    speedup_vs_cloud_raw_mean: float | None
    speedup_vs_cloud_jpeg_mean: float | None


def verdict_of(cells: Sequence[Cell], figure: Figure) -> Verdict:
    """Of one or more cells."""
    regrets = [cell.regret(figure) for cell in cells]
    behind = [excess for cell in cells if (excess := cell.behind_baseline(figure)) is not None]
    return Verdict(
        mape=mean(_error(row, figure) for row in _judged(cells)),
        mape_chosen=mean(_error(cell.chosen(figure), figure) for cell in cells),
        regret_mean=mean(regrets),
        regret_max=max(regrets),
        never_worse_than_best_baseline_by=max(behind, default=None),
        speedup_vs_cloud_raw_mean=_speedup(cells, RAW, figure),
        speedup_vs_cloud_jpeg_mean=_speedup(cells, JPEG, figure),
    )


def error_terms(cells: Iterable[Cell]) -> dict[str, float]:
    """Which part of the latency predictions miss: mean |error| of each term / measured latency."""
    rows = _judged(cells)
    return {
        term: mean(abs(missed) / row.measured_ms for row in rows for missed in [_missed(row)[term]])
        for term in ("device", "wire", "cloud")
    }


def _judged(cells: Iterable[Cell]) -> list[Row]:
    return [row for cell in cells for row in cell.rows if row.way != CONTROL]


def cloud_share(cells: Iterable[Cell]) -> float | None:
    """Cloud time of the chosen splits (decoding, tail) / of the whole model there; arithmetic mean.

    None where no split was chosen.
    """
    shares = []
    for cell in cells:
        chosen, raw = cell.chosen("latency"), cell.row(RAW)
        if chosen.kind == "split" and raw is not None and raw.measured.cloud_ms > 0:
            shares.append(chosen.measured.cloud_ms / raw.measured.cloud_ms)
    return mean(shares) if shares else None


def losses(cells: Iterable[Cell], figure: Figure) -> list[str]:
    """Cells whose choice is worse than the best baseline by more than `WITHIN`, and why."""
    lines = []
    for cell in cells:
        excess, baseline = cell.behind_baseline(figure), cell.best_baseline(figure)
        if excess is not None and baseline is not None and excess > WITHIN:
            lines.append(
                f"{cell.title}, {figure}: {cell.chosen(figure).way} is {excess:.1%} behind "
                f"{baseline.way}; {_why(cell.chosen(figure), baseline, figure)}"
            )
    return lines


def _why(chosen: Row, baseline: Row, figure: Figure) -> str:
    if not baseline.is_candidate and baseline.predicted_cost(figure) < chosen.predicted_cost(
        figure
    ):
        return "known before: no candidate of the plan was predicted to be as good"
    if figure == "throughput":
        return f"frames/s expected and got: {_both(chosen)}, {_both(baseline)}"
    errors = {
        (row.way, term): missed
        for row in (chosen, baseline)
        for term, missed in _missed(row).items()
    }
    way, term = max(errors, key=lambda key: abs(errors[key]))
    return (
        f"predicted {chosen.predicted.latency_ms:.1f} and {baseline.predicted.latency_ms:.1f} ms, "
        f"got {chosen.measured_ms:.1f} and {baseline.measured_ms:.1f}; most off was the {term} "
        f"time of {way}, {errors[way, term]:+.1f} ms"
    )


def _both(row: Row) -> str:
    return f"{row.way} {row.predicted_fps:.1f} and {row.measured_fps:.1f}"


def _missed(row: Row) -> dict[str, float]:
    """Measured less predicted, in ms."""
    return {
        "device": row.measured.device_ms - row.predicted.device_ms,
        "wire": row.measured.wire_ms - row.predicted.wire_ms,
        "cloud": row.measured.cloud_ms - row.predicted.cloud_ms,
    }


def _error(row: Row, figure: Figure) -> float:
    return abs(row.predicted_cost(figure) / row.cost(figure) - 1)


def _speedup(cells: Iterable[Cell], way: str, figure: Figure) -> float | None:
    ratios = [
        row.cost(figure) / cell.chosen(figure).cost(figure)
        for cell in cells
        if (row := cell.row(way)) is not None and row.meets_floor
    ]
    return exp(mean(map(log, ratios))) if ratios else None
