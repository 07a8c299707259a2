"""`isthmus bench scale`: its report, its figures, its flags."""

import json
from pathlib import Path

import pytest
from tests.bench.scale.made_up import result
from tests.cli.conftest import Isthmus
from tests.cli.recording import Recorder
from tests.commands import assert_explained

from isthmus_bench.scale.config import ScaleConfig, quick_scale
from isthmus_bench.scale.figures import ScaleResult
from isthmus_cli import bench

Recording = Recorder[ScaleConfig, ScaleResult]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recorder = Recording(lambda _: result())
    monkeypatch.setattr(bench, "run_scale_bench", recorder)
    return recorder


def test_a_run_prints_its_report_and_writes_the_figures(
    isthmus: Isthmus, recorder: Recording, tmp_path: Path
) -> None:
    figures, work = tmp_path / "scale.json", tmp_path / "work"
    flags = ("--slo-ms", 30, "--fleets", 10, 2000, "--kills", 3, "--rounds", 2, "--fps", 4)
    prices = ("--replica-price", 1.5, "--front-end-price", 0, "--no-ray", "--traces", tmp_path)
    places = ("--bundle", tmp_path, "--work", work, "--json", figures)
    ended = isthmus("bench", "scale", *flags, *prices, *places)
    assert ended.status == 0
    assert ended.out.startswith("Measured on a machine")
    assert json.loads(figures.read_bytes())["scaling_2"] == pytest.approx(1.9)
    (asked,) = recorder.asked
    assert (asked.slo_ms, asked.fleets, asked.kills, asked.fps) == (30.0, (10, 2000), 3, 4.0)
    assert (asked.replica_price, asked.front_end_price, asked.ray) == (1.5, 0.0, False)
    assert (asked.rounds, asked.bundle, asked.work) == (2, tmp_path, work)
    assert asked.traces == tmp_path


def test_without_flags_everything_is_measured_and_quick_is_less(
    isthmus: Isthmus, recorder: Recording
) -> None:
    assert isthmus("bench", "scale").status == 0
    assert isthmus("bench", "scale", "--quick").status == 0
    whole, quick = recorder.asked
    assert whole == ScaleConfig(work=Path("isthmus-scale"))
    assert quick == quick_scale(Path("isthmus-scale"))
    assert (quick.rounds, quick.kills) < (whole.rounds, whole.kills)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scale", "--models", "vgg"), ("'vgg'", "minilm")),
        (("scale", "--models", "minilm", "magika"), ("one model", "--bundle")),
        (("scale", "--fleets", "0"), ("fleets", "1 device or more")),
        (("scale", "--replica-price", "-1"), ("replica_price", "0 or more")),
        (("scale", "--gpu"), ("--gpu", "bench serve")),
        (("serve", "--kills", "2"), ("--kills", "bench scale")),
        (("edge", "--no-ray"), ("--no-ray", "bench scale")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_refused(
    isthmus: Isthmus, recorder: Recording, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("bench", *arguments), *words)
    assert recorder.asked == []
