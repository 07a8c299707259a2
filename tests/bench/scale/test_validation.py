"""What is simulated of a fleet, from what was measured of it; and the scores."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.bench.scale.made_up import TAIL, fleet, fleets, result, scale_load

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.data import scale_json
from isthmus_bench.scale.figures import Case, CaseTurn, Kills
from isthmus_bench.scale.fleets import KINDS
from isthmus_bench.scale.report import scale_lines
from isthmus_bench.scale.scores import misses, scores_of
from isthmus_bench.scale.validation import batches_of, costs_of, overheads_of, validated

CONFIG = ScaleConfig(work=Path("work"), loads=(0.5,), warm_s=0.5, load_s=5.0)
KINDS_BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_batch_takes_beside_its_tail_is_that_of_one_full_replica(kind: object) -> None:
    """In-process 38 answers/s in batches of 2 are 52.6 ms each, of which the tail takes 50."""
    of = next(each for each in KINDS if each is kind)
    times, most = batches_of(fleets(), of, TAIL)
    extra_ms = 2 / (37.0 if of.ray else 38.0) * 1e3 - 50.0
    assert most == 2
    assert times.took_ms == pytest.approx([ms + extra_ms for ms in TAIL.took_ms])


def test_the_hop_is_what_a_frame_takes_on_ray_and_not_in_process() -> None:
    found = overheads_of(fleets(), TAIL)
    in_process_ms = 34.0 - 30.0 - (2 / 38.0 * 1e3 - 50.0)
    ray_ms = 39.0 - 30.0 - (2 / 37.0 * 1e3 - 50.0)
    assert found.base_ms == pytest.approx([in_process_ms] * 3)
    assert found.hop_ms == pytest.approx([ray_ms - in_process_ms] * 3)


def test_without_ray_there_is_no_hop() -> None:
    assert overheads_of(fleets()[:2], TAIL).hop_ms == (0.0,)


def test_sizing_counts_with_ray_s_front_end_or_else_with_what_the_tail_leaves() -> None:
    rows = fleets()
    overheads = overheads_of(rows, TAIL)
    ray = costs_of(rows, [rows[0], rows[2]], TAIL, overheads)
    assert (ray.front_end_ms, ray.batch_ms) == pytest.approx((0.9, 2 / 37.0 * 1e3 - 50.0))
    plain = costs_of(rows[:2], rows[:1], TAIL, overheads)
    assert plain.front_end_ms == pytest.approx(0.9 - 0.5)


def test_every_open_load_is_simulated_with_its_phases() -> None:
    rows = fleets()
    rows[0].opened.append(replace(rows[0].opened[0], seed=8))
    cases = validated(rows, TAIL, overheads_of(rows, TAIL), CONFIG)
    assert [(case.fleet, case.devices, len(case.turns)) for case in cases] == [
        (row.kind.name, 10, len(row.opened)) for row in rows
    ]
    one, other = cases[0].turns
    assert (one.real_p50_ms, one.real_p99_ms) == (5.0, 11.0)
    assert one.sim_p99_ms != other.sim_p99_ms
    assert one.sim_p50_ms is not None
    assert 30.0 < one.sim_p50_ms < 100.0
    assert validated(rows, TAIL, overheads_of(rows, TAIL), CONFIG) == cases


def test_the_hop_is_simulated_on_ray_alone() -> None:
    rows, overheads = fleets(), overheads_of(fleets(), TAIL)
    far = replace(overheads, hop_ms=(20.0,))
    near = replace(overheads, hop_ms=(0.0,))
    for one, other in zip(
        validated(rows, TAIL, far, CONFIG), validated(rows, TAIL, near, CONFIG), strict=True
    ):
        is_ray = KINDS_BY_NAME[one.fleet].ray
        assert (one.turns != other.turns) == is_ray
        if is_ray:
            longer_ms = (one.turns[0].sim_p50_ms or 0.0) - (other.turns[0].sim_p50_ms or 0.0)
            assert longer_ms > 10.0


def test_two_replicas_bear_more_than_one_in_the_simulation() -> None:
    kinds = [KINDS_BY_NAME[name] for name in ("in-process", "Ray, 1 replica", "Ray, 2 replicas")]
    rows = [fleet(kind, 37.0 * kind.replicas, 34.0) for kind in kinds]
    _, one, two = validated(rows, TAIL, overheads_of(rows, TAIL), replace(CONFIG, fps=3.4))
    assert one.turns[0].sim_p99_ms is not None
    assert two.turns[0].sim_p99_ms is not None
    assert two.turns[0].sim_p99_ms < one.turns[0].sim_p99_ms


def test_the_scores_are_of_all_fleets_and_the_worst_case() -> None:
    scores = scores_of(result())
    assert scores.hop_overhead_ms_p50 == 5.0
    assert scores.scaling_2 == pytest.approx(1.9)
    assert scores.scaling_efficiency_2 == pytest.approx(0.95)
    assert scores.scaling_processes_2 == pytest.approx(75 / 38)
    assert scores.sim_vs_real_p99_error == pytest.approx(0.04)
    assert (scores.accepted, scores.answered, scores.lost) == (190, 190, 0)
    assert misses(scores) == []


def test_what_misses_its_aim_is_said() -> None:
    lossy = Kills(1, 9, scale_load(lost=2, doubled=1, late=3, wrong=4), (1.0,))
    off = Case("in-process", 0.5, 10, (CaseTurn(50.0, 100.0, 52.0, 130.0),))
    rows = fleets()
    rows[3] = fleet(rows[3].kind, 50.0, 39.0)
    found = misses(scores_of(result(kills=lossy, cases=(off,), fleets=rows)))
    words = ["2 frames lost", "1 frames doubled", "4 frames wrong", "3 frames late", "30%", "1.35"]
    assert [word for word in words if not any(word in line for line in found)] == []
    assert len(found) == len(words)


def test_the_report_and_the_json_say_the_same() -> None:
    made = result(not_run={"what": "why"}, stolen_share=0.2, notes=("a note",))
    text, data = "\n".join(scale_lines(made)), scale_json(made)
    assert "CAUTION" in text
    for word in ("what: why", "a note", "none is enough", "2 times `kill -9`", "drive", "0.000028"):
        assert word in text
    for key in (
        "hop_overhead_ms_p50",
        "scaling_2",
        "scaling_efficiency_2",
        "lost",
        "doubled",
        "sim_vs_real_p99_error",
    ):
        assert data[key] is not None
    assert data["sim_vs_real_cases"] == ["in-process, 10 devices"]
    assert [case["p99_error"] for case in data["cases"]] == [pytest.approx(0.04), None]
    assert len(data["sizing"]["rows"]) == 2


def test_a_run_without_ray_has_a_report_too() -> None:
    made = result(fleets=fleets()[:2], hops=(), kills=None, cases=(), not_run={"Ray": "no ray"})
    text, data = "\n".join(scale_lines(made)), scale_json(made)
    assert text.count("not measured") == 2
    assert data["hop_overhead_ms_p50"] is data["scaling_efficiency_2"] is None
    assert data["sim_vs_real_p99_error"] is None
    assert data["scaling_processes_2"] == pytest.approx(75 / 38)
