"""Steps, zero points, the order of channels and predictors come from calibration values."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus import (
    Quantisation,
    Symbols,
    quantised,
)
from isthmus_partitioner import PlanConfig
from isthmus_partitioner.wire.ladder import best_order, best_predictor, wire_ladder

STEPS = PlanConfig().steps
FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]


def normal(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


SPREAD = normal(8, 16, 16, 16)
RELU: FloatArray = np.maximum(SPREAD, 0)
SILU: FloatArray = SPREAD / (1 + np.exp(-SPREAD))


def test_a_ladder_begins_with_the_finest_step_whatever_the_order_of_the_setting() -> None:
    ladder = wire_ladder(SPREAD, STEPS[::-1], None)
    steps = [encoding.step for encoding in ladder]
    assert steps == sorted(steps)
    assert steps == pytest.approx([share * float(SPREAD.std()) for share in STEPS])


def test_steps_are_float32_so_that_both_sides_compute_with_the_same() -> None:
    for encoding in wire_ladder(SPREAD, STEPS, None):
        assert float(np.float32(encoding.step)) == encoding.step


def test_levels_switch_to_16_where_those_hold_nearly_all_values() -> None:
    spread = np.random.default_rng(3).normal(0, 2.0, (4, 8, 12, 12)).astype(np.float32)
    ladder = wire_ladder(spread, (0.25, 0.35, 0.5, 1.0), None)
    assert [encoding.levels for encoding in ladder] == [256, 256, 16, 16]


def test_a_ladder_for_values_that_reach_far_has_256_levels_where_others_have_16() -> None:
    far = SPREAD.copy()
    far.reshape(-1)[::500] *= 12
    assert {encoding.levels for encoding in wire_ladder(far, (0.5, 0.75), None)} == {256}


def test_no_step_is_finer_than_the_integers_in_hand() -> None:
    source = Quantisation(scale=0.4 * float(SPREAD.std()), zero_point=128)
    ladder = wire_ladder(SPREAD, (1 / 8, 1 / 4, 1 / 2), source)
    assert [encoding.step for encoding in ladder] == pytest.approx(
        [source.scale, 0.5 * float(SPREAD.std())]
    )


def test_behind_a_relu_zero_is_the_lowest_symbol() -> None:
    assert {encoding.zero_point for encoding in wire_ladder(RELU, STEPS, None)} == {0}


def test_behind_a_silu_zero_is_one_of_the_lowest_symbols() -> None:
    for encoding in wire_ladder(SILU, STEPS, None):
        assert encoding.zero_point < encoding.levels / 8
        below = encoding.zero_point * encoding.step
        assert below >= -float(SILU.min()) - encoding.step


def test_of_symmetric_values_zero_is_a_symbol_in_the_middle() -> None:
    for encoding in wire_ladder(SPREAD, STEPS, None):
        assert encoding.zero_point == pytest.approx(encoding.levels / 2, abs=encoding.levels / 16)


def test_of_values_below_zero_zero_is_the_highest_symbol() -> None:
    for encoding in wire_ladder(-RELU, STEPS, None):
        assert encoding.zero_point == encoding.levels - 1


def test_the_zero_point_is_where_clipping_costs_least() -> None:
    """A long tail above: 16 levels cannot hold it all, and zero gives way."""
    skewed = np.where(RELU > 0, RELU * 4, SPREAD)
    (encoding,) = wire_ladder(skewed, (0.5,), None)
    errors = [error_of(skewed, encoding, zero_point) for zero_point in range(16)]
    assert error_of(skewed, encoding, encoding.zero_point) <= min(errors) * 1.01


def error_of(values: FloatArray, encoding: Symbols, zero_point: int) -> float:
    moved = Symbols(levels=encoding.levels, step=encoding.step, zero_point=zero_point)
    sent = (quantised(values, moved).astype(np.float32) - zero_point) * np.float32(moved.step)
    return float(np.square(sent - values).mean())


def test_the_zero_point_looks_at_every_column() -> None:
    """640,000 values are sampled, in rows of 32: a step of 32 would see the first column only."""
    values = -np.abs(normal(20, 32, 32, 32))
    values[..., 0] = np.abs(values[..., 0])
    (encoding,) = wire_ladder(values, (0.5,), None)
    assert encoding.zero_point > 8


def test_values_that_never_change_have_a_ladder_too() -> None:
    ladder = wire_ladder(np.zeros((4, 8, 2, 2), np.float32), STEPS, None)
    assert all(encoding.step > 0 for encoding in ladder)


def test_symbols_are_rounded_to_even_and_saturate() -> None:
    encoding = Symbols(levels=16, step=0.5, zero_point=3)
    values = np.asarray([-9, -0.75, -0.25, 0.0, 0.25, 0.75, 6.0, 99], np.float32)
    assert quantised(values, encoding).tolist() == [0, 1, 3, 3, 3, 5, 15, 15]


def noisy(*shape: int, levels: int = 16, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, levels, shape, np.uint8)


def test_channels_are_ordered_where_that_makes_them_smaller() -> None:
    """Quiet and loud channels by turns: side by side, each block has symbols of one kind."""
    symbols = noisy(2, 64, 32, 32)
    symbols[:, ::2] = noisy(2, 32, 32, 32, levels=2)
    order = best_order(symbols, 16).order
    assert order is not None
    assert sorted(order[:32]) == list(range(0, 64, 2))


def test_channels_of_one_kind_stay_as_they_are() -> None:
    assert best_order(noisy(2, 64, 32, 32), 16).order is None


def test_features_without_a_place_have_no_order() -> None:
    assert best_order(noisy(8, 512), 16).order is None


def rows(*shape: int) -> UInt8Array:
    """Along each row a symbol is the one before or the next to it; rows know nothing of each other.

    All symbols come equally often: without their neighbours they cannot be told.
    """
    moves = np.random.default_rng(0).integers(-1, 2, shape)
    moves[..., 0] = noisy(*shape[:-1], seed=1)
    return (moves.cumsum(axis=-1) % 16).astype(np.uint8)


def test_smooth_rows_are_predicted_from_the_left() -> None:
    assert best_predictor(rows(4, 8, 32, 32), 16) == "left"


def test_smooth_columns_are_predicted_from_above() -> None:
    columns = np.ascontiguousarray(rows(4, 8, 32, 32).swapaxes(2, 3))
    assert best_predictor(columns, 16) == "up"


def test_noise_is_not_predicted() -> None:
    assert best_predictor(noisy(4, 8, 32, 32), 16) == "none"


@pytest.mark.parametrize("shape", [(4, 8, 27, 64), (4, 8, 64, 27), (4, 64)])
def test_small_maps_and_features_are_not_predicted(shape: tuple[int, ...]) -> None:
    assert best_predictor(rows(*shape), 16) == "none"


def test_a_predictor_has_to_beat_the_mask_of_a_sparse_map() -> None:
    """Runs of four on a still ground: prediction helps, but knowing which symbol is zero more."""
    is_ground = np.random.default_rng(0).random((4, 8, 32, 8)) < 0.8
    symbols = np.where(is_ground, np.uint8(8), noisy(4, 8, 32, 8)).repeat(4, axis=3)
    assert best_predictor(symbols, 16, blank=0) == "left"
    assert best_predictor(symbols, 16, blank=8) == "none"


def test_coarser_symbols_of_a_ladder_are_never_more_various() -> None:
    ladder = wire_ladder(SPREAD, STEPS, None)
    kinds = [len(np.unique(quantised(SPREAD, encoding))) for encoding in ladder]
    assert all(finer >= coarser for finer, coarser in pairwise(kinds))
