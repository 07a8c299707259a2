"""The table rounds to the nearest symbol; while the camera stands still it holds on to the last."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isthmus import HOLD, Levels, Quantisation, Symbols, requantise_table
from isthmus.tables import Requantiser
from isthmus_bench.fuzz.cases import LEVELS, UInt8Array

INTEGERS: UInt8Array = np.arange(256, dtype=np.uint8)


@st.composite
def steps(draw: st.DrawFn) -> tuple[Quantisation, Symbols]:
    """A head's quantisation, and a wire's step that is 1 to 60 times as coarse."""
    levels: Levels = draw(st.sampled_from(LEVELS))
    scale, ratio = draw(st.floats(1e-4, 10)), draw(st.floats(1, 60))
    source = Quantisation(scale=scale, zero_point=draw(st.integers(0, 255)))
    zero_point = draw(st.integers(0, levels - 1))
    return source, Symbols(levels=levels, step=scale * ratio, zero_point=zero_point)


def real_of(source: Quantisation) -> np.ndarray:
    return (INTEGERS.astype(float) - source.zero_point) * source.scale


def decoded_of(symbols: UInt8Array, target: Symbols) -> np.ndarray:
    return (symbols.astype(float) - target.zero_point) * target.step


def is_in_range(real: np.ndarray, target: Symbols) -> np.ndarray:
    lowest = -target.zero_point * target.step
    return (real >= lowest) & (real <= lowest + (target.levels - 1) * target.step)


@given(steps())
def test_a_symbol_is_within_half_a_step_of_the_value_unless_it_is_clipped(
    case: tuple[Quantisation, Symbols],
) -> None:
    source, target = case
    table, real = requantise_table(source, target), real_of(source)
    far = np.abs(decoded_of(table, target) - real) > 0.5001 * target.step
    assert not far[is_in_range(real, target)].any()
    assert table[source.zero_point] == target.zero_point
    assert np.all(np.diff(table.astype(int)) >= 0)
    assert table.max() < target.levels


@given(steps())
def test_what_is_out_of_range_becomes_the_nearest_symbol(
    case: tuple[Quantisation, Symbols],
) -> None:
    source, target = case
    table, real = requantise_table(source, target), real_of(source)
    outside = ~is_in_range(real, target)
    assert np.all(table[outside & (real < 0)] == 0)
    assert np.all(table[outside & (real > 0)] == target.levels - 1)


@given(steps(), st.integers(0, 2**32 - 1))
def test_a_sticky_symbol_stays_within_three_quarters_of_a_step(
    case: tuple[Quantisation, Symbols], seed: int
) -> None:
    source, target = case
    previous = np.random.default_rng(seed).integers(0, target.levels, 256, dtype=np.uint8)
    sticky = Requantiser(source, target).sticky(INTEGERS, previous, HOLD)
    real = real_of(source)
    error = np.abs(decoded_of(sticky, target) - real)
    assert np.all(error[is_in_range(real, target)] <= (HOLD + 1e-6) * target.step)
    assert sticky.max() < target.levels


@given(steps(), st.integers(0, 255), st.floats(0, 0.7))
def test_a_value_that_moves_less_than_it_is_held_keeps_its_symbol(
    case: tuple[Quantisation, Symbols], start: int, share: float
) -> None:
    """Noise: half a step of rounding and a quarter of a step to move in."""
    source, target = case
    requantiser = Requantiser(source, target)
    previous = requantiser.symbols(np.full(256, start, np.uint8))
    distance = np.abs(decoded_of(previous, target) - real_of(source)) / target.step
    near = distance <= max(share, 0.01)
    sticky = requantiser.sticky(INTEGERS, previous, HOLD)
    assert np.array_equal(sticky[near], previous[near])


@given(steps())
def test_without_hold_a_sticky_symbol_is_the_plain_one(case: tuple[Quantisation, Symbols]) -> None:
    source, target = case
    requantiser = Requantiser(source, target)
    plain = requantiser.symbols(INTEGERS)
    anything = np.zeros(256, np.uint8)
    moved = decoded_of(anything, target) != real_of(source)
    assert np.array_equal(requantiser.sticky(INTEGERS, anything, 0.0)[moved], plain[moved])
    assert np.array_equal(requantiser.sticky(INTEGERS, plain, HOLD), plain)


def test_a_table_serves_any_shape() -> None:
    target = Symbols(levels=16, step=0.4, zero_point=8)
    requantiser = Requantiser(Quantisation(scale=0.05, zero_point=120), target)
    values = np.random.default_rng(1).integers(0, 256, (1, 3, 4, 5), dtype=np.uint8)
    flat = requantiser.symbols(values.reshape(-1))
    assert np.array_equal(requantiser.symbols(values).reshape(-1), flat)
    held = requantiser.sticky(values, np.zeros_like(values), HOLD)
    assert held.shape == values.shape
