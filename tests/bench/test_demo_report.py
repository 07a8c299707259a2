"""What the demo shows and writes, from a run whose figures were made up."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from PIL import Image
from tests.bench.test_comparison import JPEG, LOCAL, SPLIT, comparison

from isthmus import open_bundle
from isthmus_bench.demo import DemoConfig, DemoResult
from isthmus_bench.demo_report import demo_json, demo_lines, draw_charts
from isthmus_bench.live import LiveEvent, LiveResult
from isthmus_partitioner import Goals, Plan
from isthmus_partitioner.planning.prices import DEFAULT_PRICES
from isthmus_partitioner.planning.records import GoalsRecord, PlanRecord
from isthmus_partitioner.planning.selection import standing_of

SWITCH = {"at_s": 1.2, "before": "cut-16", "after": "local", "reason": "no link"}
ANSWER = {
    "picture": "cat.png", "label": "tabby", "probability": 0.93, "right": True,
    "candidate": "cut-16", "place": "cloud", "latency_ms": 61.0,
}  # fmt: skip
LIVE = LiveResult(
    accepted=5,
    answered_cloud=3,
    answered_edge=2,
    errors=0,
    lost=0,
    switches=[SWITCH],
    events=[
        LiveEvent(0.2, 60.0, "cut-16", "cloud", 0),
        LiveEvent(0.4, 61.0, "cut-16", "cloud", 0),
        LiveEvent(1.3, 150.0, "local", "device", 1),
        LiveEvent(1.5, 150.0, "local", "device", 1),
        LiveEvent(2.1, 60.0, "input-raw", "cloud", 2),
    ],
    phases=[(0.0, 1.0, "1.1 Mbit/s"), (1.0, 2.0, "cut off"), (2.0, 3.0, "1.1 Mbit/s")],
)


@pytest.fixture
def config(tmp_path: Path) -> DemoConfig:
    return DemoConfig(out=tmp_path)


@pytest.fixture
def result(tiny_bundle: Path) -> DemoResult:
    manifest = open_bundle(tiny_bundle, "device").manifest
    goals = GoalsRecord.of(
        standing_of(manifest.candidates, {c.id: c for c in manifest.cuts}, Goals(), DEFAULT_PRICES)
    )
    record = PlanRecord(
        goals=goals,
        prices=DEFAULT_PRICES,
        wins=(),
        nearest=(),
        rejected=(),
        forecasts=(),
        gaps=(),
        front=(),
        head_times=(),
        transforms=(),
        runtimes=(),
        layout="",
        why=(),
        notes=(),
        precision="int8",
        precision_reason="the fastest",
        calibration_items=24,
        evaluation_items=84,
        evaluation_sources=6,
    )
    plan = Plan(manifest=manifest, record=record)
    shares = dict.fromkeys((c.id for c in manifest.candidates), 0.99) | {"cut-16": 0.94}
    marked = replace(SPLIT, chosen=True, chosen_throughput=True)
    return DemoResult(
        machine="a machine",
        stolen_share=0.01,
        edge_factor=12.5,
        plan=plan,
        answers=[ANSWER, ANSWER | {"picture": "dog.png", "right": False}],
        agreement=shares,
        comparisons=[comparison(LOCAL, marked, JPEG), comparison(LOCAL, marked)],
        live=LIVE,
    )


@pytest.fixture
def report(result: DemoResult, config: DemoConfig) -> dict[str, Any]:
    """What a program reads: the JSON, there and back."""
    text = json.dumps(demo_json(result, config), allow_nan=False)
    read: dict[str, Any] = json.loads(text)
    return read


def test_json_has_each_link_with_a_row_for_each_way(report: dict[str, Any]) -> None:
    assert [link["mbps"] for link in report["links"]] == [1.1, 1.1]
    rows = report["links"][0]["rows"]
    assert [row["name"] for row in rows] == [LOCAL.name, SPLIT.name, JPEG.name]
    wanted = {
        "name", "latency_ms", "throughput_fps", "payload_bytes", "agreement", "meets_floor",
        "chosen", "chosen_throughput",
    }  # fmt: skip
    assert all(wanted <= set(row) for row in rows)
    split = rows[1]
    assert (split["latency_ms"], split["throughput_fps"]) == (100, 10.0)
    assert (split["payload_bytes"], split["agreement"]) == (1000, 0.99)
    assert (split["meets_floor"], split["chosen"], split["chosen_throughput"]) == (True,) * 3
    assert (rows[0]["chosen"], rows[0]["chosen_throughput"]) == (False, False)


def test_json_has_what_became_of_every_frame_of_the_live_run(report: dict[str, Any]) -> None:
    live = report["live"]
    assert live["accepted"] == 5
    assert (live["answered_cloud"], live["answered_edge"], live["lost"]) == (3, 2, 0)
    assert live["switches"] == [SWITCH]


def test_json_has_the_agreement_of_this_run_beside_the_plans(report: dict[str, Any]) -> None:
    assert report["agreement"] == pytest.approx((4 * 0.99 + 0.94) / 5)
    assert report["plan_agreement"] == 1.0


def test_a_candidate_below_the_floor_in_the_plan_does_not_count(
    result: DemoResult, config: DemoConfig
) -> None:
    """The policy may never choose it."""
    plan = result.plan
    coarse = plan.manifest.candidate("cut-16")
    figures = structs.replace(coarse.figures, agreement=0.94)
    poor = structs.replace(coarse, rungs=(structs.replace(coarse.rungs[0], figures=figures),))
    candidates = tuple(poor if c is coarse else c for c in plan.manifest.candidates)
    manifest = structs.replace(plan.manifest, candidates=candidates)
    poorer = replace(result, plan=structs.replace(plan, manifest=manifest))
    assert demo_json(poorer, config)["agreement"] == pytest.approx(0.99)


def test_the_report_has_its_parts_in_order(result: DemoResult, config: DemoConfig) -> None:
    lines = list(demo_lines(result, config))
    parts = ["a. Answers", "b. Links", "c. Live run"]
    assert [line for line in lines if line in parts] == parts
    assert "12.5 times" in lines[1]
    assert "150 ms" in lines[1]


def test_the_report_tells_each_answer_and_how_many_are_right(
    result: DemoResult, config: DemoConfig
) -> None:
    text = "\n".join(demo_lines(result, config))
    assert "cat.png: tabby 0.93 (right; 61 ms, cut-16, cloud)" in text
    assert "dog.png: tabby 0.93 (wrong;" in text
    assert "1 of 2 right" in text


def test_the_report_says_where_the_factor_came_from(result: DemoResult, tmp_path: Path) -> None:
    given = DemoConfig(out=tmp_path, edge_factor=12.5)
    assert "--edge-factor" in list(demo_lines(result, given))[1]


def test_the_report_tells_the_live_run(result: DemoResult, config: DemoConfig) -> None:
    text = "\n".join(demo_lines(result, config))
    assert "1.0- 2.0 s       cut off: 0 frames answered by the cloud, 2 by the device" in text
    assert "1.2 s  cut-16 -> local" in text
    assert "accepted 5, answered 5 (cloud 3, device 2), lost 0" in text


def test_the_report_says_of_each_link_whether_splitting_wins(
    result: DemoResult, config: DemoConfig
) -> None:
    text = "\n".join(demo_lines(result, config))
    assert text.count("1.1 Mbit/s, 40 ms round trip (believed: 1.00 Mbit/s)") == 2
    assert text.count("splitting wins: split early-16") == 4


def test_the_charts_are_pictures_in_the_folder_of_the_demo(
    result: DemoResult, config: DemoConfig
) -> None:
    charts = draw_charts(result, config)
    assert [chart.parent for chart in charts] == [config.out] * 2
    for chart in charts:
        with Image.open(chart) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 200


def test_the_report_of_a_starved_machine_says_that_it_means_little(
    result: DemoResult, config: DemoConfig
) -> None:
    assert "CAUTION" not in "\n".join(demo_lines(result, config))
    starved = replace(result, stolen_share=0.4)
    assert "40% less processor time" in "\n".join(demo_lines(starved, config))
