"""Entropy limits against distributions whose entropy is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from isthmus.errors import ConfigError
from isthmus_bench.wire.limits import (
    channel_order0_bytes,
    order0_bytes,
    static_channel_order0_bytes,
)

UInt8Array = NDArray[np.uint8]

ITEMS = arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3))


def test_equally_likely_symbols_take_the_logarithm_of_their_number() -> None:
    assert order0_bytes(np.arange(256, dtype=np.uint8)) == pytest.approx(256)
    assert order0_bytes(np.tile(np.array([3, 200], np.uint8), 40)) == pytest.approx(80 / 8)


def test_a_constant_takes_nothing() -> None:
    assert order0_bytes(np.full((3, 4), 7, np.uint8)) == 0
    assert channel_order0_bytes(np.full((3, 4), 7, np.uint8)) == 0


def test_a_skewed_coin_takes_its_entropy() -> None:
    item = np.array([[0] * 12 + [255] * 4], np.uint8)
    bits = 16 * (0.75 * np.log2(4 / 3) + 0.25 * 2)
    assert order0_bytes(item) == pytest.approx(bits / 8)


def test_channels_that_are_constant_take_nothing_by_channel() -> None:
    item = np.repeat(np.arange(8, dtype=np.uint8), 50).reshape(8, 5, 10)
    assert order0_bytes(item) == pytest.approx(400 * 3 / 8)
    assert channel_order0_bytes(item) == 0


@given(ITEMS)
def test_the_limit_by_channel_is_the_sum_over_the_channels(item: UInt8Array) -> None:
    assert channel_order0_bytes(item) == pytest.approx(sum(order0_bytes(c) for c in item))


@given(ITEMS)
def test_knowing_the_channel_never_costs(item: UInt8Array) -> None:
    assert channel_order0_bytes(item) <= order0_bytes(item) + 1e-9


def noise(seed: int, widths: list[int], count: int) -> UInt8Array:
    """Items [count,C,400]: channel c uniform over widths[c] symbols."""
    random = np.random.default_rng(seed)
    channels = [random.integers(0, width, (count, 400), np.uint8) for width in widths]
    return np.stack(channels, axis=1)


def test_tables_learnt_elsewhere_reach_the_entropy_of_each_channel() -> None:
    items, learnt_from = noise(1, [2, 16], 20), noise(2, [2, 16], 20)
    entropy = (400 * 1 + 400 * 4) / 8
    assert static_channel_order0_bytes(items, learnt_from) == pytest.approx(entropy, rel=0.01)


def test_tables_of_other_channels_cost_more() -> None:
    items, swapped = noise(1, [2, 16], 20), noise(2, [16, 2], 20)
    fitting = static_channel_order0_bytes(items, noise(2, [2, 16], 20))
    assert static_channel_order0_bytes(items, swapped) > 1.3 * fitting


def test_a_symbol_never_seen_before_costs_much_but_is_not_impossible() -> None:
    learnt_from = noise(1, [2, 2], 4)
    new = np.full((1, 2, 400), 99, np.uint8)
    assert 800 < static_channel_order0_bytes(new, learnt_from) < 800 * 4


@pytest.mark.parametrize(
    ("items", "learnt_from"), [((0, 2, 3), (1, 2, 3)), ((1, 2, 3), (0, 2, 3)), ((1, 2), (1, 3))]
)
def test_tables_from_nothing_or_another_cut_are_refused(
    items: tuple[int, ...], learnt_from: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError, match="tables learnt from"):
        static_channel_order0_bytes(np.zeros(items, np.uint8), np.zeros(learnt_from, np.uint8))
