"""What `isthmus bench plan` shows: a line for every cell, sums over all, and JSON of every row."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from isthmus_bench.plan.bench import PlanBenchResult
from isthmus_bench.plan.cells import Cell, Figure, Row
from isthmus_bench.plan.verdict import (
    WITHIN,
    Verdict,
    cloud_share,
    error_terms,
    losses,
    verdict_of,
)
from isthmus_bench.starvation import caution

__all__ = ["plan_json", "plan_lines"]

_FIGURES: tuple[Figure, ...] = ("latency", "throughput")
_LATENCY_HEADERS = (
    "model", "Mbit/s", "slower", "chosen", "predicted", "measured ms", "best candidate", "ms",
    "regret", "best baseline", "ms", "against it",
)  # fmt: skip
_FPS_HEADERS = tuple("/s" if name == "ms" else name for name in _LATENCY_HEADERS)
_ABOUT = {
    "mape": "mean |predicted - measured| / measured latency over all rows but edge-only fp32, the "
    "control by which the imitated board keeps the speed that it had when the plan was made",
    "mape_chosen": "the same over the rows that were chosen",
    "mape_terms": "mean |error| of a term of the latency / measured latency, over the rows of mape",
    "board_drift": "how many times longer than when it planned this machine took for the control: "
    "least, median, most",
    "regret_mean": "chosen / best of all candidates at the floor - 1, as measured; mean of cells",
    "never_worse_than_best_baseline_by": "greatest chosen / best baseline at the floor - 1",
    "speedup_vs_cloud_raw_mean": "geometric mean of raw / chosen",
    "speedup_vs_cloud_jpeg_mean": "geometric mean over cells whose JPEG meets the floor",
    "throughput": "the same of the time between pipelined frames, chosen by least predicted period",
    "cloud_seconds_per_answer_vs_whole_model": (
        "decoding and tail of chosen splits / the whole model in the cloud, as measured; "
        "arithmetic mean, null without splits"
    ),
    "rows": "predicted by the policy's formulas with the round trip that the agent had found "
    "(known_rtt_ms); spread: middle half of the frames / median; "
    "planners: the latency that other planners expected where they chose this way",
}


def plan_lines(result: PlanBenchResult) -> Iterator[str]:
    """The report, line by line."""
    config = result.config
    yield f"Measured on {result.machine}; every figure below is of this run."
    yield from caution(result.stolen_share)
    yield (
        f"Round trip {config.rtt_ms:g} ms and what processes add, as the agent finds it; "
        f"predictions know it and the bandwidth. Medians over {config.frames} frames, one by one; "
        "frames/s pipelined. Other planners' cuts were run, too; whatever misses the agreement "
        "floor wins nothing."
    )
    least, usual, most = result.drift
    yield (
        f"This machine took {least:.2f} to {most:.2f} times as long as when it planned, in the "
        f"median {usual:.2f}; the imitated board keeps its speed by edge-only fp32, which is "
        "therefore left out of MAPE."
    )
    for figure in _FIGURES:
        yield ""
        headers = _LATENCY_HEADERS if figure == "latency" else _FPS_HEADERS
        table = [_cells(cell, figure) for cell in result.cells]
        yield from tabulate(table, headers, disable_numparse=True).splitlines()
        yield ""
        yield from _sums(verdict_of(result.cells, figure), figure)
    terms = ", ".join(f"{name} {share:.1%}" for name, share in error_terms(result.cells).items())
    yield f"Latencies were missed by (share of the latency): {terms}."
    share = cloud_share(result.cells)
    if share is not None:
        yield f"A chosen split takes {share:.0%} of the whole model's time in the cloud."
    yield from _below_floor(result)
    yield from _left_out(result)
    yield ""
    yield from _explained(result.cells)


def plan_json(result: PlanBenchResult) -> dict[str, Any]:
    """All figures; fractions and ratios, `about` says of what."""
    config = result.config
    return {
        "about": _ABOUT,
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "rtt_ms": config.rtt_ms,
        "frames": config.frames,
        "models": list(config.models),
        "links_mbps": list(config.links_mbps),
        "slow_downs": list(config.slow_downs),
        "agreement_floor": config.plan.agreement_floor,
        "board_drift": list(result.drift),
        **asdict(verdict_of(result.cells, "latency")),
        "mape_terms": error_terms(result.cells),
        "throughput": asdict(verdict_of(result.cells, "throughput")),
        "cloud_seconds_per_answer_vs_whole_model": cloud_share(result.cells),
        "left_out": [
            {"model": cell.model, "link_mbps": cell.link_mbps, "slow_down": cell.slow_down}
            | {"ways": list(cell.left_out)}
            for cell in result.cells
            if cell.left_out
        ],
        "losses": [line for figure in _FIGURES for line in losses(result.cells, figure)],
        "rows": [_json(cell, row) for cell in result.cells for row in cell.rows],
    }


def _json(cell: Cell, row: Row) -> dict[str, Any]:
    own = asdict(row)
    return {
        "model": cell.model,
        "link_mbps": cell.link_mbps,
        "slow_down": cell.slow_down,
        "known_rtt_ms": cell.rtt_ms,
        "candidate": own.pop("way"),
        "kind": own.pop("kind"),
        "is_chosen": row == cell.chosen("latency"),
        "is_chosen_for_throughput": row == cell.chosen("throughput"),
        "predicted_ms": row.predicted.latency_ms,
        "predicted_terms": own.pop("predicted"),
        "measured_terms": own.pop("measured"),
        **own,
    }


def _cells(cell: Cell, figure: Figure) -> tuple[str, ...]:
    chosen, best = cell.chosen(figure), cell.best(figure)
    baseline, behind = cell.best_baseline(figure), cell.behind_baseline(figure)
    return (
        cell.model,
        f"{cell.link_mbps:g}",
        f"{cell.slow_down:g}",
        chosen.way if chosen.meets_floor else f"{chosen.way} (misses the floor)",
        _shown(chosen.predicted_cost(figure), figure),
        _shown(chosen.cost(figure), figure),
        "the same" if best is chosen else best.way,
        _shown(best.cost(figure), figure),
        f"{cell.regret(figure):.1%}",
        "none at the floor" if baseline is None else _named(baseline),
        "" if baseline is None else _shown(baseline.cost(figure), figure),
        "" if behind is None else f"{behind:+.1%}",
    )


def _named(row: Row) -> str:
    names = (*row.planners, *(["static cut"] if row.is_static else []))
    return f"{row.way} ({', '.join(names)})" if names else row.way


def _shown(cost_ms: float, figure: Figure) -> str:
    return f"{cost_ms:.1f}" if figure == "latency" else f"{1e3 / cost_ms:.2f}"


def _sums(verdict: Verdict, figure: Figure) -> Iterator[str]:
    yield (
        f"{figure}: MAPE {verdict.mape:.1%} over all rows, {verdict.mape_chosen:.1%} over the "
        f"chosen; regret {verdict.regret_mean:.1%} in the mean, {verdict.regret_max:.1%} at most."
    )
    ratios = [
        f"{ratio:.2f} times the speed of {what}"
        for what, ratio in (
            ("cloud-only raw", verdict.speedup_vs_cloud_raw_mean),
            ("cloud-only JPEG", verdict.speedup_vs_cloud_jpeg_mean),
        )
        if ratio is not None
    ]
    if ratios:
        yield f"{figure}: {', '.join(ratios)} (geometric means)."
    worst = verdict.never_worse_than_best_baseline_by
    if worst is not None:
        yield f"{figure}: at worst {worst:+.1%} against the best baseline of a cell."


def _below_floor(result: PlanBenchResult) -> Iterator[str]:
    missing = {
        f"{row.way} of {cell.model} ({row.agreement:.3f})"
        for cell in result.cells
        for row in cell.rows
        if row.is_baseline and not row.meets_floor
    }
    if missing:
        floor = result.config.plan.agreement_floor
        yield f"Baselines below the floor of {floor:g}, never winners: {', '.join(sorted(missing))}"


def _left_out(result: PlanBenchResult) -> Iterator[str]:
    for cell in result.cells:
        if cell.left_out:
            yield (
                f"{cell.title}: left out, for more than {result.config.too_slow_s:g} s a frame "
                f"were predicted: {', '.join(cell.left_out)}"
            )


def _explained(cells: Sequence[Cell]) -> Iterator[str]:
    lines = [line for figure in _FIGURES for line in losses(cells, figure)]
    if not lines:
        yield f"No cell is worse than its best baseline by more than {WITHIN:.0%}."
        return
    yield f"Worse than the best baseline by more than {WITHIN:.0%}:"
    yield from (f"  {line}" for line in lines)
