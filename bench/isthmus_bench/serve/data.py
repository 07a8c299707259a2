"""What the serving bench writes as JSON: the scores by their keys, and everything behind them."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from isthmus_bench.serve.figures import KINDS, Row, ServeBenchResult
from isthmus_bench.serve.scores import misses, overhead_ms, scores_of

_FIGURES = (
    "p50_ms", "p95_ms", "p99_ms", "server_cpu_ms", "client_cpu_ms", "engine_ms", "queue_ms",
    "decode_ms", "run_ms", "batch",
)  # fmt: skip

__all__ = ["serve_json"]


def serve_json(result: ServeBenchResult) -> dict[str, Any]:
    """Scores, rows with medians and spreads over rounds, and what was not run."""
    config, scores = result.config, scores_of(result)
    return {
        **asdict(scores),
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "model": result.model,
        "batched": result.batched,
        "slo_ms": config.slo_ms,
        "fps": config.fps,
        "devices": config.devices,
        "many": config.many,
        "rounds": config.rounds,
        "seconds": config.seconds,
        "threads": result.threads,
        "ours": result.ours,
        "sent": {name: [asdict(sent) for sent in group] for name, group in result.sent.items()},
        "engine": [
            {
                "sends": sends,
                "batch": size,
                "parts_ms": asdict(times.parts_ms(size)),
                "whole_ms": asdict(times.whole_ms(size)),
            }
            for sends, times in result.engine.items()
            for size in times.sizes
        ],
        "rows": [_row(result, row) for row in result.rows],
        "pairs": [asdict(pair) for pair in result.pairs],
        "idle": [{**asdict(idle), "device_kb": idle.device_kb} for idle in result.idle],
        "open_files": list(result.open_files),
        "not_run": dict(result.not_run),
        "notes": list(result.notes),
        "misses": list(misses(result, scores)),
    }


def _row(result: ServeBenchResult, row: Row) -> dict[str, Any]:
    devices = row.devices
    return {
        "server": row.server,
        "sends": row.sends,
        "protocol": row.protocol,
        "overhead_ms_p50": overhead_ms(result, row),
        "devices_at_slo": None if devices is None else asdict(devices),
        **{kind: _load(row, kind) for kind in KINDS},
        "frames": _frames(row),
    }


def _frames(row: Row) -> dict[str, Any]:
    """What became of all that were sent, those of the search for the greatest load among them."""
    errors: Counter[str] = Counter()
    for load in row.all_loads:
        errors.update(load.errors)
    counts = {
        name: sum(getattr(load, name) for load in row.all_loads)
        for name in ("accepted", "answered", "lost", "unsent", "wrong")
    }
    return {**counts, "errors": dict(errors)}


def _load(row: Row, kind: str) -> dict[str, Any] | None:
    """Medians and spreads over rounds; None where nothing was measured, or borne."""
    if not row.loads[kind]:
        return None
    rate = row.answers_per_s(kind)
    figures: dict[str, Any] = {"answers_per_s": None if rate is None else asdict(rate)}
    for name in _FIGURES:
        spread = row.figure(kind, name)
        figures[name] = None if spread is None else asdict(spread)
    return figures
