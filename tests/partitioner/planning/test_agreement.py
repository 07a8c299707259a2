"""Agreement and KL against the unsplit network's answers."""

import numpy as np
import pytest

from isthmus import ModelError, TensorSpec
from isthmus_partitioner.planning.agreement import answer_index, closeness

ROWS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], np.float32)


def test_the_same_answers_agree_fully() -> None:
    close = closeness(ROWS, ROWS)
    assert (close.agreement, close.kl) == (1.0, 0.0)


def test_kl_is_that_of_the_textbook() -> None:
    got = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]], np.float32)
    expected = 0.7 * np.log(0.7 / 0.5) + 0.2 * np.log(0.2 / 0.3) + 0.1 * np.log(0.1 / 0.2)
    assert closeness(ROWS, got).kl == pytest.approx(expected / 2, rel=1e-5)


def test_agreement_counts_equal_first_places() -> None:
    got = np.array([[0.2, 0.7, 0.1], [0.2, 0.7, 0.1]], np.float32)
    assert closeness(ROWS, got).agreement == 0.5


def test_logits_are_compared_as_the_probabilities_they_stand_for() -> None:
    shifted = np.log(ROWS) + 5
    assert closeness(ROWS, shifted.astype(np.float32)).kl == pytest.approx(0, abs=1e-6)


def test_an_impossible_answer_costs_much_but_not_infinitely() -> None:
    got = np.array([[0, 1, 0], [0, 1, 0]], np.float32)
    assert 5 < closeness(ROWS, got).kl < 50


def test_the_answer_is_the_first_output_with_a_float_for_each_class() -> None:
    index = TensorSpec(name="index", data_type="int64", shape=(1,))
    scores = TensorSpec(name="scores", data_type="float32", shape=(7,))
    assert answer_index((index, scores)) == 1


def test_a_network_without_class_scores_is_refused() -> None:
    boxes = TensorSpec(name="boxes", data_type="float32", shape=(100, 6))
    with pytest.raises(ModelError, match=r"'boxes' float32 \[100, 6\]"):
        answer_index((boxes,))
