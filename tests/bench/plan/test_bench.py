"""The whole bench on a tiny network and one link, and what its report says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.bench.plan.made_up import cell, row
from tests.partitioner.conftest import QUICK, samples_of
from tests.partitioner.networks import residual, saved

from isthmus import ConfigError
from isthmus_bench.plan import bench
from isthmus_bench.plan.bench import PlanBenchResult, run_plan_bench
from isthmus_bench.plan.config import PlanBenchConfig, quick_bench
from isthmus_bench.plan.planners import PLANNERS, Choice, Planners
from isthmus_bench.plan.report import plan_json, plan_lines
from isthmus_bench.plan.subject import Subject
from isthmus_edge.profiling import ProfilingConfig, profile_kit
from isthmus_partitioner import Network, SampleSets, load_model
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.planning.node_costs import NodeCosts

NAME = "efficientnet-lite0"
SMALL = PlanBenchConfig(
    models=(NAME,),
    links_mbps=(100.0, 0.02),  # on the second a picture takes too long, raw or as a JPEG
    slow_downs=(2.0,),
    rtt_ms=5.0,
    frames=3,
    pipelined_s=0.1,
    too_slow_s=0.25,
    plan=replace(QUICK, max_cuts=1, steps=(1 / 4, 1)),
)


def tiny_subject(name: str, _config: PlanBenchConfig, folder: Path) -> Subject:
    network = load_model(saved(residual(), folder / "model.onnx"))
    return Subject(
        name=name,
        network=network,
        sets=SampleSets(
            fitted=samples_of(8, 1, "one"),
            held_back=samples_of(4, 3, "two"),
            evaluation=samples_of(5, 2, "three"),
        ),
        metric=metric_for("classify", network.outputs),
        top_k=2,
        folder=folder,
        measure=partial(profile_kit, config=ProfilingConfig(rounds=3, kernel_runs=1)),
    )


class Stubborn:
    """Other planners with opinions of their own, of which the second needs two tensors.

    The real ones are heard, and not obeyed.
    """

    def __init__(self, network: Network, costs: NodeCosts) -> None:
        self._nodes = list(network.model.graph.node)
        self._real = Planners(network, costs)

    def _up_to(self, tensor: str) -> frozenset[int]:
        last = next(i for i, node in enumerate(self._nodes) if tensor in node.output)
        return frozenset(range(last + 1))

    def choices(self, bps: float, return_ms: float) -> Mapping[str, Choice]:
        heard = self._real.choices(bps, return_ms)
        assert heard.keys() == set(PLANNERS)
        return {
            "neurosurgeon": Choice(self._up_to("stem.relu"), 12.0),
            "dag min-cut": Choice(self._up_to("outer"), 34.0),
            "stay": Choice(None, 56.0),
            "go": Choice(frozenset(), 78.0),
        }


@pytest.fixture(scope="module")
def result() -> PlanBenchResult:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "Planners", Stubborn)
        found = run_plan_bench(SMALL, lines.append, tiny_subject)
    assert all(line.startswith(NAME) for line in lines)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    return found


def test_every_way_is_measured_in_its_cell(result: PlanBenchResult) -> None:
    found, _ = result.cells
    assert (found.model, found.link_mbps, found.slow_down) == (NAME, 100.0, 2.0)
    ways = {each.way: each for each in found.rows}
    assert {"local", "input-raw", "input-jpeg", "edge-only fp32", "edge-only int8"} <= ways.keys()
    for each in found.rows:
        assert min(each.measured_ms, each.measured_fps, each.predicted_fps) > 0
        assert each.predicted.latency_ms > 0
        assert (each.payload_bytes > 0) == (each.kind not in {"local", "edge-only"})
        assert (each.measured.cloud_ms > 0) == (each.payload_bytes > 0)


def test_cuts_of_other_planners_are_run_with_fp32_on_the_wire(result: PlanBenchResult) -> None:
    found, _ = result.cells
    others = {row.payload_bytes: row for row in found.rows if row.kind == "fp32 wire"}
    one = 8 * 8 * 8 * 4
    assert others.keys() == {one, 2 * one}
    assert others[one].planners == {"neurosurgeon": 12.0}
    assert others[2 * one].planners == {"dag min-cut": 34.0}
    assert all(row.agreement == 1 and row.is_baseline for row in others.values())


def test_other_planners_may_stay_on_the_device_or_send_the_raw_input(
    result: PlanBenchResult,
) -> None:
    found, _ = result.cells
    planners = {row.way: row.planners for row in found.rows if row.kind != "fp32 wire"}
    assert planners.pop("edge-only fp32") == {"stay": 56.0}
    assert planners.pop("input-raw") == {"go": 78.0}
    assert not any(planners.values())


def test_the_json_has_its_keys_and_every_row(result: PlanBenchResult) -> None:
    figures: dict[str, Any] = json.loads(json.dumps(plan_json(result)), parse_constant=pytest.fail)
    keys = {
        "mape",
        "regret_mean",
        "regret_max",
        "never_worse_than_best_baseline_by",
        "speedup_vs_cloud_raw_mean",
        "speedup_vs_cloud_jpeg_mean",
    }
    own = {"board_drift", "cloud_seconds_per_answer_vs_whole_model", "machine"}
    assert keys | own <= figures.keys()
    assert keys <= figures["throughput"].keys()
    assert figures["rtt_ms"] == 5.0
    assert len(figures["rows"]) == sum(len(each.rows) for each in result.cells)
    chosen, *others = (each for each in figures["rows"] if each["is_chosen"])
    assert len(others) == len(result.cells) - 1
    assert chosen["candidate"] == result.cells[0].chosen("latency").way
    assert {"predicted_ms", "measured_ms", "spread", "meets_floor", "kind"} <= chosen.keys()


def test_the_report_explains_what_is_worse_and_what_is_below_the_floor() -> None:
    jpeg = row("input-jpeg", "cloud-only", 90, meets_floor=False, agreement=0.5)
    raw = row("input-raw", "cloud-only", 100)
    split = row("conv", "split", 200, predicted_ms=50)
    made_up = PlanBenchResult(
        machine="a machine",
        stolen_share=0.2,
        config=SMALL,
        cells=(replace(cell(raw, jpeg, split), left_out=("input-webp",)),),
        drift=(0.9, 1.0, 1.5),
    )
    lines = list(plan_lines(made_up))
    assert lines[0].startswith("Measured on a machine")
    assert any(line.startswith("CAUTION: ") for line in lines)
    assert any(line.startswith("This machine took 0.90 to 1.50 times") for line in lines)
    assert any(line.endswith("were predicted: input-webp") for line in lines)
    assert plan_json(made_up)["left_out"][0]["ways"] == ["input-webp"]
    assert any("never winners: input-jpeg of net (0.500)" in line for line in lines)
    assert any("conv is 100.0% behind input-raw" in line for line in lines)


def test_what_would_take_too_long_is_left_out(result: PlanBenchResult) -> None:
    quick, slow = result.cells
    assert (slow.link_mbps, quick.left_out) == (0.02, ())
    assert "input-raw" in slow.left_out
    assert "local" in {each.way for each in slow.rows}
    assert not {each.way for each in slow.rows} & set(slow.left_out)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"models": ("vgg",)}, "'vgg'"),
        ({"models": ()}, "known: "),
        ({"links_mbps": (0.0,)}, "links"),
        ({"slow_downs": (1.0, 1.0)}, "distinct"),
        ({"slow_downs": ()}, "slow_downs"),
        ({"frames": 0}, "frames"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PlanBenchConfig(**flags)


def test_quick_is_small_unless_more_is_asked_for() -> None:
    assert len(quick_bench().models) == 1
    assert len(quick_bench().links_mbps) == len(quick_bench().slow_downs) == 2
    assert quick_bench(models=("minilm",), links_mbps=(3.0,)).links_mbps == (3.0,)
