"""What is taken from real fleets: hops in pairs of turns, and a front end's processor time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.bench.scale.made_up import scale_load

from isthmus_bench.scale import hops, real
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


class Clock:
    """Of a fleet whose front ends take 0.1 s of each, and 3 ms for each of 100 answers."""

    def __init__(self) -> None:
        self.now = self.cpu_s = 0.0

    def goes_on(self, seconds: float) -> None:
        self.now += seconds
        self.cpu_s += 0.1 * seconds

    sleep = goes_on

    def monotonic(self) -> float:
        return self.now


def test_what_a_front_end_takes_for_nothing_is_not_counted_for_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(real, "time", clock)
    monkeypatch.setattr(Fleet, "front_end_cpu_s", lambda _: clock.cpu_s)
    asked: list[ScaleOrder] = []

    def put(_self: Measurer, order: ScaleOrder) -> ScaleLoad:
        asked.append(order)
        clock.goes_on(5.0)
        clock.cpu_s += 100 * 0.003
        return scale_load(answered=100)

    monkeypatch.setattr(Measurer, "put", put)
    row = FleetRow(KINDS[0])
    Measurer(CONFIG, None, Subject()).closed(row, HERE)  # type: ignore[arg-type]
    assert (asked[0].devices, asked[0].window, asked[0].fps) == (5, 3, 0.0)
    assert row.closed_cpu_ms == pytest.approx([3.0])
