"""From trials to the manifest's candidates, and whole pictures in every format."""

from dataclasses import replace

import pytest
from tests.partitioner.conftest import QUICK, ignore
from tests.partitioner.networks import pictures

from isthmus import Picture, Raw, Symbols
from isthmus_partitioner import Network
from isthmus_partitioner.parts.timing import Times
from isthmus_partitioner.planning.agreement import Closeness
from isthmus_partitioner.planning.measure import Evaluation, Step, Trial, as_candidate
from isthmus_partitioner.wire.through import NOTHING_SENT, WireFigures

TIMES = Times(prefix_ms=(0.0, 2.0, 5.0), tail_ms={"cloud/tail-cut.onnx": 3.0})


def step(size: int, agreement: float) -> Step:
    encoding = Symbols(levels=16, step=1 / size, zero_point=0)
    wire = WireFigures(size, size + 1, encode_ms=0.5, decode_ms=0.25)
    return Step(encoding, wire, Closeness(agreement, kl=0.125))


def trial(*agreements: float) -> Trial:
    steps = tuple(step(100 - index, share) for index, share in enumerate(agreements))
    return Trial("cut", "cut", 1, "cloud/tail-cut.onnx", steps)


def test_device_times_are_those_of_the_slower_device_and_cloud_times_are_not() -> None:
    figures = as_candidate(trial(1.0), TIMES, 10.0, "int8", 0.9).figures
    assert (figures.edge_ms, figures.encode_ms) == (20.0, 5.0)
    assert (figures.decode_ms, figures.tail_ms) == (0.25, 3.0)
    assert (figures.payload_bytes, figures.payload_bytes_p95) == (100, 101)
    assert (figures.agreement, figures.kl) == (1.0, 0.125)


@pytest.mark.parametrize(
    ("agreements", "chosen"),
    [
        ((1.0, 0.97, 0.95, 0.94), 2),
        ((1.0, 0.97, 0.93, 0.96), 1),  # what lies above the floor behind one below it is luck
        ((0.99,), 0),
        ((0.9, 0.8), 0),  # none meets it: the finest
    ],
)
def test_the_rung_to_begin_with_is_the_coarsest_above_the_floor(
    agreements: tuple[float, ...], chosen: int
) -> None:
    found = as_candidate(trial(*agreements), TIMES, 1.0, "int8", 0.95)
    assert found.chosen == chosen
    assert [rung.figures.agreement for rung in found.rungs] == list(agreements)


def test_a_rung_that_is_coarser_but_no_smaller_is_left_out() -> None:
    sizes = (100, 90, 90, 95, 80)
    steps = tuple(step(size, 1 - index / 100) for index, size in enumerate(sizes))
    odd = replace(trial(1.0), steps=steps)
    rungs = as_candidate(odd, TIMES, 1.0, "int8", 0.0).rungs
    assert [rung.figures.payload_bytes for rung in rungs] == [100, 90, 80]
    assert [rung.figures.agreement for rung in rungs] == [1.0, 0.99, 0.96]


def test_what_sends_nothing_has_no_tail_and_no_encoding() -> None:
    local = Trial("local", "local", 2, None, (Step(None, NOTHING_SENT, Closeness(1.0, 0.0)),))
    found = as_candidate(local, TIMES, 2.0, "fp32", 0.9)
    assert found.is_local
    assert (found.figures.edge_ms, found.figures.cloud_ms) == (10.0, 0.0)
    assert found.precision == "fp32"


def test_a_picture_is_sent_before_any_precision() -> None:
    whole = Trial("input-raw", "input", 0, "cloud/tail-cut.onnx", (step(9, 1.0),))
    found = as_candidate(whole, TIMES, 2.0, "int8", 0.9)
    assert (found.precision, found.figures.edge_ms) == ("none", 0.0)


@pytest.fixture(scope="module")
def evaluation(network: Network) -> Evaluation:
    return Evaluation(network, pictures(3, seed=2), ignore)


def test_each_picture_format_is_a_ladder_of_qualities(evaluation: Evaluation) -> None:
    config = replace(QUICK, pictures=("webp", "jpeg"), qualities=(75, 95))
    found = {
        trial.id: [s.encoding for s in trial.steps] for trial in evaluation.whole_pictures(config)
    }
    assert found == {
        "input-raw": [Raw()],
        "input-webp": [Picture(format="webp", quality=q) for q in (95, 75)],
        "input-jpeg": [Picture(format="jpeg", quality=q) for q in (95, 75)],
    }


def test_what_is_sent_without_loss_answers_as_the_reference_does(evaluation: Evaluation) -> None:
    config = replace(QUICK, lossless_pictures=True)
    exact = [
        t for t in evaluation.whole_pictures(config) if t.id in {"input-raw", "input-lossless"}
    ]
    assert len(exact) == 2
    for (only,) in (trial.steps for trial in exact):
        assert only.close == Closeness(agreement=1.0, kl=0.0)


def test_a_format_that_this_machine_lacks_is_left_out_and_said(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("isthmus_partitioner.planning.measure.available", lambda name: name != "avif")
    config = replace(QUICK, pictures=("jpeg", "avif"))
    trials = Evaluation(network, pictures(1), said.append).whole_pictures(config)
    assert "input-avif" not in {trial.id for trial in trials}
    assert any("avif" in line for line in said)
