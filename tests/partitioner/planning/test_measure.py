"""From trials to the manifest's candidates, and whole inputs in every format."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK, ignore, samples_of

from isthmus import Encoding, Lossless, Picture, Raw, Symbols, TensorSpec
from isthmus_partitioner import Network
from isthmus_partitioner.agreement.metrics import Closeness, Metric, metric_for
from isthmus_partitioner.planning.measure import (
    Evaluation,
    Step,
    Surroundings,
    Trial,
    as_candidate,
    is_picture,
    until_bad,
)
from isthmus_partitioner.wire.through import NOTHING_SENT, WireFigures

Read = Callable[[onnx.ModelProto], Network]


def close(agreement: float) -> Closeness:
    return Closeness(agreement, low=agreement - 0.1, high=agreement + 0.1, divergence=0.125)


def step(size: int, agreement: float) -> Step:
    encoding = Symbols(levels=16, step=1 / size, zero_point=0)
    wire = WireFigures(size, size + 1, encode_ms=0.5, decode_ms=0.25)
    return Step((encoding,), wire, close(agreement))


def steps_of(*agreements: float) -> tuple[Step, ...]:
    return tuple(step(100 - index, share) for index, share in enumerate(agreements))


def trial(*agreements: float) -> Trial:
    return Trial("cut", "cut", "int8", steps_of(*agreements))


def test_what_comes_behind_the_head_is_slower_on_a_slower_device_and_the_cloud_is_not() -> None:
    found = as_candidate(trial(1.0), Surroundings(20.0, 0, 10.0, 3.0, 40), 0.9)
    figures = found.figures
    assert (figures.edge_ms, figures.encode_ms) == (20.0, 5.0)
    assert (figures.decode_ms, figures.tail_ms) == (0.25, 3.0)
    assert figures.answer_bytes == 40
    assert (figures.payload_bytes, figures.payload_bytes_p95) == (100, 101)
    assert (figures.agreement, figures.divergence) == (1.0, 0.125)
    assert (figures.agreement_low, figures.agreement_high) == (0.9, 1.1)
    assert (found.precision, found.kept) == ("int8", False)


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
    found = as_candidate(trial(*agreements), Surroundings(1.0, 0, 1.0, 1.0, 40), 0.95)
    assert found.chosen == chosen
    assert [rung.figures.agreement for rung in found.rungs] == list(agreements)


def test_a_rung_that_is_coarser_but_no_smaller_is_left_out() -> None:
    sizes = (100, 90, 90, 95, 80)
    steps = tuple(step(size, 1 - index / 100) for index, size in enumerate(sizes))
    rungs = as_candidate(
        replace(trial(1.0), steps=steps), Surroundings(1.0, 0, 1.0, 1.0, 40), 0.0
    ).rungs
    assert [rung.figures.payload_bytes for rung in rungs] == [100, 90, 80]
    assert [rung.figures.agreement for rung in rungs] == [1.0, 0.99, 0.96]


def test_what_sends_nothing_has_no_tail_and_no_encoding() -> None:
    local = Trial("local", "local", "fp32", (Step((), NOTHING_SENT, close(0.9)),))
    found = as_candidate(local, Surroundings(10.0, 0, 2.0, 0.0, 0), 0.9)
    assert found.is_local
    assert (found.figures.edge_ms, found.figures.cloud_ms) == (10.0, 0.0)
    assert found.precision == "fp32"


@pytest.mark.parametrize(
    ("agreements", "measured"),
    [
        ((1.0, 1.0, 0.95), 3),
        ((1.0, 0.9, 0.9, 0.9, 1.0), 3),  # the second in succession is the last
        ((1.0, 0.9, 0.95, 0.9, 0.9, 1.0), 5),  # one alone may be bad luck
        ((0.9, 0.9, 1.0), 2),
        ((0.9,), 1),
        ((1.0, 0.84, 1.0), 2),  # below it with all that chance may add
        ((), 0),
    ],
)
def test_a_ladder_is_measured_up_to_the_second_rung_in_succession_below_the_floor(
    agreements: Sequence[float], measured: int
) -> None:
    looked_at = []

    def ladder() -> Iterator[Step]:
        for one in steps_of(*agreements):
            looked_at.append(one)
            yield one

    found = list(until_bad(ladder(), 0.95))
    assert found == looked_at == list(steps_of(*agreements))[:measured]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TensorSpec(name="x", data_type="uint8", shape=(8, 9, 3)), True),
        (TensorSpec(name="x", data_type="uint8", shape=(8, 9, 4)), False),
        (TensorSpec(name="x", data_type="uint8", shape=(3, 8, 9)), False),
        (TensorSpec(name="x", data_type="float32", shape=(8, 9, 3)), False),
        (TensorSpec(name="x", data_type="uint8", shape=(3,)), False),
    ],
)
def test_a_picture_is_rows_of_three_bytes(spec: TensorSpec, expected: bool) -> None:
    assert is_picture(spec) == expected


@pytest.fixture(scope="module")
def evaluation(network: Network, metric: Metric) -> Evaluation:
    return Evaluation(network, samples_of(3, 2, "three"), metric, ignore)


def test_each_picture_format_is_a_ladder_of_qualities(evaluation: Evaluation) -> None:
    config = replace(QUICK, pictures=("webp", "jpeg"), qualities=(75, 95))
    found = {
        trial.id: [s.encodings for s in trial.steps] for trial in evaluation.whole_inputs(config)
    }
    assert found == {
        "input-raw": [(Raw(),)],
        "input-webp": [(Picture(format="webp", quality=q),) for q in (95, 75)],
        "input-jpeg": [(Picture(format="jpeg", quality=q),) for q in (95, 75)],
    }


def test_what_is_sent_without_loss_answers_as_the_reference_does(evaluation: Evaluation) -> None:
    config = replace(QUICK, lossless_pictures=True)
    exact = [t for t in evaluation.whole_inputs(config) if t.id in {"input-raw", "input-lossless"}]
    assert len(exact) == 2
    for (only,) in (trial.steps for trial in exact):
        assert (only.close.agreement, only.close.divergence) == (1.0, 0.0)


def test_a_picture_that_is_not_exact_is_really_compared(evaluation: Evaluation) -> None:
    (jpeg,) = (t for t in evaluation.whole_inputs(QUICK) if t.id == "input-jpeg")
    assert all(step.close.divergence > 0 for step in jpeg.steps)
    sizes = [step.wire.payload_bytes for step in jpeg.steps]
    assert sizes == sorted(sizes, reverse=True)


def test_a_format_that_this_machine_lacks_is_left_out_and_said(
    network: Network, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "isthmus_partitioner.planning.measure.available", lambda name: name != "avif"
    )
    config = replace(QUICK, pictures=("jpeg", "avif"))
    asked = samples_of(1, 2, "three")
    trials = Evaluation(network, asked, metric, said.append).whole_inputs(config)
    assert "input-avif" not in {trial.id for trial in trials}
    assert any("avif" in line for line in said)


def whole(network: Network) -> dict[str, list[tuple[Encoding, ...]]]:
    """The ladders of whole inputs."""
    metric = metric_for("classify", network.outputs[-1:])
    asked = branched.items(network, 2, 7, "some")
    trials = Evaluation(network, asked, metric, ignore).whole_inputs(QUICK)
    return {trial.id: [step.encodings for step in trial.steps] for trial in trials}


def test_beside_a_picture_other_inputs_cross_exactly(read: Read) -> None:
    ladders = whole(read(branched.with_gain()))
    assert ladders == {
        "input-raw": [(Raw(), Raw())],
        "input-jpeg": [(Picture(format="jpeg", quality=q), Lossless()) for q in (95, 85)],
    }


def test_without_a_picture_there_is_raw_and_lossless(read: Read) -> None:
    assert whole(read(branched.masked())) == {
        "input-raw": [(Raw(),)],
        "input-lossless": [(Lossless(),)],
    }
