"""Results of the serving bench with figures that a test chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import BARE
from isthmus_bench.serve.figures import (
    AT_SLO,
    FULL,
    MANY,
    ONE,
    EngineTimes,
    Idle,
    Pair,
    PeerInfo,
    Row,
    Sent,
    ServeBenchResult,
)
from isthmus_bench.serve.orders import Load, Times
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED
from isthmus_bench.serve.variants import BATCHED, NO_JOINS, ONE_WORKER, UNBATCHED

MB = 1_000_000

LOAD = Load(
    accepted=10,
    answered=10,
    errors={},
    lost=0,
    unsent=0,
    wrong=0,
    answers_per_s=100.0,
    p50_ms=5.0,
    p95_ms=9.0,
    p99_ms=11.0,
    server_cpu_ms=4.0,
    client_cpu_ms=0.5,
)


@dataclass(frozen=True)
class Standing:
    """A server that was there before its context, and goes on after it."""

    address: str
    pid: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def load(**changes: Any) -> Load:
    return msgspec.structs.replace(LOAD, **changes)


def row(
    server: str,
    sends: str,
    rates: Sequence[float] = (100.0,),
    *,
    protocol: str = "split",
    devices: Sequence[int] = (20,),
    **changes: Any,
) -> Row:
    """A round for each of `rates`, at the SLO; other loads have the `changes`."""
    made = Row(server, sends, protocol, is_ours=protocol == "split")
    for rate in rates:
        made.loads[AT_SLO].append(load(answers_per_s=rate, **changes))
    for kind in (ONE, FULL, MANY):
        made.loads[kind] += [load(**changes) for _ in rates]
    for loads in made.loads.values():
        made.all_loads.extend(loads)
    made.devices_at_slo.extend(devices)
    return made


def usual_rows() -> list[Row]:
    """Batching gains a third at the smallest tail, a cut of 40 % takes half of the whole model."""
    return [
        row(BARE, DEEPEST, protocol="bare"),
        row(UNBATCHED, DEEPEST, (290.0, 300.0, 320.0)),
        row(ONE_WORKER, DEEPEST, (350.0,)),
        row(BATCHED, DEEPEST, (390.0, 450.0, 420.0)),
        row(BATCHED, FORTIETH, server_cpu_ms=5.0, devices=(20, 24, 22)),
        row(BATCHED, INPUT, server_cpu_ms=10.0, p95_ms=40.0),
        row(BATCHED, MIXED, (240.0,)),
        row(NO_JOINS, MIXED, (200.0,)),
        row("kserve", INPUT, (80.0,), protocol="oip", p95_ms=50.0),
    ]


def result(rows: Sequence[Row] | None = None, **changes: Any) -> ServeBenchResult:
    engine = EngineTimes((Times({1: 2.0, 4: 6.0}, {1: 1.5, 4: 5.0}),))
    sent: Mapping[str, tuple[Sent, ...]] = {DEEPEST: (Sent("b14", 0.87, 4009.0),)}
    fields: dict[str, Any] = {
        "machine": "a machine",
        "stolen_share": 0.0,
        "config": ServeBenchConfig(work=Path("work")),
        "model": "lite0",
        "batched": True,
        "sent": sent,
        "ours": BATCHED,
        "threads": 2,
        "engine": {DEEPEST: engine},
        "rows": tuple(usual_rows() if rows is None else rows),
        "pairs": (Pair(3.0, 2.5, 1.5), Pair(3.2, 2.7, 1.6), Pair(9.0, 2.4, 1.4)),
        "idle": (
            Idle(
                devices=1000,
                connected=1000,
                before_bytes=100 * MB,
                after_bytes=150 * MB,
                cpu_share=0.25,
            ),
        ),
        "peers": (PeerInfo("kserve", "0.21.0"),),
        "not_run": {"pytriton": "it does not install: no wheel"},
        "open_files": (1024, 20_000),
    }
    return ServeBenchResult(**(fields | changes))
