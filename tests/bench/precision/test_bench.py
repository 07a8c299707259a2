"""The bench of mixed precision on a tiny network, and what its report says."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.partitioner.networks import pictures, residual

from isthmus import ConfigError
from isthmus_bench.precision import bench
from isthmus_bench.precision.bench import (
    PRECISION_MODELS,
    PrecisionBenchConfig,
    PrecisionBenchResult,
    run_precision_bench,
)
from isthmus_bench.precision.report import precision_json, precision_lines
from isthmus_models import MODELS, Model
from isthmus_models.drawn import Part

NAME = "efficientnet-lite0"
SMALL = PrecisionBenchConfig(models=(NAME,), calibration=8, inputs=5)
SEEDS: dict[Part, int] = {"calibration": 1, "evaluation": 2}


def tiny_items(part: Part, count: int) -> tuple[Mapping[str, NDArray[np.generic]], tuple[str, ...]]:
    sources = tuple(f"{part} {row % 3}" for row in range(count))
    return {"picture": pictures(count, seed=SEEDS[part])}, sources


def tiny(name: str) -> Model:
    return replace(MODELS[name], make=residual, items=tiny_items, picture_size=32)


@pytest.fixture(scope="module")
def result() -> PrecisionBenchResult:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "get_model", tiny)
        found = run_precision_bench(SMALL, lines.append)
    assert all(line.startswith(f"{NAME}: ") for line in lines)
    assert lines
    return found


def test_a_row_has_fp32_int8_and_the_mix_beside_each_other(result: PrecisionBenchResult) -> None:
    (row,) = result.rows
    assert (row.model, row.metric) == (NAME, "top-1")
    assert row.kl_all_int8 is not None
    assert row.ms_all_int8 is not None
    assert row.kl_all_int8 > 0
    assert min(row.ms_fp32, row.ms_all_int8, row.ms_mixed) > 0
    assert 0 <= row.agreement_mixed <= 1
    assert len(row.fp32_groups) <= row.groups


def test_the_report_shows_every_row_and_its_front(result: PrecisionBenchResult) -> None:
    text = "\n".join(precision_lines(result))
    (row,) = result.rows
    assert text.startswith("Measured on ")
    assert f"{row.ms_fp32:.2f}" in text
    assert row.reason in text
    assert [point.name for point in row.front if point.name not in text] == []
    assert ("CAUTION" in text) == (result.stolen_share > 0.05)


def test_a_starved_machine_is_admitted(result: PrecisionBenchResult) -> None:
    assert "CAUTION" in "\n".join(precision_lines(replace(result, stolen_share=0.2)))


def test_the_json_has_the_keys_that_are_promised(result: PrecisionBenchResult) -> None:
    figures = json.loads(json.dumps(precision_json(result)), parse_constant=pytest.fail)
    (row,) = figures["rows"]
    promised = {"model", "kl_all_int8", "kl_mixed", "ms_fp32", "ms_all_int8", "ms_mixed", "front"}
    assert promised <= row.keys()
    assert row["mixed_vs_int8_time"] == row["ms_mixed"] / row["ms_all_int8"]
    assert {"ms", "divergence", "agreement", "fp32_groups"} <= row["front"][0].keys()
    assert figures["machine"] == result.machine


def test_a_network_that_int8_cannot_run_has_no_int8_figures(result: PrecisionBenchResult) -> None:
    (row,) = result.rows
    bare = replace(row, kl_all_int8=None, ms_all_int8=None, agreement_all_int8=None)
    without = replace(result, rows=(bare,))
    assert precision_json(without)["rows"][0]["mixed_vs_int8_time"] is None
    table = list(precision_lines(without))
    (line,) = (line for line in table if line.startswith(NAME) and f"of {row.groups}" in line)
    assert line.split().count("-") == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"models": ("vgg",)}, "vgg"),
        ({"models": ()}, "known"),
        ({"budget": 0.0}, "above 0"),
        ({"inputs": 3}, "4 or more"),
        ({"calibration": 1}, "4 or more"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PrecisionBenchConfig(**settings)  # type: ignore[arg-type]


def test_the_suite_is_of_known_models() -> None:
    assert set(PRECISION_MODELS) <= MODELS.keys()
