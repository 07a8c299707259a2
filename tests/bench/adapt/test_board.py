"""The imitated board takes what the plan says, and tells what it spent."""

from pathlib import Path

import msgspec
import pytest
from tests.bench.test_slow_board import Clocks
from tests.tinybundle import build_tiny_bundle, tiny_pictures

from isthmus import Manifest, open_bundle
from isthmus_bench import slow_board
from isthmus_bench.adapt import board
from isthmus_bench.adapt.board import PlannedBoard, planned_ms
from isthmus_edge import Agent, AgentConfig


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path)


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    """The tiny plan, for a device twenty times slower."""
    return msgspec.structs.replace(open_bundle(bundle, "device").manifest, edge_factor=20.0)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(slow_board, "time", clocks)
    monkeypatch.setattr(board, "time", clocks)
    return clocks


def test_planned_work_takes_what_the_plan_says_however_long_it_takes_here(
    manifest: Manifest, clocks: Clocks
) -> None:
    known = planned_ms(manifest)
    slowest = max(known, key=lambda kind: known[kind])
    imitated, begin_s = PlannedBoard(manifest), clocks.wall_s
    for cpu_s in (0.0, known[slowest] / 2e3):
        result, took_ms = imitated.run(slowest, lambda cpu_s=cpu_s: clocks.work(cpu_s))  # type: ignore[misc]
        assert (result, took_ms) == ("done", known[slowest])
    assert (clocks.wall_s - begin_s) * 1e3 == pytest.approx(2 * known[slowest])
    assert imitated.spent_s * 1e3 == pytest.approx(2 * known[slowest])
    assert imitated.unplanned_s == 0


def test_other_work_takes_its_cpu_time_times_the_factor(manifest: Manifest, clocks: Clocks) -> None:
    imitated = PlannedBoard(manifest)
    _, took_ms = imitated.run("a stranger", lambda: clocks.work(0.010))
    assert took_ms == pytest.approx(200)
    assert imitated.spent_s == imitated.unplanned_s == pytest.approx(0.2)


def test_the_agent_calls_its_work_by_the_names_that_the_plan_knows(
    bundle: Path, manifest: Manifest
) -> None:
    imitated = PlannedBoard(manifest)
    with Agent.open(AgentConfig(bundle=bundle), pace=imitated) as agent:
        agent.infer(tiny_pictures(1)[0])
    assert imitated.spent_s == manifest.local.figures.device_ms / 1e3
    assert imitated.unplanned_s == 0
