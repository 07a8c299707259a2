from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus_bench.wire.scores import (
    Score,
    score_boxes,
    score_classes,
    score_lines,
    score_sentences,
)

FloatArray = NDArray[np.float32]
SIZE = 32  # 21 cells


def probabilities(random: np.random.Generator, *shape: int) -> FloatArray:
    logits = np.exp(random.normal(0, 2, shape))
    return np.asarray(logits / logits.sum(axis=-1, keepdims=True), np.float32)


def detections(random: np.random.Generator) -> FloatArray:
    answers = random.normal(0, 0.5, (6, 21, 6))
    answers[..., 4:] = random.random((6, 21, 2))
    return answers.astype(np.float32)


def disturbed(answers: FloatArray, noise: FloatArray) -> FloatArray:
    """Signs stay, and what adds up to one still does."""
    changed = answers * np.exp(noise)
    if np.allclose(answers.sum(axis=-1), 1):
        changed /= changed.sum(axis=-1, keepdims=True)
    return changed


CASES = {
    "classes": (score_classes, lambda random: probabilities(random, 12, 10)),
    "lines": (score_lines, lambda random: probabilities(random, 6, 8, 20)),
    "sentences": (score_sentences, lambda random: random.normal(0, 1, (12, 16)).astype(np.float32)),
    "boxes": (partial(score_boxes, picture_size=SIZE), detections),
}
each_kind = pytest.mark.parametrize(("score", "make"), CASES.values(), ids=CASES)

ScoreFunction = Callable[[FloatArray, FloatArray], Score]
Make = Callable[[np.random.Generator], FloatArray]


@each_kind
def test_equal_answers_have_no_error_and_full_agreement(score: ScoreFunction, make: Make) -> None:
    answers = make(np.random.default_rng(0))
    found = score(answers, answers.copy())
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.agreement == 1


@each_kind
def test_the_error_grows_with_the_noise(score: ScoreFunction, make: Make) -> None:
    random = np.random.default_rng(0)
    answers = make(random)
    noise = random.normal(0, 1, answers.shape).astype(np.float32)
    noisy = [disturbed(answers, level * noise) for level in (0.001, 0.01, 0.1)]
    errors = [score(answers, each).error for each in noisy]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_classes_are_compared_by_divergence_in_nats() -> None:
    reference = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    answers = np.array([[0.25, 0.75], [0.9, 0.1]], np.float32)
    found = score_classes(reference, answers)
    assert found.error == pytest.approx((0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2, rel=1e-5)
    assert found.agreement == 0.5


def one_hot(*places: int) -> FloatArray:
    return np.eye(4, dtype=np.float32)[list(places)] * 0.97 + 0.0075


def test_lines_are_equal_if_they_read_the_same() -> None:
    """- 1 1 2 and 1 - 2 2 both read 12; 1 - 1 2 reads 112, 1 2 - 2 reads 122."""
    reference = np.stack([one_hot(0, 1, 1, 2), one_hot(1, 0, 1, 2), one_hot(1, 1, 0, 2)])
    answers = np.stack([one_hot(1, 0, 2, 2), one_hot(1, 1, 0, 2), one_hot(1, 2, 0, 2)])
    found = score_lines(reference, answers)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.error > 0.5


def test_sentences_agree_while_their_neighbours_stay() -> None:
    turns = np.radians([0, 20, 90, 105])
    reference = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    moved = np.radians(
        [10, 20, 60, 105]
    )  # the third one is now nearer to the second than to the last
    answers = 7 * np.stack([np.cos(moved), np.sin(moved)], axis=1)
    found = score_sentences(reference, answers)
    assert found.agreement == 0.75
    assert found.error == pytest.approx((2 - np.cos(turns - moved)[[0, 2]].sum()) / 4)


def test_a_box_that_was_lost_or_made_up_counts_with_its_weight() -> None:
    reference = np.zeros((2, 21, 6), np.float32)
    reference[:, 20, 4:] = 1
    lost, doubled = reference.copy(), reference.copy()
    lost[0, 20, 4] = 0
    doubled[0, 0, 4:] = 1
    for answers, agreement in ((lost, 1 / 2), (doubled, (2 / 3 + 1) / 2)):
        found = score_boxes(reference, answers, picture_size=SIZE)
        assert found.error == pytest.approx(1 / 2)
        assert found.agreement == pytest.approx(agreement)


def test_a_box_that_moved_counts_with_what_it_no_longer_covers() -> None:
    reference = np.zeros((1, 21, 6), np.float32)
    reference[:, 20, 4:] = 1
    moved = reference.copy()
    moved[0, 20, 0] = 0.5  # half a cell of stride 32, which is as wide as the box
    found = score_boxes(reference, moved, picture_size=SIZE)
    assert found.error == pytest.approx(1 - 1 / 3)
    assert found.agreement == 0
