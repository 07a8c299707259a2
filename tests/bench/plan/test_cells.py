"""Choice, regret and baselines of a cell, on made-up figures."""

import pytest
from tests.bench.plan.made_up import cell, row

from isthmus_bench.plan.cells import with_static_splits

LOCAL, RAW = row("local", "local", 100), row("input-raw", "cloud-only", 80)
SPLIT, EDGE = row("conv", "split", 60), row("edge-only fp32", "edge-only", 150)


def test_the_choice_goes_by_predictions_and_not_by_what_came_of_them() -> None:
    promising = row("late", "split", 90, predicted_ms=50)
    found = cell(LOCAL, RAW, SPLIT, promising)
    assert found.chosen("latency") is promising
    assert found.best("latency") is SPLIT
    assert found.regret("latency") == pytest.approx(0.5)


def test_what_is_not_kept_is_never_chosen_but_counts_for_regret() -> None:
    left_out = row("conv", "split", 50, is_kept=False)
    found = cell(LOCAL, RAW, left_out)
    assert found.chosen("latency") is RAW
    assert found.regret("latency") == pytest.approx(0.6)


def test_what_misses_the_floor_neither_is_chosen_nor_wins() -> None:
    bad = row("conv", "split", 10, meets_floor=False, agreement=0.5)
    bad_jpeg = row("input-jpeg", "cloud-only", 10, meets_floor=False, agreement=0.5)
    found = cell(LOCAL, RAW, bad, bad_jpeg)
    assert found.chosen("latency") is RAW
    assert found.best("latency") is RAW
    assert found.best_baseline("latency") is RAW


def test_if_nothing_meets_the_floor_the_most_faithful_is_chosen() -> None:
    low = row("local", "local", 10, meets_floor=False, agreement=0.5)
    high = row("conv", "split", 90, meets_floor=False, agreement=0.9)
    found = cell(low, high)
    assert found.chosen("latency") is high
    assert found.best_baseline("latency") is None
    assert found.behind_baseline("latency") is None


def test_edge_only_networks_and_cuts_of_others_are_baselines_and_no_candidates() -> None:
    other = row("fp32 wire 1", "fp32 wire", 20, planners={"neurosurgeon": 15.0})
    found = cell(LOCAL, SPLIT, EDGE, other)
    assert found.chosen("latency") is SPLIT
    assert found.best("latency") is SPLIT
    assert found.best_baseline("latency") is other
    assert found.behind_baseline("latency") == pytest.approx(2.0)


def test_throughput_goes_by_the_time_between_frames() -> None:
    quick = row("conv", "split", 90, fps=40)
    found = cell(LOCAL, quick)
    assert found.chosen("throughput") is quick
    assert found.chosen("latency") is quick
    assert LOCAL.cost("throughput") == pytest.approx(100)
    assert quick.predicted_cost("throughput") == pytest.approx(25)


def test_the_static_cut_is_the_split_that_is_best_over_all_cells_of_a_model() -> None:
    one = cell(row("a", "split", 10), row("b", "split", 100), slow_down=1)
    two = cell(row("a", "split", 400), row("b", "split", 20), slow_down=5)
    marked = with_static_splits([one, two])
    assert [[r.way for r in each.rows if r.is_static] for each in marked] == [["b"], ["b"]]
    assert marked[1].best_baseline("latency") == marked[1].row("b")


def test_plans_without_a_common_split_have_static_cuts_of_their_own() -> None:
    one = cell(row("a", "split", 10), slow_down=1)
    two = cell(row("b", "split", 20), slow_down=5)
    other = cell(row("c", "split", 20), RAW, model="other")
    none = cell(row("d", "split", 20, meets_floor=False), model="none")
    marked = with_static_splits([one, two, other, none])
    assert [[r.way for r in each.rows if r.is_static] for each in marked] == [
        ["a"],
        ["b"],
        ["c"],
        [],
    ]
