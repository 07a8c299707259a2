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


def used(found: Observed, name: str, *times: float, planned_ms: float = 10.0) -> None:
    for took_ms in times:
        found.frame_passed()
        found.add(name, took_ms, planned_ms)


def test_what_is_not_in_use_grows_hot_with_the_rest() -> None:
    """Otherwise a hot device would go back to what it remembers as fast."""
    found = Observed()
    used(found, "local", *[10.0] * 9)
    used(found, "cut", *[5.0] * 9, *[20.0] * 50, planned_ms=5.0)
    assert found.live_ms() == {"local": 40.0, "cut": 20.0}
    assert found.at_most_ms("local") == 40.0


def test_what_was_slow_when_it_was_hot_is_as_fast_again_as_the_rest() -> None:
    found = Observed()
    used(found, "local", *[10.0] * 9, *[40.0] * 9)
    used(found, "cut", *[20.0] * 9, *[5.0] * 9, planned_ms=5.0)
    assert found.live_ms() == {"local": 10.0, "cut": 5.0}


def test_what_is_remembered_is_still_believed_when_the_first_new_figure_comes() -> None:
    found = Observed()
    used(found, "local", *[10.0] * 3, *[40.0] * 5)
    used(found, "cut", *[20.0] * 9, *[5.0] * 9, planned_ms=5.0)
    used(found, "local", 11.0)
    assert found.live_ms()["local"] < 12.0


def test_heat_is_followed_over_what_was_used_in_between() -> None:
    found = Observed()
    used(found, "local", *[10.0] * 9)
    used(found, "a", *[5.0] * 9, *[10.0] * 9)
    used(found, "b", *[8.0] * 9, *[16.0] * 9)
    used(found, "c", *[1.0] * 3)
    assert found.live_ms()["local"] == 40.0
    assert found.live_ms()["a"] == 20.0


def test_a_candidate_that_the_plan_misjudges_is_no_heat() -> None:
    """Or the device would go back and forth: each makes the other look faster or slower."""
    found = Observed()
    used(found, "local", *[10.0] * 9)
    used(found, "cut", *[20.0] * 50, planned_ms=5.0)
    used(found, "local", *[10.0] * 2)
    used(found, "cut", *[20.0] * 2, planned_ms=5.0)
    assert found.live_ms() == {"local": 10.0, "cut": 20.0}


def test_noise_is_no_heat_and_what_is_in_use_is_what_was_seen_of_it() -> None:
    found = Observed()
    used(found, "local", *[10.0] * 9)
    used(found, "cut", *[5.0] * 9, *[5.9] * 9, planned_ms=5.0)
    assert found.live_ms() == {"local": 10.0, "cut": 5.9}
    used(found, "cut", *[5.0] * 4, *[50.0] * 3, planned_ms=5.0)
    assert found.live_ms() == {"local": 10.0, "cut": 5.9}
