"""`isthmus bench serve`: its report, its figures, its flags."""

import json
from pathlib import Path

import pytest
from tests.bench.serve.made_up import result
from tests.cli.conftest import Isthmus
from tests.cli.recording import Recorder
from tests.commands import assert_explained

from isthmus_bench.serve.config import PEER_NAMES, ServeBenchConfig, quick_serve
from isthmus_bench.serve.figures import ServeBenchResult
from isthmus_cli import bench

Recording = Recorder[ServeBenchConfig, ServeBenchResult]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recorder = Recording(lambda config: result(config=config))
    monkeypatch.setattr(bench, "run_serve_bench", recorder)
    return recorder


def test_a_run_prints_its_report_and_writes_the_figures(
    isthmus: Isthmus, recorder: Recording, tmp_path: Path
) -> None:
    figures, work = tmp_path / "serve.json", tmp_path / "work"
    flags = ("--slo-ms", 30, "--peers", "kserve, mlserver", "--gpu", "--rounds", 2)
    places = ("--bundle", tmp_path, "--work", work, "--json", figures)
    ended = isthmus("bench", "serve", *flags, *places)
    assert ended.status == 0
    assert ended.out.startswith("Measured on a machine")
    assert json.loads(figures.read_bytes())["slo_ms"] == 30
    (asked,) = recorder.asked
    assert (asked.slo_ms, asked.peers, asked.gpu) == (30.0, ("kserve", "mlserver"), True)
    assert (asked.rounds, asked.bundle, asked.work) == (2, tmp_path, work)


def test_without_flags_everything_is_measured_and_quick_is_less(
    isthmus: Isthmus, recorder: Recording
) -> None:
    assert isthmus("bench", "serve").status == 0
    assert isthmus("bench", "serve", "--quick", "--peers", "none").status == 0
    whole, quick = recorder.asked
    assert whole == ServeBenchConfig(work=Path("isthmus-serve"))
    assert whole.peers == PEER_NAMES
    assert quick == quick_serve(Path("isthmus-serve"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--models", "vgg"), ("'vgg'", "minilm")),
        (("serve", "--models", "minilm", "magika"), ("one model", "--bundle")),
        (("serve", "--models", "minilm", "--bundle", "x"), ("one model", "--bundle")),
        (("serve", "--peers", "torchserve"), ("'torchserve'", "kserve")),
        (("serve", "--slo-ms", "0"), ("slo_ms", "above 0")),
        (("serve", "--floor", "0.5"), ("--floor", "bench wire")),
        (("edge", "--gpu"), ("--gpu", "bench serve")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_refused(
    isthmus: Isthmus, recorder: Recording, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("bench", *arguments), *words)
    assert recorder.asked == []
