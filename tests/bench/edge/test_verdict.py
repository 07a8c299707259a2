"""What is said of figures: aims that are missed, int8 that is not used, weights in a file."""

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus import RuntimeName
from isthmus_bench.edge.config import EdgeBenchConfig
from isthmus_bench.edge.figures import (
    CutDifference,
    EdgeBenchResult,
    MemoryRow,
    ModelResult,
    NetworkTimes,
    RuntimeRow,
)
from isthmus_bench.edge.install import EXTRAS, Install
from isthmus_bench.edge.spread import Spread
from isthmus_bench.edge.subject import Kind, Precision
from isthmus_bench.edge.verdict import headline, misses, outside_weights


def weighed(
    kind: Kind,
    candidates: int,
    settled_mb: float,
    precision: Precision = "int8",
    runtime: RuntimeName = "onnxruntime",
) -> MemoryRow:
    figure = Spread(settled_mb, 0.0)
    return MemoryRow(
        runtime=runtime,
        precision=precision,
        kind=kind,
        candidates=candidates,
        settled=figure,
        peak=figure,
        anonymous=figure,
        load_ms=figure,
    )


def timed(fp32_ms: float, int8_ms: float, outside_ms: float = 10.0) -> RuntimeRow:
    return RuntimeRow(
        runtime="onnxruntime",
        fp32=NetworkTimes(whole=Spread(fp32_ms, 0)),
        int8=NetworkTimes(
            whole=Spread(int8_ms, 0), chain=Spread(outside_ms, 0), inside=Spread(10.0, 0)
        ),
    )


def model(*memory: MemoryRow, runtime: RuntimeRow) -> ModelResult:
    return ModelResult(
        model="net",
        metric="top-1",
        shares=(),
        memory=memory,
        runtimes=(runtime,),
        yardstick=(),
        notes=(),
    )


def said(one: ModelResult, *installs: Install) -> list[str]:
    return list(
        misses(
            EdgeBenchResult(
                machine="a machine",
                stolen_share=0.0,
                config=EdgeBenchConfig(),
                devices=(),
                models=(one,),
                imports_here={},
                imports={},
                installs=installs,
                not_installed={},
            )
        )
    )


@pytest.mark.parametrize(("settled_mb", "is_missed"), [(119, False), (121, True)])
def test_candidates_that_take_more_than_a_fifth_more_miss_the_aim(
    settled_mb: float, is_missed: bool
) -> None:
    one = model(weighed("whole", 0, 100), weighed("chain", 8, settled_mb), runtime=timed(10, 5))
    assert bool(said(one)) == is_missed


def test_the_baseline_may_take_what_it_wants() -> None:
    one = model(weighed("whole", 0, 100), weighed("prefixes", 8, 300), runtime=timed(10, 5))
    assert said(one) == []


def test_int8_that_is_slower_than_fp32_is_not_used() -> None:
    (line,) = said(model(runtime=timed(10, 25)))
    assert "2.50 times as long as fp32: not used here" in line


@pytest.mark.parametrize(("steps", "is_missed"), [(1.0, False), (1.2, True)])
def test_integers_that_are_far_from_the_reference_are_named(steps: float, is_missed: bool) -> None:
    cuts = (CutDifference(0.1, 0.3, 0.9), CutDifference(0.2, steps, 0.5))
    found = said(model(runtime=replace(timed(10, 5), cuts=cuts)))
    assert [line for line in found if "at 20% of the work are 1.20 steps" in line] == found
    assert bool(found) == is_missed


@pytest.mark.parametrize(("install_mb", "is_missed"), [(135, False), (136, True)])
def test_an_install_above_its_aim_is_named(install_mb: float, is_missed: bool) -> None:
    install = Install(EXTRAS[2], Path("python"), install_mb, 150.0, 7.0, ())
    found = said(model(runtime=timed(10, 5)), install)
    assert [line for line in found if "isthmus[edge-tflite] takes 136 MB" in line] == found
    assert bool(found) == is_missed


@pytest.mark.parametrize(
    ("settled_mb", "outside_ms", "words"),
    [
        (80, 10.0, "write them outside"),
        (97, 10.0, "leave them inside"),  # nothing saved that counts
        (80, 11.0, "leave them inside"),  # a frame takes longer
    ],
)
def test_weights_belong_outside_where_that_saves_memory_and_costs_no_time(
    settled_mb: float, outside_ms: float, words: str
) -> None:
    one = model(
        weighed("inside", 8, 100),
        weighed("chain", 8, settled_mb),
        runtime=timed(10, 5, outside_ms),
    )
    (verdict,) = outside_weights(one)
    assert words in verdict.sentence()
    assert f"{settled_mb / 100:.2f} of the memory" in verdict.sentence()


def test_the_first_figures_are_of_int8_on_onnx_runtime_or_the_nearest_there_is() -> None:
    rows = [
        weighed("whole", 0, 1, "int8", "litert"),
        weighed("whole", 0, 1, "fp32", "onnxruntime"),
        weighed("whole", 0, 1, "int8", "onnxruntime"),
    ]
    runtime = timed(1, 1)
    assert headline(model(*rows, runtime=runtime)) == ("onnxruntime", "int8")
    assert headline(model(*rows[:2], runtime=runtime)) == ("onnxruntime", "fp32")
    assert headline(model(*rows[:1], runtime=runtime)) == ("litert", "int8")
    assert headline(model(runtime=runtime)) is None
