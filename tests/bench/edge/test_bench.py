"""The bench of the device on a tiny network, its runtimes in this process, and its report."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.partitioner.networks import pictures, two_branches

from isthmus import ConfigError
from isthmus_bench.edge import bench
from isthmus_bench.edge.bench import run_edge_bench
from isthmus_bench.edge.config import EdgeBenchConfig, quick_edge
from isthmus_bench.edge.data import edge_json
from isthmus_bench.edge.device import obey
from isthmus_bench.edge.devices import Device
from isthmus_bench.edge.figures import EdgeBenchResult, ModelResult
from isthmus_bench.edge.importing import Import, Place
from isthmus_bench.edge.orders import Order, Reply
from isthmus_bench.edge.report import edge_lines
from isthmus_bench.edge.spread import Spread
from isthmus_models import MODELS, Model
from isthmus_models.drawn import Part

NAME = "efficientnet-lite0"
SMALL = EdgeBenchConfig(
    candidates=(1, 2),
    weighings=1,
    processes=1,
    turns=1,
    calibration=4,
    inputs=4,
    install=False,
    imports=1,
)
SEEDS: dict[Part, int] = {"calibration": 1, "evaluation": 2}


def tiny_items(part: Part, count: int) -> tuple[Mapping[str, NDArray[np.generic]], tuple[str, ...]]:
    sources = tuple(f"{part} {row % 3}" for row in range(count))
    return {"picture": pictures(count, seed=SEEDS[part])}, sources


def tiny(name: str) -> Model:
    return replace(MODELS[name], make=two_branches, items=tiny_items, picture_size=32)


def here(device: Device, order: Order) -> Reply:
    """In this process; of tflite-runtime it is known that it is not there, as on many machines.

    LiteRT's process dies where two candidates are models of their own.
    """
    if device.runtime == "tflite-runtime":
        return Reply(problem="tflite-runtime is not installed; pip install 'isthmus[edge-tflite]'")
    prefixes = [net for net in order.nets if "prefix" in net.name]
    if device.runtime == "litert" and len(prefixes) == 2:
        return Reply(problem="a process with litert failed: it ended with -9")
    return obey(order)


def no_times(places: Mapping[str, Place], _: int) -> tuple[dict[str, Import], dict[str, str]]:
    times = Import(Spread(6.0, 0.5), Spread(7.0, None))
    return dict.fromkeys(places, times), {}


@pytest.fixture(scope="module")
def result() -> EdgeBenchResult:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "get_model", tiny)
        patch.setattr(bench, "import_times", no_times)
        found = run_edge_bench(SMALL, lines.append, here)
    assert f"{NAME}: comparing answers to 4 evaluation items" in lines
    return found


@pytest.fixture(scope="module")
def model(result: EdgeBenchResult) -> ModelResult:
    (model,) = result.models
    return model


def test_every_way_to_hold_candidates_is_weighed_on_every_runtime(model: ModelResult) -> None:
    held = {(r.runtime, r.precision, r.kind, r.candidates) for r in model.memory if r.settled}
    ways = [("whole", 0), ("chain", 1), ("chain", 2), ("prefixes", 1), ("prefixes", 2)]
    mapped = [("mapped", 0), ("inside", 1), ("inside", 2)]
    for precision in ("fp32", "int8"):
        ours = {("onnxruntime", precision, *way) for way in (*ways, *mapped)}
        lites = {("litert", precision, *way) for way in ways[:-1]}
        assert {row for row in held if row[1] == precision} == ours | lites


def test_a_process_that_dies_is_no_figure_and_is_said(
    result: EdgeBenchResult, model: ModelResult
) -> None:
    died = [row for row in model.memory if row.problem is not None]
    assert {(r.runtime, r.kind, r.candidates, r.settled) for r in died} == {
        ("litert", "prefixes", 2, None)
    }
    assert "not measured: int8 on litert: a process with litert failed" in "\n".join(
        edge_lines(result)
    )


def test_each_runtime_has_its_times_agreement_and_integers(model: ModelResult) -> None:
    ours, litert = model.runtimes
    assert (ours.runtime, litert.runtime) == ("onnxruntime", "litert")
    for row in (ours, litert):
        assert row.problems == ()
        assert row.int8 is not None
        times = (row.fp32.whole, row.fp32.chain, row.int8.whole, row.int8.chain)
        assert all(time is not None and time.median > 0 for time in times)
        assert row.fp32_agreement == 1
        assert row.int8_agreement is not None
        assert len(row.cuts) >= 1
    assert ours.fp32.inside is not None
    assert litert.fp32.inside is None
    assert {(cut.mean_steps, cut.equal_share) for cut in ours.cuts} == {(0, 1)}
    assert [cut.share for cut in model.yardstick] == [cut.share for cut in ours.cuts]


def test_the_json_has_the_keys_that_are_promised(result: EdgeBenchResult) -> None:
    figures = json.loads(json.dumps(edge_json(result)), parse_constant=pytest.fail)
    assert figures["memory_of"] == "int8 on onnxruntime"
    first = {"rss_1_candidate_mb", "rss_2_candidates_mb", "rss_full_model_mb", "memory_ratio_2"}
    first |= {"install_mb", "machine", "load_ms_1_candidate", "load_ms_full_model"}
    assert first <= figures.keys()
    ours, litert, missing = figures["runtimes"]
    promised = {"name", "version", "fp32_ms", "int8_ms", "import_ms", "install_mb", "agreement"}
    assert promised | {"mean_steps", "equal_share"} <= ours.keys()
    assert (ours["name"], ours["install_mb"], ours["import_ms"]) == ("onnxruntime", None, 7.0)
    assert (litert["name"], litert["problem"]) == ("litert", None)
    assert missing["fp32_ms"] is None
    assert "not installed" in missing["problem"]
    (row,) = (
        r for r in figures["memory"]
        if (r["runtime"], r["precision"], r["kind"], r["candidates"])
        == ("onnxruntime", "int8", "chain", 2)
    )  # fmt: skip
    assert row["settled"]["median"] == figures["rss_2_candidates_mb"]
    assert row["ratio"] == figures["memory_ratio_2"]


def test_the_report_says_what_was_not_measured_and_why(result: EdgeBenchResult) -> None:
    text = "\n".join(edge_lines(result))
    assert text.startswith("Measured on ")
    assert "tflite-runtime: not measured: tflite-runtime is not installed; pip install" in text
    assert "onnxruntime: not installed or not imported: --skip-install" in text
    for words in ("edge-only fp32", "unoptimised", "2 candidates"):
        assert words in text
    assert ("CAUTION" in text) == (result.stolen_share > 0.05)


def test_a_starved_machine_is_admitted(result: EdgeBenchResult) -> None:
    assert "CAUTION" in "\n".join(edge_lines(replace(result, stolen_share=0.2)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"models": ("vgg",)}, "vgg"),
        ({"models": ()}, "known"),
        ({"candidates": (4, 1)}, "rising"),
        ({"candidates": (0, 1)}, "1 or more"),
        ({"weighings": 0}, "1 or more"),
        ({"processes": 0}, "1 or more"),
        ({"inputs": 3}, "4 or more"),
        ({"tflite_python": Path("none/python")}, "none/python"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EdgeBenchConfig(**settings)  # type: ignore[arg-type]


def test_quick_asks_for_less_of_the_same() -> None:
    quick, whole = quick_edge(), EdgeBenchConfig()
    assert quick.candidates == whole.candidates
    assert quick.weighings < whole.weighings
    assert quick.processes < whole.processes
    assert quick.inputs < whole.inputs
