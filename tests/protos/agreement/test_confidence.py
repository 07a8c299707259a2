"""How sure a share is."""

import numpy as np
import pytest

from isthmus.agreement.confidence import interval_of_mean, wilson


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_that_of_the_literature(
    hits: int, count: int, low: float, high: float
) -> None:
    assert wilson(hits / count, count) == pytest.approx((low, high), abs=5e-5)


def test_nothing_is_known_without_items() -> None:
    assert interval_of_mean(np.zeros(0)) == (0, 1)


def test_sources_that_differ_widen_the_interval() -> None:
    values = np.repeat([1.0] * 8 + [0.0] * 2, 10)
    independent = interval_of_mean(values)
    grouped = interval_of_mean(values, [f"photo {row // 10}" for row in range(100)])
    assert independent == pytest.approx(wilson(0.8, 100), abs=0.02)
    # As if there were ten items: 0.8 +- 0.25.
    assert grouped[0] == pytest.approx(0.5, abs=0.05)
    assert grouped[1] == 1.0


def test_sources_of_different_sizes_weigh_as_much_as_they_have_items() -> None:
    values = np.array([1.0] * 95 + [0.0] * 5)
    sources = ["large"] * 95 + [f"small {row}" for row in range(5)]
    low, high = interval_of_mean(values, sources)
    assert low < 0.2  # draws without the large one
    assert high >= 0.95


def test_too_few_sources_are_not_drawn_from() -> None:
    values = np.repeat([1.0, 0.0, 1.0, 1.0], 10)
    sources = [f"photo {row // 10}" for row in range(40)]
    assert interval_of_mean(values, sources) == wilson(0.75, 40)


def test_the_same_values_have_the_same_interval() -> None:
    values = np.random.default_rng(0).random(30)
    assert interval_of_mean(values) == interval_of_mean(values)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """95 % of the time, or more often: the union of two intervals is on the safe side."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        low, high = interval_of_mean((random.random(60) < 0.9).astype(np.float64))
        covered += low <= 0.9 <= high
    assert covered >= 92
