"""Results of the scale bench with figures that a test chooses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.serve.made_up import load

from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import (
    Case,
    CaseTurn,
    Costs,
    FleetRow,
    HopRow,
    Kills,
    OpenTurn,
    Overheads,
    ScaleResult,
    SizingRow,
    TailRow,
    TransportRow,
)
from isthmus_bench.scale.fleets import KINDS, Kind
from isthmus_bench.scale.orders import ScaleLoad
from isthmus_cloud.engines.batch_times import BatchTimes

TAIL = BatchTimes((1, 2, 4), (30.0, 50.0, 90.0))
SLEPT = TailRow("b15", 0.94, 6000, {1: 1.0, 2: 1.5}, 2)


def scale_load(latencies_ms: Sequence[float] = (), **changes: Any) -> ScaleLoad:
    beside: dict[str, Any] = {"doubled": 0, "late": 0, "gap_ms": 100.0, "rate_per_s": 0.0}
    beside |= {"due": len(latencies_ms)}
    beside = {name: changes.pop(name, usual) for name, usual in beside.items()}
    return ScaleLoad(load=load(**changes), latencies_ms=list(latencies_ms), **beside)


def fleet(kind: Kind, rate: float, one_ms: float, **changes: Any) -> FleetRow:
    """One round: a closed loop of batches of 2, one frame at a time, one open load."""
    row = FleetRow(kind, TAIL)
    row.one.append(scale_load([one_ms] * 3, p50_ms=one_ms))
    row.closed.append(scale_load(rate_per_s=rate, batch=2.0, engine_ms=0.5))
    row.opened.append(OpenTurn(0.5, 10, 7, scale_load([5.0] * 99 + [11.0], **changes)))
    row.closed_cpu_ms.append(1.7)
    row.open_cpu_ms.append(2.9)
    return row


def computing(kind: Kind) -> FleetRow:
    """With cameras a front end takes 1.2 ms an answer, of which the engine has 0.5 in-process."""
    row = FleetRow(kind)
    row.closed.append(scale_load(rate_per_s=900.0))
    row.closed_cpu_ms.append(0.8)
    row.opened.append(OpenTurn(0.4, 180, 7, scale_load(engine_ms=0.5)))
    row.open_cpu_ms.append(1.2)
    return row


def fleets() -> list[FleetRow]:
    """Ray's hop takes 5 ms, two replicas answer 1.9 times as much as one."""
    rates = (38.0, 75.0, 37.0, 70.3, 70.0, 38.0, 37.0)
    return [
        fleet(kind, rate, 39.0 if kind.ray else 34.0)
        for kind, rate in zip(KINDS, rates, strict=True)
    ]


def turn(real_p99_ms: float, sim_p99_ms: float, frames: int = 100) -> CaseTurn:
    """Of frames that take 50 ms, but for one in 50 that takes longer."""
    slow = frames // 50
    usual = [50.0] * (frames - slow)
    return CaseTurn([*usual, *[real_p99_ms] * slow], [*usual, *[sim_p99_ms] * slow])


def sizing_row(**changes: Any) -> SizingRow:
    fields: dict[str, Any] = {
        "cut": "b15",
        "batching": True,
        "devices": 10_000,
        "cells": 20,
        "replicas": 40,
        "cloud_p50_ms": 11.0,
        "cloud_p99_ms": 17.0,
        "end_p50_ms": 46.0,
        "end_p99_ms": 12_000.0,
        "busy_share": 0.9,
        "mean_batch": 3.8,
        "unsent_share": 0.01,
        "uplink_mbps": 907.0,
        "price_per_1000": 0.000028,
    }
    return SizingRow(**(fields | changes))


def result(**changes: Any) -> ScaleResult:
    fields: dict[str, Any] = {
        "machine": "a machine",
        "stolen_share": 0.0,
        "config": ScaleConfig(work=Path("work"), loads=(0.5,)),
        "model": "lite0",
        "slept": SLEPT,
        "factor": 30.0,
        "sleeping": TAIL,
        "short": TAIL,
        "tails": (TailRow("input", 0.0, 150_000, {1: 9.0}, 1), SLEPT),
        "fleets": fleets(),
        "real": (computing(KINDS[0]), computing(KINDS[2])),
        "hops": (HopRow("deepest", 6000.0, 3.0, 8.0, Spread(5.0, 1.0), (scale_load(),)),),
        "transports": (
            TransportRow(600_000, Spread(7.0, 0.4), Spread(6.0, 0.2), Spread(-1.0, 0.3)),
        ),
        "kills": Kills(2, 1, 9, scale_load(), (3.0, 4.0)),
        "cases": (
            Case("in-process", 0.5, 10, (turn(100.0, 110.0),) * 2),
            Case("2 processes", 0.5, 20, (turn(100.0, 104.0),)),
        ),
        "costs": Costs(front_end_ms=0.4, replica_ms=1.5, overheads=Overheads((1.0,), (5.0,))),
        "sizing": (sizing_row(), sizing_row(replicas=None, price_per_1000=None)),
        "ray": True,
        "links": ("steps", "drive"),
        "not_run": {},
    }
    return ScaleResult(**(fields | changes))
