"""The whole bench with real processes on a tiny network and a short trace, and its report."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.bench.adapt.made_up import cell
from tests.bench.adapt.test_moments import moments, story
from tests.bench.plan.test_bench import tiny_subject
from tests.partitioner.conftest import QUICK

from isthmus import ConfigError, Manifest
from isthmus_bench.adapt import bench
from isthmus_bench.adapt.bench import AdaptResult, ModelResult, run_adapt_bench
from isthmus_bench.adapt.config import AdaptBenchConfig
from isthmus_bench.adapt.report import adapt_json, adapt_lines
from isthmus_bench.adapt.runs import Policy, policies_of
from isthmus_bench.adapt.scores import Cell
from isthmus_bench.starvation import StolenTime
from isthmus_bench.traces import Trace

NAME = "efficientnet-lite0"
DRIVE = Trace("drive", (0.0, 1.0), (20.0, 1.0), 5.0)
FEW = {"ours", "ewma", "local", "input-raw"}
KEYS = {
    "vs_best_static_mean",
    "vs_best_static_p95",
    "vs_least_static_p95",
    "measured_uplinks",
    "kept_runs",
    "regret_vs_oracle_mean",
    "lost",
    "detect_dead_s",
    "first_local_answer_ms",
    "switch_gap_ms_max",
    "pipeline_speedup_rtt50",
}


def run(config: AdaptBenchConfig, lines: list[str], stolen: float = 0.0) -> AdaptResult:
    """Half of the policies, and moments that are made up; neighbours take `stolen` of the time."""

    def few(manifest: Manifest) -> tuple[Policy, ...]:
        return tuple(policy for policy in policies_of(manifest) if policy.name in FEW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "policies_of", few)
        patch.setattr(bench, "measured_moments", lambda *_: moments(story()))
        patch.setattr(StolenTime, "share", lambda _: stolen)
        return run_adapt_bench(config, lines.append, tiny_subject)


def small(out: Path) -> AdaptBenchConfig:
    return AdaptBenchConfig(
        out=out,
        models=(NAME,),
        traces=(DRIVE,),
        seconds=1.0,
        edge_factor=2.0,
        fps=20.0,
        deadline_ms=500.0,
        lanes=1,
        frames=3,
        awake=False,
        plan=replace(QUICK, max_cuts=1, edge_network_ms=None),
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapt")


@pytest.fixture(scope="module")
def result(out: Path) -> AdaptResult:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    lines: list[str] = []
    found = run(small(out), lines)
    assert any("min left" in line for line in lines)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    return found


def test_every_policy_answers_every_frame_of_the_camera(result: AdaptResult) -> None:
    (found,) = result.cells
    assert found.runs.keys() == FEW
    for name, runs in found.runs.items():
        (each,) = runs
        assert (each.accepted, each.lost, each.doubled) == (20, 0, 0), name
        assert len(each.frames) == 20
        assert each.device_s > 0
    assert found.runs["local"][0].payload_bytes == 0
    raw = found.runs["input-raw"][0]
    assert raw.sent_bytes > raw.payload_bytes > 0
    ended = [frame for frame in found.runs["input-raw"][0].frames if not frame.error]
    assert {frame.candidate for frame in ended} == {"input-raw"}


def test_the_json_has_its_keys(result: AdaptResult) -> None:
    figures: dict[str, Any] = json.loads(json.dumps(adapt_json(result)), parse_constant=pytest.fail)
    assert figures.keys() >= KEYS
    assert figures["lost"] == 0
    (trace,) = figures["traces"]
    assert {policy["policy"] for policy in trace["policies"]} == result.cells[0].runs.keys()


def test_there_is_a_chart_for_each_trace(result: AdaptResult, out: Path) -> None:
    assert result.cells[0].trace.startswith("drive")
    assert (out / f"{NAME}-drive.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_finished_is_not_run_again(result: AdaptResult, out: Path) -> None:
    lines: list[str] = []
    found = run(replace(small(out), resume=True), lines)
    assert not [line for line in lines if "at a time" in line]
    assert found.cells == result.cells
    assert (result.kept_runs, found.kept_runs) == (0, len(FEW))
    assert adapt_json(found)["kept_runs"] == len(FEW)
    told, *_ = adapt_lines(found)
    assert f"{len(FEW)} of {len(FEW)} runs were kept from before" in told
    told, *_ = adapt_lines(result)
    assert told.endswith("every figure below is of this run.")


def test_what_was_starved_is_run_once_more(result: AdaptResult, out: Path) -> None:
    runs = out / "work" / NAME / "runs.jsonl"
    starved = runs.read_bytes().replace(b'"stolen_share":0.0', b'"stolen_share":0.9', 1)
    runs.write_bytes(starved)
    lines: list[str] = []
    found = run(replace(small(out), resume=True), lines, stolen=0.5)
    assert f"{NAME}: 1 runs, 1 at a time" in lines
    assert f"{NAME}: 1 runs were starved; once more" in lines
    shares = sorted(runs[0].stolen_share for runs in found.cells[0].runs.values())
    assert shares == [0.0] * (len(FEW) - 1) + [0.5]
    assert adapt_json(found)["starved_runs"] == 1


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        run_adapt_bench(small(tmp_path / "file" / "out"), pytest.fail, tiny_subject)


def starved(found: Cell) -> Cell:
    """The same, while neighbours took a fifth of the time."""
    runs = {
        name: tuple(msgspec.structs.replace(run, stolen_share=0.2) for run in runs)
        for name, runs in found.runs.items()
    }
    return replace(found, runs=runs)


def made_up(result: AdaptResult, **policies: list[float | None]) -> AdaptResult:
    return of_cells(result, starved(cell(policies)))


def of_cells(result: AdaptResult, *cells: Cell) -> AdaptResult:
    model = ModelResult(
        model="net",
        edge_factor=20.0,
        scene=cells[0].scene,
        policies=cells[0].policies,
        cells=cells,
    )
    return replace(result, models=(model,), crowded_share=0.5)


def test_the_report_names_the_best_and_lists_what_has_no_answer(result: AdaptResult) -> None:
    lines = list(adapt_lines(made_up(result, ours=[100, None, 100], a=[300, 300, 300])))
    assert sum(line.startswith("CAUTION: ") for line in lines) == 2
    assert any(line.startswith("a ") and "best static by mean" in line for line in lines)
    assert "net, drive: ours: 1 frames without an answer, for instance dropped" in lines
    assert any(line.startswith("Lost or doubled: 0 of ") for line in lines)


def test_a_policy_that_loses_is_shown_to_lose(result: AdaptResult) -> None:
    figures = adapt_json(made_up(result, ours=[300, 300], a=[100, 100]))
    assert figures["vs_best_static_mean"] == 3.0
    assert figures["regret_vs_oracle_mean"] == 2.0


def test_what_is_said_to_be_sent_is_all_that_was_sent(result: AdaptResult) -> None:
    found = of_cells(result, cell({"ours": [100, 100], "a": [100, 100]}, sent_bytes=7_000))
    row = next(line for line in adapt_lines(found) if line.startswith("ours "))
    assert row.split()[5] == "7"
    (trace,) = adapt_json(found)["traces"]
    ours = trace["policies"][0]
    assert (ours["payload_bytes"], ours["sent_bytes"]) == (200, 7_000)


def test_measured_uplinks_have_a_verdict_of_their_own(result: AdaptResult) -> None:
    up = cell({"ours": [100], "a": [200]}, trace="lte_up[3+1s]")
    down = cell({"ours": [100], "a": [50]}, trace="lte_dl[3+1s]")
    both = of_cells(result, up, down)
    lines, figures = list(adapt_lines(both)), adapt_json(both)
    assert figures["measured_uplinks"]["vs_best_static_mean"] == 0.5
    assert figures["vs_best_static_mean"] == 200 / 250
    assert any(line.startswith("measured uplinks alone, over 1 traces: ours") for line in lines)
    assert {"net, lte_up[3+1s] (measured uplink)", "net, lte_dl[3+1s] (measured downlink)"} <= {
        *lines
    }
    assert [trace["origin"]["direction"] for trace in figures["traces"]] == ["up", "down"]


def test_measured_uplinks_need_no_line_where_there_is_nothing_else(result: AdaptResult) -> None:
    only = of_cells(result, cell({"ours": [100], "a": [200]}, trace="lte_up[3+1s]"))
    assert adapt_json(only)["measured_uplinks"] is None
    assert not [line for line in adapt_lines(only) if line.startswith("measured uplinks")]


def test_each_dead_link_is_told_with_its_model(result: AdaptResult) -> None:
    found = moments(story(), replace(story(), model="slow", detect_s=9.0))
    lines = list(adapt_lines(replace(result, moments=found)))
    assert any("half-open with net under cut: known after 1.30 s" in line for line in lines)
    assert any("half-open with slow under cut: known after 9.00 s" in line for line in lines)


def test_moments_that_a_plan_does_not_allow_are_skipped_with_a_line(result: AdaptResult) -> None:
    found = replace(result, moments=replace(moments(story()), pipelining=None))
    lines = list(adapt_lines(found))
    assert any(line.startswith("  no pipelining: ") for line in lines)
    assert any(line.startswith("  no forced switches: ") for line in lines)
    assert adapt_json(found)["pipeline_speedup_rtt50"] is None
