"""What the scale bench writes as JSON: the scores by their keys, and everything behind them."""

from dataclasses import asdict
from statistics import median
from typing import Any

from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.figures import (
    Case,
    CaseTurn,
    Counts,
    FleetRow,
    HopRow,
    Kills,
    ScaleResult,
)
from isthmus_bench.scale.orders import ScaleLoad
from isthmus_bench.scale.scores import case_name, compared, misses, scores_of

__all__ = ["scale_json"]


def scale_json(result: ScaleResult) -> dict[str, Any]:
    """Scores, rows with medians and spreads over rounds, and what was not run."""
    config, scores = result.config, scores_of(result)
    return {
        **asdict(scores),
        "sim_vs_real_cases": [case_name(case) for case in compared(result)],
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "model": result.model,
        "slept": {
            "cut": result.slept.cut,
            "factor": result.factor,
            "took_ms": dict(zip(result.sleeping.sizes, result.sleeping.took_ms, strict=True)),
            "short_ms": dict(zip(result.short.sizes, result.short.took_ms, strict=True)),
        },
        "fps": config.fps,
        "devices": config.devices,
        "window": config.window,
        "rounds": config.rounds,
        "seconds": config.seconds,
        "load_s": config.load_s,
        "tails": [asdict(tail) for tail in result.tails],
        "fleets": [_fleet(row) for row in result.fleets],
        "computing": [_fleet(row) for row in result.real],
        "hops": [_hop(row) for row in result.hops],
        "transports": [asdict(row) for row in result.transports],
        "kills": None if result.kills is None else _kills(result.kills),
        "cases": [_case(case) for case in result.cases],
        "sizing": _sizing(result),
        "not_run": dict(result.not_run),
        "notes": list(result.notes),
        "misses": misses(scores),
    }


def _sizing(result: ScaleResult) -> dict[str, Any]:
    """What was simulated, and with what."""
    config, costs = result.config, result.costs
    return {
        "slo_ms": config.slo_ms,
        "cell_devices": config.cell_devices,
        "sim_s": config.sim_s,
        "seed": config.seed,
        "replica_price": config.replica_price,
        "front_end_price": config.front_end_price,
        "ray": result.ray,
        "front_end_ms": costs.front_end_ms,
        "replica_ms": costs.replica_ms,
        "base_ms_p50": median(costs.overheads.base_ms),
        "hop_ms_p50": median(costs.overheads.hop_ms),
        "links": list(result.links),
        "rows": [asdict(row) for row in result.sizing],
    }


def _fleet(row: FleetRow) -> dict[str, Any]:
    return {
        "fleet": row.kind.name,
        "front_ends": row.kind.front_ends,
        "replicas": row.kind.replicas,
        "ray": row.kind.ray,
        "one_ms_p50": _spread(row.one_ms),
        "answers_per_s": _spread(row.answers_per_s),
        "front_end_cpu_ms": {"closed": row.closed_cpu_ms, "open": row.open_cpu_ms},
        "opened": [
            {"share": turn.share, "devices": turn.devices, "seed": turn.seed, **_load(turn.load)}
            for turn in row.opened
        ],
        "frames": asdict(Counts.of(row.loads)),
    }


def _kills(kills: Kills) -> dict[str, Any]:
    return {
        "kills": kills.count,
        "hurt": kills.hurt,
        "devices": kills.devices,
        "recovered_s": list(kills.recovered_s),
        "errors": dict(kills.load.load.errors),
        "gap_ms": kills.load.gap_ms,
        **_load(kills.load),
        **asdict(Counts.of([kills.load])),
    }


def _load(load: ScaleLoad) -> dict[str, Any]:
    figures = load.load
    return {
        "answers_per_s": load.rate_per_s,
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
        "batch": figures.batch,
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        "case": case_name(case),
        "share": case.share,
        "frames": len(case.together.real_ms),
        "p99_error": case.p99_error,
        "worst_turn": case.worst_turn,
        **_percentiles(case.together),
        "turns": [_percentiles(turn) for turn in case.turns],
    }


def _percentiles(turn: CaseTurn) -> dict[str, float | None]:
    return {
        "real_p50_ms": turn.real(0.5),
        "sim_p50_ms": turn.simulated(0.5),
        "real_p99_ms": turn.real(0.99),
        "sim_p99_ms": turn.simulated(0.99),
    }


def _hop(row: HopRow) -> dict[str, Any]:
    return {
        "sends": row.sends,
        "payload_bytes": row.payload_bytes,
        "in_process_ms": row.in_process_ms,
        "ray_ms": row.ray_ms,
        "hop_ms": _spread(row.hop_ms),
    }


def _spread(spread: Spread | None) -> dict[str, float | None] | None:
    return None if spread is None else asdict(spread)
