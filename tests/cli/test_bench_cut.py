"""`isthmus bench cut`: a run on small networks, and flags of the other benches refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import assert_explained

from isthmus_bench.cut.bench import CutBenchConfig
from isthmus_cli import bench as verb


@pytest.mark.parametrize("flags", [(), ("--quick",)])
def test_a_run_prints_its_report_and_writes_the_figures(
    isthmus: Isthmus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    class Small(CutBenchConfig):
        @classmethod
        def quick(cls) -> CutBenchConfig:
            return CutBenchConfig(real=(), sizes=(15, 30), runs=2)

    whole = CutBenchConfig(real=(), sizes=(20, 40), runs=1)
    monkeypatch.setattr(Small, "__new__", lambda _: whole)
    monkeypatch.setattr(verb, "CutBenchConfig", Small)
    figures = tmp_path / "cut.json"
    ended = isthmus("bench", "cut", *flags, "--quiet", "--json", figures)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("Measured on ")
    report: dict[str, Any] = json.loads(figures.read_bytes(), parse_constant=pytest.fail)
    assert {row["nodes"] for row in report["synthetic"]} == ({15, 30} if flags else {20, 40})
    assert report["runs"] == (2 if flags else 1)
    assert report["growth_exponent"] == max(report["growth_exponents"].values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cut", "--floor", "0.5"), ("--floor", "bench wire")),
        (("cut", "--fuzz-frames", "1"), ("--fuzz-frames", "bench wire")),
        (("wire", "--quick"), ("--quick", "bench cut")),
    ],
    ids=" ".join,
)
def test_a_flag_of_another_bench_is_refused(
    isthmus: Isthmus, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """And the figures of another day are still there."""
    figures = tmp_path / "figures.json"
    figures.write_text("of yesterday")
    assert_explained(isthmus("bench", *arguments, "--json", figures), *words)
    assert figures.read_text() == "of yesterday"
