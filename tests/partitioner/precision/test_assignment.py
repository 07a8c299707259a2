"""The cheapest mix at a price is that which trying all of them finds."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_partitioner.precision.assignment import Trade, cheapest

ALL_FREE = {(0, 1): 0.0, (1, 2): 0.0}


def random_trade(seed: int, groups: int) -> Trade:
    random = np.random.default_rng(seed)
    pairs = [pair for pair in combinations(range(groups), 2) if random.random() < 0.5]
    damage = random.integers(0, 20, groups).astype(np.float64)
    damage[random.random(groups) < 0.2] = np.inf
    return Trade(
        fp32_ms=random.integers(0, 50, groups).astype(np.float64),
        int8_ms=random.integers(0, 30, groups).astype(np.float64),
        damage=damage,
        borders={pair: float(random.integers(0, 20)) for pair in pairs},
    )


def cost(trade: Trade, price: float, fp32: frozenset[int]) -> float:
    int8 = set(range(len(trade.fp32_ms))) - fp32
    return trade.predicted_ms(fp32) + price * sum(float(trade.damage[i]) for i in int8)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 7), st.sampled_from([0.0, 0.25, 1.0, 8.0]))
def test_no_other_mix_is_cheaper(seed: int, groups: int, price: float) -> None:
    trade = random_trade(seed, groups)
    able = [i for i in range(groups) if np.isfinite(trade.damage[i])]
    every = frozenset(range(groups))
    mixes = [every - set(some) for n in range(len(able) + 1) for some in combinations(able, n)]
    best = min(cost(trade, price, mix) for mix in mixes)
    assert cost(trade, price, cheapest(trade, price)) == pytest.approx(best, rel=1e-6, abs=1e-6)


def test_a_mix_costs_its_groups_and_the_conversions_between_them() -> None:
    trade = Trade(
        np.array([5.0, 7, 9]), np.array([1.0, 2, 3]), np.zeros(3), {(0, 1): 10, (1, 2): 20}
    )
    assert trade.predicted_ms(frozenset()) == 6
    assert trade.predicted_ms(frozenset({1})) == 1 + 7 + 3 + 10 + 20
    assert trade.predicted_ms(frozenset({0, 1, 2})) == 21


def test_what_is_slower_in_int8_is_fp32_at_any_price() -> None:
    trade = Trade(np.array([5.0, 5, 1]), np.array([1.0, 1, 4]), np.array([0.1, 0.1, 0.0]), ALL_FREE)
    assert cheapest(trade, 0) == {2}
    assert cheapest(trade, 1000) == {0, 1, 2}


def test_a_dear_conversion_keeps_neighbours_together() -> None:
    trade = Trade(np.array([5.0, 2, 5]), np.array([1.0, 3, 1]), np.zeros(3), {(0, 1): 9, (1, 2): 9})
    assert cheapest(trade, 0) == frozenset()
