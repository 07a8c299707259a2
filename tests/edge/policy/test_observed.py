"""Live figures: medians, their spread, and what is forgotten."""

import pytest

from isthmus_edge.policy.observed import FORGOTTEN_AFTER, Observed


def observed(*times: float, planned_ms: float = 50.0) -> Observed:
    found = Observed()
    for took_ms in times:
        found.add("b7", took_ms, planned_ms)
    return found


def test_a_few_figures_replace_the_plans_and_one_does_not() -> None:
    assert observed(100.0, 100.0).live_ms() == {}
    assert observed(90.0, 100.0, 500.0).live_ms() == {"b7": 100.0}


def test_one_frame_is_enough_to_tell_how_slow_a_machine_is() -> None:
    assert observed(100.0).scale == 2.0
    assert Observed().scale == 1.0


def test_the_margin_follows_the_spread_and_an_outlier_counts_little() -> None:
    steady, noisy = observed(*[100.0] * 5), observed(80.0, 90.0, 100.0, 110.0, 120.0)
    assert steady.at_most_ms("b7") == 100.0
    assert noisy.at_most_ms("b7") == pytest.approx(100 + 2 * 20 / 1.349)
    assert observed(100.0, 100.0, 100.0, 100.0, 5_000.0).at_most_ms("b7") == 100.0
    assert noisy.spread_ms() == {"b7": pytest.approx(20 / 1.349)}
    assert noisy.at_most_scale == pytest.approx(2 + 2 * 20 / 1.349 / 50)
    assert Observed().at_most_ms("b7") is None


def test_what_no_frame_renews_is_forgotten() -> None:
    """Who was slow once would otherwise never be tried again."""
    found = observed(500.0, 500.0, 500.0)
    for _ in range(FORGOTTEN_AFTER - 1):
        found.frame_passed()
    assert (found.live_ms(), found.scale) == ({"b7": 500.0}, 10.0)
    found.frame_passed()
    assert (found.live_ms(), found.scale) == ({}, 1.0)
    assert found.at_most_ms("b7") is None
