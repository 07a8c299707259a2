"""A difference is a symbol again: modulo the levels nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.strategies import shapes

from isthmus import Levels, Predictor
from isthmus.prediction import added, predicted, restored, subtracted
from isthmus_bench.fuzz.cases import (
    LEVELS,
    PREDICTORS,
    UInt8Array,
    laplacian,
    mostly,
)


@st.composite
def maps(draw: st.DrawFn) -> tuple[UInt8Array, Levels]:
    shape, levels = draw(shapes(2)), draw(st.sampled_from(LEVELS))
    seed = draw(st.integers(0, 2**32 - 1))
    return mostly(0, 0.3, int(np.prod(shape)), levels, seed).reshape((1, *shape)), levels


@given(maps(), st.sampled_from(PREDICTORS))
def test_neighbours_are_restored_exactly_and_the_original_is_left_alone(
    case: tuple[UInt8Array, Levels], predictor: Predictor
) -> None:
    symbols, levels = case
    before = symbols.copy()
    differences = predicted(symbols, predictor, levels)
    assert differences.dtype == np.uint8
    assert differences.max() < levels
    assert np.array_equal(restored(differences, predictor, levels), before)
    assert np.array_equal(symbols, before)


@given(maps(), st.integers(0, 2**32 - 1))
def test_what_was_subtracted_is_added_again(case: tuple[UInt8Array, Levels], seed: int) -> None:
    symbols, levels = case
    reference = mostly(1, 0.2, symbols.size, levels, seed).reshape(symbols.shape)
    differences = subtracted(symbols, reference, levels)
    assert differences.max() < levels
    assert np.array_equal(added(differences, reference, levels), symbols)
    assert not subtracted(symbols, symbols, levels).any()


@pytest.mark.parametrize(
    ("predictor", "levels", "sent"),
    [
        ("left", 16, [[[15, 2, 15], [0, 0, 14]]]),
        ("left", 256, [[[15, 242, 255], [0, 0, 14]]]),
        ("up", 16, [[[15, 1, 0], [1, 15, 14]]]),
        ("none", 16, [[[15, 1, 0], [0, 0, 14]]]),
    ],
)
def test_the_first_column_or_row_stays_and_the_others_wrap(
    predictor: Predictor, levels: Levels, sent: list[list[list[int]]]
) -> None:
    symbols = np.array([[[15, 1, 0], [0, 0, 14]]], np.uint8)
    assert predicted(symbols, predictor, levels).tolist() == sent


def test_channels_do_not_look_at_each_other() -> None:
    """Left and up are the last two axes; the frame before them is another picture."""
    symbols = laplacian((3, 4, 5), 2.0, 16)
    alone = np.stack([predicted(each, "up", 16) for each in symbols])
    assert np.array_equal(predicted(symbols, "up", 16), alone)
