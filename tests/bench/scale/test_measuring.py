"""What is taken from real fleets: hops in pairs of turns, and a front end's processor time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.bench.scale.made_up import scale_load

from isthmus_bench.scale import hops
from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import FleetRow
from isthmus_bench.scale.fleets import KINDS, Fleet
from isthmus_bench.scale.hops import hops_of
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.scale.real import Measurer

CONFIG = ScaleConfig(work=Path("work"), pairs=4, devices=5, window=3)
HERE, THERE = Fleet(KINDS[0], (), None), Fleet(KINDS[2], (), None)


@dataclass
class Sending:
    """One frame takes 2 ms in-process, and a ms more with each turn; 7 more on Ray."""

    config: ScaleConfig = CONFIG
    turns: list[str] = field(default_factory=list)

    def sending(self, _served: object) -> "Sending":
        return self

    def one(self, fleet: Fleet, _seconds: float) -> ScaleLoad:
        p50_ms = 2.0 + len(self.turns) // 2 + (7.0 if fleet is THERE else 0.0)
        self.turns.append(fleet.kind.name)
        return scale_load(p50_ms=p50_ms)


def test_hops_are_differences_of_turns_that_follow_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hops, "frame_bytes", lambda _: 99.0)
    sending = Sending()
    (row,) = hops_of(sending, HERE, THERE, [("deepest", object())])  # type: ignore[arg-type, list-item]
    assert (row.sends, row.payload_bytes) == ("deepest", 99.0)
    assert (row.in_process_ms, row.ray_ms) == (3.5, 10.5)
    assert (row.hop_ms.median, row.hop_ms.spread) == (7.0, 0.0)
    assert sending.turns[:4] == [HERE.kind.name, THERE.kind.name, THERE.kind.name, HERE.kind.name]
    assert len(row.loads) == len(sending.turns) == 8


class Subject:
    """As far as an order needs it."""

    fingerprint = "f" * 64
    served: Any = type("Served", (), {"case": "case"})


def test_a_front_end_s_time_is_counted_by_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 ms for each of 100 answers, whatever the load."""
    cpu_s = iter([10.0, 10.3, 20.0, 20.6])
    asked: list[ScaleOrder] = []

    def put(_self: Measurer, order: ScaleOrder) -> ScaleLoad:
        asked.append(order)
        return scale_load(answered=100, rate_per_s=50.0)

    monkeypatch.setattr(Fleet, "front_end_cpu_s", lambda _: next(cpu_s))
    monkeypatch.setattr(Measurer, "put", put)
    row, measurer = FleetRow(KINDS[0]), Measurer(CONFIG, None, Subject())  # type: ignore[arg-type]
    measurer.closed(row, HERE)
    measurer.open_loads(row, HERE, (0.4, 0.8), 1)
    assert [(each.devices, each.window, each.fps) for each in asked] == [
        (5, 3, 0.0),
        (10, 1, 2.0),
        (20, 1, 2.0),
    ]
    assert [(turn.share, turn.devices, turn.seed) for turn in row.opened] == [
        (0.4, 10, CONFIG.seed + 1000),
        (0.8, 20, CONFIG.seed + 1001),
    ]
    assert row.closed_cpu_ms == row.open_cpu_ms == pytest.approx([3.0])
