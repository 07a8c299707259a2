"""`isthmus bench edge`: its report and its figures, its defaults, and flags that it cannot use."""

import json
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.recording import Recorder
from tests.commands import assert_explained

from isthmus_bench.edge.config import EdgeBenchConfig
from isthmus_bench.edge.devices import Device
from isthmus_bench.edge.figures import EdgeBenchResult, ModelResult
from isthmus_cli import bench

Recording = Recorder[EdgeBenchConfig, EdgeBenchResult]


def measured(config: EdgeBenchConfig) -> EdgeBenchResult:
    model = ModelResult(
        model=config.models[0], metric="top-1", shares=(), memory=(), runtimes=(),
        yardstick=(), notes=(),
    )  # fmt: skip
    return EdgeBenchResult(
        machine="a machine", stolen_share=0.0, config=config, models=(model,),
        devices=(Device("litert", Path("python"), problem="litert is not installed"),),
        imports={}, imports_here={}, installs=(), not_installed={},
    )  # fmt: skip


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recorder = Recording(measured)
    monkeypatch.setattr(bench, "run_edge_bench", recorder)
    return recorder


def test_a_run_prints_its_report_and_writes_the_figures(
    isthmus: Isthmus, recorder: Recording, tmp_path: Path
) -> None:
    figures = tmp_path / "edge.json"
    flags = ("--models", "minilm", "--inputs", 5, "--skip-install", "--json", figures)
    ended = isthmus("bench", "edge", *flags, "--tflite-python", sys.executable)
    assert ended.status == 0
    assert ended.out.startswith("Measured on a machine")
    assert "litert: not measured: litert is not installed" in ended.out
    report = json.loads(figures.read_bytes())
    assert report["model"] == "minilm"
    assert [(each["name"], each["int8_ms"]) for each in report["runtimes"]] == [("litert", None)]
    (asked,) = recorder.asked
    assert (asked.models, asked.inputs, asked.install) == (("minilm",), 5, False)
    assert asked.tflite_python == Path(sys.executable)


def test_quick_is_the_smaller_bench(isthmus: Isthmus, recorder: Recording) -> None:
    assert isthmus("bench", "edge", "--quick").status == 0
    assert isthmus("bench", "edge").status == 0
    quick, whole = recorder.asked
    assert (quick.processes, quick.inputs) < (whole.processes, whole.inputs)
    assert quick.install
    assert whole == EdgeBenchConfig()


def test_help_shows_the_defaults_of_every_bench(isthmus: Isthmus) -> None:
    defaults = isthmus("bench", "edge", "--help").out.partition("defaults of each bench")[2]
    rows = defaults.partition("examples:")[0]
    config = EdgeBenchConfig()
    assert f"--models {config.models[0]} --inputs {config.inputs}" in rows
    named = [line.split()[0] for line in rows.splitlines() if line[2:3].strip()]
    assert named == ["wire", "precision", "plan", "adapt", "edge", "serve", "scale"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("edge", "--models", "vgg"), ("'vgg'", "minilm")),
        (("edge", "--inputs", "1"), ("inputs", "4 or more")),
        (("edge", "--tflite-python", "none/python"), ("none/python",)),
        (("edge", "--floor", "0.5"), ("--floor", "bench wire")),
        (("wire", "--skip-install"), ("--skip-install", "bench edge")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_refused(
    isthmus: Isthmus, recorder: Recording, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("bench", *arguments), *words)
    assert recorder.asked == []
