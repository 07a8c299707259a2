"""The same network judged on other pictures: what it learnt from stays, its answers do not."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny

from isthmus.errors import ConfigError
from isthmus_bench.wire.subjects import Subject
from isthmus_models.drawn import Part

UInt8Array = NDArray[np.uint8]


@pytest.fixture
def subject() -> Subject:
    return Subject(tiny.RECIPE, evaluation=6, calibration=4)


@pytest.fixture
def others() -> UInt8Array:
    return np.random.default_rng(9).integers(0, 256, (3, tiny.SIZE, tiny.SIZE, 3), np.uint8)


def test_answers_are_compared_with_those_to_its_own_pictures(
    subject: Subject, others: UInt8Array
) -> None:
    """In any order: each has its own, whichever was asked first."""
    assert subject.pictures is not None
    assert subject.score_pictures(subject.pictures).error == 0
    twin = subject.on_pictures(others)
    assert twin.pictures is others
    assert twin.score_pictures(others).error == 0
    assert twin.score_pictures(subject.pictures[:3]).error > 1e-6
    assert subject.score_pictures(subject.pictures).error == 0
    assert subject.score_pictures(others).error > 1e-6


def test_tensors_of_its_cuts_are_those_of_its_own_pictures(
    subject: Subject, others: UInt8Array
) -> None:
    (before,) = subject.activations("sum").tensors
    assert subject.score_cut("sum", [before]).error < 1e-9
    twin = subject.on_pictures(others)
    (after,) = twin.activations("sum").tensors
    assert after.shape == (3, 4, tiny.SIZE, tiny.SIZE)
    assert twin.score_cut("sum", [after]).error < 1e-9
    assert twin.score_cut("sum", [before[:3]]).error > 1e-6
    assert np.array_equal(subject.activations("sum").tensors[0], before)


def test_what_is_learnt_from_stays_the_same(subject: Subject, others: UInt8Array) -> None:
    (before,) = subject.activations("sum", fitted=True).tensors
    (after,) = subject.on_pictures(others).activations("sum", fitted=True).tensors
    assert np.array_equal(before, after)


def test_the_calibration_inputs_are_asked_for_and_no_others() -> None:
    asked: list[tuple[Part, int]] = []

    def inputs(part: Part, number: int) -> NDArray[np.generic]:
        asked.append((part, number))
        return tiny.pictures(part, number)

    subject = Subject(replace(tiny.RECIPE, inputs=inputs), evaluation=6, calibration=4)
    assert asked == [("evaluation", 6)]
    twin = subject.on_pictures(tiny.pictures("evaluation", 2).view(np.uint8))
    twin.activations("sum")
    assert asked == [("evaluation", 6)]
    twin.activations("sum", fitted=True)
    assert asked[1:] == [("calibration", 4)]


def test_the_times_of_its_heads_are_measured_anew(
    subject: Subject, others: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = count(1)

    def timed(
        runs: Mapping[str, Callable[[], object]], _rounds: int, _clock: object
    ) -> dict[str, float]:
        return {name: float(next(numbers)) for name in runs}

    monkeypatch.setattr("isthmus_bench.wire.subjects.interleaved_ms", timed)
    assert [subject.head_ms(cut.name) for cut in subject.cuts] == [1, 2]
    twin = subject.on_pictures(others)
    assert [twin.head_ms(cut.name) for cut in twin.cuts] == [3, 4]
    assert [subject.head_ms(cut.name) for cut in subject.cuts] == [1, 2]


@pytest.mark.parametrize(
    ("pictures", "found"),
    [
        (np.zeros((2, 8, 9, 3), np.uint8), "uint8 [8, 9, 3]"),
        (np.zeros((8, 8, 3), np.uint8), "uint8 [8, 3]"),
        (np.zeros((2, 8, 8, 3), np.float32), "float32 [8, 8, 3]"),
    ],
    ids=["another size", "one picture", "floats"],
)
def test_pictures_that_it_cannot_read_are_refused(
    subject: Subject, pictures: UInt8Array, found: str
) -> None:
    expected = f"tiny reads pictures uint8 [8, 8, 3], not {found}; scale them"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        subject.on_pictures(pictures)


def test_a_network_that_reads_no_pictures_is_given_none(others: UInt8Array) -> None:
    def tokens(_part: Part, number: int) -> NDArray[np.generic]:
        return np.zeros((number, 8), np.int64)

    encoder = Subject(replace(tiny.RECIPE, name="encoder", inputs=tokens))
    with pytest.raises(ConfigError, match="encoder reads no pictures"):
        encoder.on_pictures(others)
