"""`isthmus bench precision`: a run on a tiny network, and flags of the other benches refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.bench.precision.test_bench import NAME, tiny
from tests.cli.conftest import Isthmus
from tests.commands import assert_explained

from isthmus_bench.precision import bench


def test_a_run_prints_its_report_and_writes_the_figures(
    isthmus: Isthmus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "get_model", tiny)
    figures = tmp_path / "precision.json"
    ended = isthmus(
        "bench", "precision", "--models", NAME, "--inputs", 4, "--budget", 0.5, "--json", figures
    )
    assert ended.status == 0
    assert ended.out.startswith("Measured on ")
    assert f"{NAME}: comparing answers to 4 evaluation items" in ended.err
    report: dict[str, Any] = json.loads(figures.read_bytes(), parse_constant=pytest.fail)
    assert [row["model"] for row in report["rows"]] == [NAME]
    assert (report["budget"], report["inputs"]) == (0.5, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("precision", "--floor", "0.5"), ("--floor", "bench wire")),
        (("precision", "--models", "vgg"), ("'vgg'", NAME)),
        (("precision", "--budget", "0"), ("budget", "above 0")),
        (("wire", "--budget", "0.5"), ("--budget", "bench precision")),
        (("cut", "--models", NAME), ("--models", "bench wire")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_refused(
    isthmus: Isthmus, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("bench", *arguments), *words)
