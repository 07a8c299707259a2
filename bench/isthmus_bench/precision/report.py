"""What the bench of mixed precision shows: a table and fronts, and the same figures as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec
from tabulate import tabulate

from isthmus_bench.precision.bench import PrecisionBenchResult, PrecisionRow
from isthmus_bench.starvation import caution

__all__ = ["precision_json", "precision_lines"]

_HEADERS = (
    "model", "fp32 ms", "int8 ms", "mixed ms", "mixed/int8", "harm int8", "harm mixed",
    "agrees int8", "agrees mixed", "fp32 groups",
)  # fmt: skip


def precision_lines(result: PrecisionBenchResult) -> Iterator[str]:
    """The report, line by line."""
    config = result.config
    yield f"Measured on {result.machine}, one thread; every figure below is of this run."
    yield from caution(result.stolen_share)
    yield (
        f"Harm: divergence from fp32 on {config.inputs} evaluation items (classifiers: KL in "
        f"nats). Budget of a mix: {config.budget:g}, on held-back items."
    )
    yield ""
    yield from tabulate([_cells(row) for row in result.rows], headers=_HEADERS).splitlines()
    for row in result.rows:
        yield ""
        yield f"{row.model}: {row.reason}"
        points = [
            (point.name, f"{point.ms:.2f}", f"{point.divergence:.5f}", f"{point.agreement:.3f}")
            for point in row.front
        ]
        headers = ("front (held-back items)", "ms", "divergence", row.metric)
        yield from tabulate(points, headers=headers, disable_numparse=True).splitlines()


def precision_json(result: PrecisionBenchResult) -> dict[str, Any]:
    """The figures, with the ratios that they are read for."""
    return {
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        **{key: value for key, value in asdict(result.config).items() if key != "models"},
        "rows": [_json(row) for row in result.rows],
    }


def _json(row: PrecisionRow) -> dict[str, Any]:
    figures = {key: value for key, value in asdict(row).items() if key != "front"}
    return figures | {
        "mixed_vs_int8_time": _ratio(row),
        "mixed_vs_fp32_time": row.ms_mixed / row.ms_fp32,
        "front": [msgspec.to_builtins(point) for point in row.front],
    }


def _ratio(row: PrecisionRow) -> float | None:
    return None if row.ms_all_int8 is None else row.ms_mixed / row.ms_all_int8


def _cells(row: PrecisionRow) -> tuple[str, ...]:
    return (
        row.model,
        f"{row.ms_fp32:.2f}",
        _shown(row.ms_all_int8, ".2f"),
        f"{row.ms_mixed:.2f}",
        _shown(_ratio(row), ".2f"),
        _shown(row.kl_all_int8, ".5f"),
        f"{row.kl_mixed:.5f}",
        _shown(row.agreement_all_int8, ".3f"),
        f"{row.agreement_mixed:.3f}",
        f"{len(row.fp32_groups)} of {row.groups}",
    )


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
