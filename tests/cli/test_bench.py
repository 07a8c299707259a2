"""`isthmus bench`: help, what is refused at once, and a run on a tiny network."""

import json
import signal
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.bench.wire.test_bench import ENCODER, stand_ins
from tests.cli.conftest import Isthmus
from tests.cli.test_usage import _WITHOUT, in_fresh_python
from tests.commands import assert_explained

from isthmus_bench.wire import bench
from isthmus_bench.wire.bench import STREAMED
from isthmus_bench.wire.subjects import SUBJECT_NAMES

SHORT = ("--inputs", 3, "--frames", 0, "--fuzz-frames", 0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network under the names of two real ones; the fastest of those takes 25 s."""
    monkeypatch.setattr(bench, "subjects", stand_ins)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be measured."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the work began")

    monkeypatch.setattr(bench, "subjects", refuse)


def test_help_says_what_is_measured_and_on_which_models(isthmus: Isthmus) -> None:
    ended = isthmus("bench", "--help")
    assert (ended.status, ended.err) == (0, "")
    words = [
        "usage: isthmus bench", "zlib", "H.264",
        "{wire,cut,precision,plan,link,adapt,edge,serve,scale}",
        *SUBJECT_NAMES, "examples:", "isthmus bench wire",
    ]  # fmt: skip
    flat = " ".join(ended.out.split())
    assert [word for word in words if word not in flat.replace("- ", "-")] == []
    usage, _, examples = ended.out.partition("examples:")
    flags = {word for word in examples.split() if word.startswith("--")}
    assert flags
    assert [flag for flag in flags if flag not in usage] == []


def test_the_list_of_verbs_has_it(isthmus: Isthmus) -> None:
    verbs = isthmus("--help").out.partition("verbs:")[2].splitlines()
    assert any(line.split()[:1] == ["bench"] and len(line.split()) > 3 for line in verbs)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(
    isthmus: Isthmus, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals, status: int
) -> None:
    """So that the processes that it started end, too."""
    released: list[signal.Signals] = []

    def interrupted(*_: object, **__: object) -> NoReturn:
        try:
            signal.raise_signal(signum)
            raise AssertionError("it went on")
        finally:
            released.append(signum)

    monkeypatch.setattr(bench, "subjects", interrupted)
    ended = isthmus("bench", "wire", *SHORT)
    assert (ended.status, ended.out, released) == (status, "", [signum])


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--models", "vgg"), ("'vgg'", *SUBJECT_NAMES)),
        (("--models", ENCODER, "vgg"), ("'vgg'", *SUBJECT_NAMES)),
        (("--floor", "1.5"), ("floor", "1.5", "0-1")),
        (("--inputs", "2"), ("inputs", "3 or more")),
        (("--frames", "-1"), ("frames", "0 or more")),
        (("--fuzz-frames", "-1"), ("fuzz_frames", "0 or more")),
    ],
    ids=" ".join,
)
def test_a_setting_that_cannot_be_used_is_named_with_what_can(
    isthmus: Isthmus, tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """And the figures of another day are still there."""
    figures = tmp_path / "wire.json"
    figures.write_text("of yesterday")
    assert_explained(isthmus("bench", "wire", "--json", figures, *flags), *words)
    assert figures.read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("what",)),
        (("fire",), ("'fire'", "wire")),
        (("wire", "--inputs", "few"), ("--inputs", "'few'")),
        (("wire", "--models"), ("--models",)),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_named_and_ends_with_status_2(
    isthmus: Isthmus, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = isthmus("bench", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert [word for word in words if word not in ended.err.splitlines()[-1]] == []


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("name", ["none/wire.json", "."])
def test_a_file_for_the_figures_that_cannot_be_written_is_named_before_the_work(
    isthmus: Isthmus, tmp_path: Path, name: str
) -> None:
    figures = tmp_path / name
    assert_explained(isthmus("bench", "wire", "--json", figures), str(figures), "cannot be written")


@pytest.mark.parametrize("before", ["of another day", None])
def test_a_bench_that_fails_leaves_the_file_for_its_figures_as_it_was(
    isthmus: Isthmus, tmp_path: Path, before: str | None
) -> None:
    figures = tmp_path / "serve.json"
    if before is not None:
        figures.write_text(before)
    ended = isthmus("bench", "serve", "--bundle", tmp_path / "none", "--json", figures)
    assert_explained(ended, str(tmp_path / "none"))
    assert (figures.read_text() if figures.exists() else None) == before


@pytest.mark.usefixtures("small")
def test_a_run_prints_its_report_and_writes_the_figures(isthmus: Isthmus, tmp_path: Path) -> None:
    figures = tmp_path / "wire.json"
    ended = isthmus("bench", "wire", "--models", STREAMED, ENCODER, *SHORT, "--json", figures)
    assert ended.status == 0
    assert ended.out.startswith("Measured on ")
    for cut in ("b07", "b14", "branches (2 tensors)", "sum"):
        assert cut in ended.out
    assert "g. Hostile frames: 0 mutated, 0 failures" in ended.out
    report: dict[str, Any] = json.loads(figures.read_bytes(), parse_constant=pytest.fail)
    assert {row["model"] for row in report["rows"]} == {STREAMED, ENCODER}
    assert report["vs_order0_geomean"] > 0
    assert (report["inputs"], report["fuzz_frames"], report["streams"]) == (3, 0, [])
    for line in ended.err.splitlines():
        seconds, unit, step = line.split(maxsplit=2)
        assert float(seconds) >= 0
        assert (unit, bool(step)) == ("s", True)
    assert f"{ENCODER}: cut sum" in ended.err


@pytest.mark.usefixtures("small")
def test_a_floor_that_is_asked_for_chooses_the_rungs(isthmus: Isthmus, tmp_path: Path) -> None:
    chosen = []
    for floor in (0, 1):
        figures = tmp_path / f"{floor}.json"
        ended = isthmus(
            "bench", "wire", "--models", ENCODER, *SHORT, "--floor", floor, "--json", figures,
            "--quiet",
        )  # fmt: skip
        assert (ended.status, ended.err) == (0, "")
        report = json.loads(figures.read_bytes())
        assert report["floor"] == floor
        chosen.append([row["chosen"] for row in report["rows"]])
        for row in report["rows"]:
            meets = [rung["agreement"] >= floor for rung in row["rungs"]]
            assert row["chosen"] == max([*meets, False].index(False) - 1, 0)
    assert chosen[0] == [8, 8]


def test_without_the_networks_and_codecs_the_extra_is_named() -> None:
    ended = in_fresh_python(_WITHOUT, "onnx", "bench", "--help")
    assert_explained(ended, "isthmus bench", "onnx", "pip install 'isthmus[bench,wire-bench]'")
