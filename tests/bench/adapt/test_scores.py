"""What finished runs say, on runs whose answer is known."""

from dataclasses import replace

import pytest
from tests.bench.adapt.made_up import SCENE, cell, frames, policy, run

from isthmus_bench.adapt.scores import (
    cells_of,
    figures_of,
    latencies_ms,
    oracle_ms,
    p95,
    spread_of,
    verdict_of,
)


def test_a_frame_without_an_answer_counts_until_the_next_newer_answer() -> None:
    # Ticks at 0, 0.5, 1.0 s; the answer to the last one comes at 1.2 s.
    assert latencies_ms(frames([100, None, 200])) == pytest.approx([100, 700, 200])


def test_an_answer_to_an_older_frame_does_not_tell_what_a_newer_one_showed() -> None:
    # The first is answered at 5 s, after the second was dropped; the third at 1.1 s.
    assert latencies_ms(frames([5000, None, 100])) == pytest.approx([5000, 600, 100])


def test_the_earliest_of_several_newer_answers_counts() -> None:
    assert latencies_ms(frames([None, 3000, 100])) == pytest.approx([1100, 3000, 100])


def test_a_last_frame_without_an_answer_counts_to_the_end_of_the_run() -> None:
    assert latencies_ms(frames([2000, None])) == pytest.approx([2000, 1500])


def test_late_frames_and_frames_without_an_answer_are_misses() -> None:
    figures = figures_of([run("ours", [100, 200, 201, None])], late_after_ms=200)
    assert figures.missed == 0.5
    assert figures.unanswered == 1
    assert figures.payload_bytes == 300


def test_figures_of_runs_are_means_of_runs_and_over_all_frames() -> None:
    one = run("ours", [100, 100], switches=2, device_s=1.0, sent_bytes=1000)
    other = run("ours", [400], switches=4, device_s=3.0, sent_bytes=4000)
    figures = figures_of([one, other], late_after_ms=200)
    assert figures.mean_ms == 200
    assert (figures.switches, figures.device_s) == (3, 2)
    assert (figures.payload_bytes, figures.sent_bytes) == (150, 2500)
    assert figures.p95_ms == p95([100, 100, 400])


def test_the_best_static_is_chosen_for_each_trace_and_by_each_statistic() -> None:
    first = cell({"ours": [100, 100], "a": [90, 150], "b": [100, 130]}, trace="one")
    second = cell({"ours": [100, 100], "a": [400, 400], "b": [200, 200]}, trace="two")
    assert first.best_static(max) == "b"
    assert first.best_static(min) == "a"
    verdict = verdict_of([first, second])
    assert verdict.vs_best_static_mean == pytest.approx(400 / (100 + 130 + 400))
    assert verdict.vs_one_static_mean == pytest.approx(400 / (100 + 130 + 400))


def test_one_static_for_all_traces_is_no_better_than_one_for_each() -> None:
    first = cell({"ours": [100], "a": [50], "b": [300]}, trace="one")
    second = cell({"ours": [100], "a": [300], "b": [100]}, trace="two")
    verdict = verdict_of([first, second])
    assert verdict.vs_best_static_mean == pytest.approx(200 / 150)
    assert verdict.vs_one_static_mean == pytest.approx(200 / 350)


def test_p95_is_of_all_frames_of_all_traces() -> None:
    first = cell({"ours": [100] * 4, "a": [200] * 4}, trace="one")
    second = cell({"ours": [100, 100, 100, 500], "a": [100] * 4}, trace="two")
    ours, best = [100] * 7 + [500], [200] * 4 + [100] * 4
    assert verdict_of([first, second]).vs_best_static_p95 == pytest.approx(p95(ours) / p95(best))


def test_the_best_in_the_mean_may_not_have_the_least_p95() -> None:
    found = cell({"ours": [100] * 20, "a": [50] * 18 + [500] * 2, "b": [200] * 20})
    verdict = verdict_of([found])
    assert verdict.vs_best_static_p95 == pytest.approx(100 / 500)
    assert verdict.vs_least_static_p95 == pytest.approx(100 / 200)


def test_what_misses_the_floor_is_never_best() -> None:
    found = cell({"ours": [100], "a": [200], "cheat": [10]}, below_floor=["cheat"])
    assert found.static == ("a",)
    assert verdict_of([found]).vs_best_static_mean == 0.5
    assert oracle_ms(found) == [200]


def test_the_oracle_takes_the_best_static_of_each_second() -> None:
    # Two frames a second: a is best in the first second, b in the next one.
    found = cell({"ours": [100] * 4, "a": [50, 70, 300, 300], "b": [80, 80, 90, 110]})
    assert oracle_ms(found) == [50, 70, 90, 110]
    assert verdict_of([found]).regret_vs_oracle_mean == pytest.approx(400 / 320 - 1)


def test_the_oracle_does_not_count_the_policy_itself() -> None:
    assert oracle_ms(cell({"ours": [1, 1], "a": [50, 50]})) == [50, 50]


def test_models_are_pooled_in_units_of_their_own_network() -> None:
    quick = cell({"ours": [50], "a": [100]}, model="quick")
    slow = cell({"ours": [1000], "a": [1000]}, model="slow", scene=replace(SCENE, local_ms=1000.0))
    assert verdict_of([quick, slow]).vs_best_static_mean == pytest.approx(1.5 / 2)


def test_misses_are_by_the_deadline_of_each_model() -> None:
    quick = cell({"ours": [150, 250], "a": [100, 100]})
    slow = cell({"ours": [150, 250], "a": [999, 999]}, scene=replace(SCENE, late_after_ms=900.0))
    verdict = verdict_of([quick, slow])
    assert verdict.missed == 0.25
    assert verdict.best_static_missed == 0.5


def test_an_ewma_policy_is_one_of_those_to_beat() -> None:
    verdict = verdict_of([cell({"ours": [100], "ewma": [125], "a": [100]})])
    assert verdict.vs_ewma_mean == verdict.vs_ewma_p95 == 0.8


def test_the_spread_is_that_of_the_repeats() -> None:
    policies = [policy(name) for name in ("ours", "ewma", "a")]
    runs = [
        run(name, [ours if name == "ours" else 100.0], repeat=repeat)
        for repeat, ours in enumerate([80.0, 90.0, 130.0])
        for name in ("ours", "ewma", "a")
    ]
    spread = spread_of(cells_of(policies, runs, SCENE), 3)["vs_best_static_mean"]
    assert (spread.median, spread.least, spread.most) == (0.9, 0.8, 1.3)


def test_cells_keep_the_order_of_traces_and_hold_every_repeat() -> None:
    runs = [
        run(name, [100.0], trace=trace, repeat=repeat)
        for repeat in (1, 0)
        for trace in ("b", "a")
        for name in ("ours", "ewma", "x")
    ]
    found = cells_of([policy("ours"), policy("ewma"), policy("x")], runs, SCENE)
    assert [each.trace for each in found] == ["b", "a"]
    assert [each.repeat for each in found[0].runs["x"]] == [0, 1]
