"""What all cells say together, on made-up figures."""

import pytest
from tests.bench.plan.made_up import cell, row

from isthmus_bench.plan.cells import Terms
from isthmus_bench.plan.verdict import cloud_share, error_terms, losses, verdict_of


def test_ratios_are_means_over_cells() -> None:
    raw, jpeg = row("input-raw", "cloud-only", 200), row("input-jpeg", "cloud-only", 50)
    bad_jpeg = row("input-jpeg", "cloud-only", 10, meets_floor=False)
    split = row("conv", "split", 100, predicted_ms=40)
    found = verdict_of([cell(raw, jpeg, split), cell(raw, bad_jpeg, split)], "latency")
    assert found.regret_mean == pytest.approx(0.5)
    assert found.regret_max == pytest.approx(1.0)
    assert found.never_worse_than_best_baseline_by == pytest.approx(1.0)
    assert found.speedup_vs_cloud_raw_mean == pytest.approx(2.0)
    assert found.speedup_vs_cloud_jpeg_mean == pytest.approx(0.5)
    assert found.mape == pytest.approx(0.2)
    assert found.mape_chosen == pytest.approx(0.6)


def test_the_control_is_no_prediction_to_judge() -> None:
    right, wrong = row("a", "split", 100), row("edge-only fp32", "edge-only", 100, predicted_ms=50)
    assert verdict_of([cell(right, wrong)], "latency").mape == 0


def test_speed_ups_are_geometric_means() -> None:
    raw, local = row("input-raw", "cloud-only", 100), row("local", "local", 25)
    slow = row("local", "local", 100)
    found = verdict_of([cell(raw, local), cell(raw, slow, model="other")], "latency")
    assert found.speedup_vs_cloud_raw_mean == pytest.approx(2.0)
    assert found.speedup_vs_cloud_jpeg_mean is None


def test_errors_are_told_by_term() -> None:
    off = row("a", "split", 100, predicted=Terms(60, 30, 0), measured=Terms(50, 40, 10))
    assert error_terms([cell(off)]) == pytest.approx({"device": 0.1, "wire": 0.1, "cloud": 0.1})


def test_the_cloud_share_is_of_chosen_splits_alone() -> None:
    raw = row("input-raw", "cloud-only", 100, measured=Terms(0, 60, 40))
    split = row("a", "split", 50, measured=Terms(20, 20, 10))
    assert cloud_share([cell(raw, split)]) == pytest.approx(0.25)
    assert cloud_share([cell(raw, row("local", "local", 10))]) is None


def test_a_loss_names_the_term_that_was_most_off() -> None:
    jpeg = row("input-jpeg", "cloud-only", 100)
    split = row("a", "split", 120, predicted=Terms(40, 40, 10), measured=Terms(42, 41, 37))
    (line,) = losses([cell(jpeg, split)], "latency")
    assert line.startswith("net, 5.85 Mbit/s, device 5x slower, latency: a is 20.0% behind")
    assert "the cloud time of a, +27.0 ms" in line


def test_a_loss_that_was_foreseen_is_told_so() -> None:
    edge = row("edge-only int8", "edge-only", 40)
    (line,) = losses([cell(row("local", "local", 50), edge)], "latency")
    assert "known before" in line


def test_within_three_per_cent_nothing_needs_to_be_explained() -> None:
    edge = row("edge-only int8", "edge-only", 100)
    assert losses([cell(row("local", "local", 102), edge)], "latency") == []


def test_a_loss_of_throughput_tells_frames_per_second() -> None:
    jpeg = row("input-jpeg", "cloud-only", 100, predicted_fps=10.0, measured_fps=20.0)
    split = row("a", "split", 100, predicted_fps=15.0, measured_fps=10.0)
    (line,) = losses([cell(jpeg, split)], "throughput")
    assert "a 15.0 and 10.0, input-jpeg 10.0 and 20.0" in line
