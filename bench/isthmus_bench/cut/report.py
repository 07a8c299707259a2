"""What the cut search's bench shows: tables for people, and the same figures as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from isthmus_bench.cut.bench import CutBenchResult, CutTimes
from isthmus_bench.starvation import caution

__all__ = ["cut_json", "cut_lines"]

_HEADERS = (
    "network", "nodes", "in the DAG", "all cuts", "spread", "cuts", "solves", "one cut",
    "all by whole flows",
)  # fmt: skip


def cut_lines(result: CutBenchResult) -> Iterator[str]:
    """The report, line by line."""
    yield f"Measured on {result.machine}; every figure below is of this run."
    yield from caution(result.stolen_share)
    yield (
        f"Milliseconds, medians of {result.runs} runs. All cuts: every one that is best somewhere "
        "from 0.1 Mbit/s to 1 Gbit/s; one cut: the best at 10 Mbit/s; by whole flows: all "
        "cuts, every solve a flow over the whole graph, timed once."
    )
    yield from ("", "a. Real graphs as shipped; costs proportional to their operators' sizes")
    yield from _table(result.real)
    yield from (f"   left out: {reason}" for reason in result.missing)
    yield from ("", "b. Made-up networks")
    yield from _table(result.synthetic)
    exponents = result.growth_exponents()
    shown = ", ".join(f"{family} {exponent:.2f}" for family, exponent in exponents.items())
    yield f"   Time grows with nodes to the power of: {shown} (1: linear)."


def cut_json(result: CutBenchResult) -> dict[str, Any]:
    """The figures; `growth_exponent` is that of the family that grows fastest."""
    exponents = result.growth_exponents()
    return {
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "runs": result.runs,
        "growth_exponent": max(exponents.values()),
        "growth_exponents": exponents,
        "real": [asdict(row) for row in result.real],
        "missing": list(result.missing),
        "synthetic": [asdict(row) for row in result.synthetic],
    }


def _table(rows: Sequence[CutTimes]) -> list[str]:
    cells = [
        (
            row.model,
            str(row.nodes),
            str(row.dag_nodes),
            f"{1e3 * row.seconds:.1f}",
            f"{row.spread:.0%}",
            str(row.cuts),
            str(row.solves),
            f"{1e3 * row.one_cut_seconds:.1f}",
            "" if row.whole_flows_seconds is None else f"{1e3 * row.whole_flows_seconds:.1f}",
        )
        for row in rows
    ]
    align = ["left"] + ["right"] * (len(_HEADERS) - 1)
    table = tabulate(cells, _HEADERS, tablefmt="simple", colalign=align, disable_numparse=True)
    return [f"   {line}" for line in table.splitlines()]
