"""`isthmus bench plan`: its report and its figures, and flags that it cannot use."""

import json
from pathlib import Path

import pytest
from tests.bench.plan.made_up import cell, row
from tests.cli.conftest import Isthmus
from tests.cli.recording import Recorder
from tests.commands import assert_explained

from isthmus_bench.plan.bench import PlanBenchResult
from isthmus_bench.plan.config import PlanBenchConfig
from isthmus_cli import bench

Recording = Recorder[PlanBenchConfig, PlanBenchResult]


def measured(config: PlanBenchConfig) -> PlanBenchResult:
    cells = (cell(row("local", "local", 10), row("input-raw", "cloud-only", 20)),)
    return PlanBenchResult(
        machine="a machine", stolen_share=0.0, config=config, cells=cells, drift=(1, 1, 1)
    )


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recorder = Recording(measured)
    monkeypatch.setattr(bench, "run_plan_bench", recorder)
    return recorder


def test_a_run_prints_its_report_and_writes_the_figures(
    isthmus: Isthmus, recorder: Recording, tmp_path: Path
) -> None:
    figures = tmp_path / "plan.json"
    flags = ("--models", "minilm", "--links", 3, 5.85, "--slow-downs", 2, "--json", figures)
    ended = isthmus("bench", "plan", *flags)
    assert ended.status == 0
    assert ended.out.startswith("Measured on a machine")
    assert [each["candidate"] for each in json.loads(figures.read_bytes())["rows"]] == [
        "local",
        "input-raw",
    ]
    (asked,) = recorder.asked
    assert (asked.models, asked.links_mbps, asked.slow_downs) == (("minilm",), (3.0, 5.85), (2.0,))


def test_quick_is_the_smaller_bench(isthmus: Isthmus, recorder: Recording) -> None:
    assert isthmus("bench", "plan", "--quick").status == 0
    assert isthmus("bench", "plan").status == 0
    quick, whole = recorder.asked
    assert len(quick.models) == 1
    assert quick.frames < whole.frames


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "--models", "vgg"), ("'vgg'", "minilm")),
        (("plan", "--links", "0"), ("links", "above 0")),
        (("plan", "--slow-downs", "2", "2"), ("slow_downs", "distinct")),
        (("plan", "--budget", "0.5"), ("--budget", "bench precision")),
        (("wire", "--slow-downs", "5"), ("--slow-downs", "bench plan")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_refused(
    isthmus: Isthmus, recorder: Recording, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("bench", *arguments), *words)
    assert recorder.asked == []
