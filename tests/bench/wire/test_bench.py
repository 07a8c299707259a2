"""The whole bench on tiny networks: what is measured on which, and what is refused before."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny

from isthmus.errors import ConfigError
from isthmus_bench.wire import bench
from isthmus_bench.wire.bench import (
    RATE_CUT,
    RATE_JPEGS,
    STREAM_CUTS,
    STREAMED,
    FuzzResult,
    WireBenchConfig,
    WireBenchResult,
    run_wire_bench,
)
from isthmus_bench.wire.picture_rivals import picture_rivals
from isthmus_bench.wire.report import BASELINE, wire_json, wire_lines
from isthmus_bench.wire.rivals import tensor_rivals
from isthmus_bench.wire.subjects import SUBJECT_NAMES, Subject
from isthmus_bench.wire.suite import SUITE, Recipe
from isthmus_bench.wire.video import Clip
from isthmus_models.drawn import Part

INPUTS, FRAMES = 3, 4
ENCODER = "minilm-l6"


def vectors(part: Part, count: int) -> NDArray[np.generic]:
    """What a network reads that sees no pictures."""
    return tiny.pictures(part, count).astype(np.float32)


def of_vectors() -> onnx.ModelProto:
    model = tiny.network()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


# The tiny network under the names of the suite: one is streamed, the other reads no pictures.
STAND_INS = {
    STREAMED: replace(tiny.RECIPE, name=STREAMED, cuts=dict.fromkeys(STREAM_CUTS, ("sum",))),
    ENCODER: Recipe(ENCODER, of_vectors, vectors, tiny.RECIPE.cuts, tiny.RECIPE.score),
}


def stand_ins(names: Sequence[str], *, evaluation: int) -> Iterator[Subject]:
    """As many inputs as were asked for: those of every run here."""
    assert evaluation == INPUTS
    return (Subject(STAND_INS[name], evaluation=evaluation, calibration=2) for name in names)


def tiny_clips(count: int, size: int) -> tuple[Clip, ...]:
    frames = tiny.pictures("evaluation", count).view(np.uint8)
    assert frames.shape[1] == size
    return (Clip("one", "made up", frames), Clip("two", "made up", 255 - frames))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "subjects", stand_ins)
    monkeypatch.setattr(bench, "clips", tiny_clips)


def run(**changes: Any) -> tuple[WireBenchResult, list[str]]:
    said: list[str] = []
    config = WireBenchConfig(
        models=(STREAMED, ENCODER), inputs=INPUTS, frames=FRAMES, fuzz_frames=0
    )
    return run_wire_bench(replace(config, **changes), said.append), said


def test_every_cut_of_every_model_meets_every_codec() -> None:
    result, said = run(floor=0.5, frames=0)
    expected = [*((STREAMED, cut) for cut in STREAM_CUTS), (ENCODER, "branches"), (ENCODER, "sum")]
    assert [(row.model, row.cut) for row in result.cuts] == expected
    names = [rival.name for rival in tensor_rivals()]
    assert all([each.name for each in row.int8] == names for row in result.cuts)
    assert (result.floor, result.inputs) == (0.5, INPUTS)
    assert result.machine
    assert 0 <= result.stolen_share <= 1
    for model, cut in expected:
        assert any(line.startswith(f"{model}: cut {cut}, ") for line in said)


def test_pictures_are_sent_instead_where_there_are_any() -> None:
    result, _ = run(frames=0)
    names = [rival.name for rival in picture_rivals()]
    assert [(each.model, each.codec) for each in result.pictures] == [(STREAMED, n) for n in names]
    lossy = [each.codec for each in result.pictures if each.error > 0]
    assert BASELINE in lossy
    assert [(row.cut, row.codec) for row in result.equal] == [
        (cut, codec) for cut in STREAM_CUTS for codec in lossy
    ]


def test_one_network_streams_every_clip_at_the_cuts_that_a_device_would_choose() -> None:
    result, said = run()
    assert [(row.model, row.clip, row.cut) for row in result.streams] == [
        (STREAMED, clip, cut) for clip in ("one", "two") for cut in STREAM_CUTS
    ]
    assert [row.way for row in result.rate] == [
        "rate control", "finest rung", "coarsest allowed rung", *RATE_JPEGS,
    ]  # fmt: skip
    assert len({row.frames for row in result.rate}) == 1
    assert result.rate[0].frames >= FRAMES
    assert any("clip two" in line for line in said)


@pytest.mark.parametrize("changes", [{"frames": 0}, {"models": (ENCODER,)}], ids=str)
def test_without_frames_or_the_network_that_streams_there_is_no_video(
    changes: dict[str, Any],
) -> None:
    result, said = run(**changes)
    assert (result.streams, result.rate) == ((), ())
    assert not any("clip" in line or "rate" in line for line in said)


def test_what_was_measured_can_be_shown_and_written() -> None:
    """All of it: whatever numpy makes of a figure has to be one that JSON knows."""
    result, _ = run()
    report = json.loads(json.dumps(wire_json(result), allow_nan=False))
    assert len(report["rows"]) == 4
    assert {each["cut"] for each in report["vs_jpeg_best_cut"]} <= set(STREAM_CUTS)
    shown = "\n".join(wire_lines(result))
    assert all(cut in shown for cut in (*STREAM_CUTS, "branches (2 tensors)"))


def test_mutated_frames_are_tried_and_counted() -> None:
    """In a process of its own: nothing here stands in for it."""
    result, said = run(models=(ENCODER,), fuzz_frames=40)
    assert result.fuzz == FuzzResult(40, 0)
    assert said[-1] == "decoding 40 mutated frames"


def test_the_cuts_that_are_streamed_are_the_suites() -> None:
    assert {*STREAM_CUTS, RATE_CUT} <= set(SUITE[STREAMED].cuts)
    assert set(RATE_JPEGS) | {BASELINE} <= {rival.name for rival in picture_rivals()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": (STREAMED, "vgg")}, f"'vgg'; known: {SUBJECT_NAMES[0]}, "),
        ({"models": ()}, "known: "),
        ({"floor": 1.5}, "floor is 1.5; allowed: 0-1"),
        ({"floor": float("nan")}, "floor is nan"),
        ({"inputs": 2}, "inputs must be 3 or more"),
        ({"frames": -1}, "frames and fuzz_frames 0 or more"),
        ({"fuzz_frames": -1}, "frames and fuzz_frames 0 or more"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused_with_what_can(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        WireBenchConfig(**changes)


def test_everything_is_measured_unless_less_is_asked_for() -> None:
    assert WireBenchConfig().models == SUBJECT_NAMES
    assert min(WireBenchConfig().frames, WireBenchConfig().fuzz_frames) > 0
