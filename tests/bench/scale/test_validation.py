"""What is simulated of a fleet, from what was measured of it; and the scores."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from tests.bench.scale.made_up import (
    computing,
    fleet,
    fleets,
    result,
    scale_load,
    turn,
)

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.data import scale_json
from isthmus_bench.scale.figures import Case, CaseTurn, Kills
from isthmus_bench.scale.fleets import KINDS
from isthmus_bench.scale.report import scale_lines
from isthmus_bench.scale.scores import misses, scores_of
from isthmus_bench.scale.validation import batches_of, costs_of, validated

REAL = [computing(KINDS[0]), computing(KINDS[2])]
CONFIG = ScaleConfig(work=Path("work"), loads=(0.5,), warm_s=0.5, load_s=5.0)
KINDS_BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_batch_takes_beside_its_tail_is_that_of_one_full_replica(kind: object) -> None:
    """In-process 38 answers/s in batches of 2 are 52.6 ms each, of which the tail takes 50."""
    of = next(each for each in KINDS if each is kind)
    times, most = batches_of(fleets(), of)
    each_ms = 1e3 / (37.0 if of.ray else 38.0) - 25.0
    assert most == 2
    assert times.took_ms == pytest.approx([30.0 + each_ms, 50.0 + 2 * each_ms, 90.0 + 4 * each_ms])


def test_a_front_end_s_time_is_that_of_cameras_without_the_tail() -> None:
    ray, plain = costs_of(fleets(), REAL), costs_of(fleets()[:2], REAL[:1])
    assert (ray.front_end_ms, plain.front_end_ms) == pytest.approx((1.2, 0.7))
    assert ray.replica_ms == pytest.approx(1e3 / 37.0 - 25.0)
    assert plain.replica_ms == pytest.approx(1e3 / 38.0 - 25.0)


def test_the_hop_is_what_a_frame_takes_on_ray_beyond_in_process() -> None:
    costs = costs_of(fleets(), REAL)
    in_process_ms = 34.0 - 30.0 - (1e3 / 38.0 - 25.0)
    ray_ms = 39.0 - 30.0 - (1e3 / 37.0 - 25.0)
    found = costs.overheads
    assert found.base_ms == pytest.approx([max(0.0, in_process_ms - costs.front_end_ms)] * 3)
    assert found.hop_ms == pytest.approx([ray_ms - in_process_ms] * 3)
    assert costs_of(fleets(), REAL, ray=False).overheads.hop_ms == (0.0,)


def test_every_open_load_is_simulated_with_its_phases() -> None:
    rows = fleets()
    rows[0].opened.append(replace(rows[0].opened[0], seed=8))
    cases = validated(rows, REAL, CONFIG)
    assert [(case.fleet, case.devices, len(case.turns)) for case in cases] == [
        (row.kind.name, 10, len(row.opened)) for row in rows
    ]
    one, other = cases[0].turns
    assert (one.real(0.5), one.real(0.99), one.real(1.0)) == (5.0, 5.0, 11.0)
    assert one.simulated(0.99) != other.simulated(0.99)
    assert 30.0 < (one.simulated(0.5) or 0.0) < 100.0
    assert validated(rows, REAL, CONFIG) == cases


def test_the_hop_is_simulated_on_ray_alone() -> None:
    near, far = fleets(), fleets()
    for row in far:
        if row.kind.ray:
            row.one = [scale_load([each + 20.0 for each in row.one[0].latencies_ms])]
    for one, other in zip(validated(far, REAL, CONFIG), validated(near, REAL, CONFIG), strict=True):
        is_ray = KINDS_BY_NAME[one.fleet].ray
        assert (one.turns != other.turns) == is_ray
        if is_ray:
            both = [each.together.simulated(0.5) or 0.0 for each in (one, other)]
            assert both[0] - both[1] > 10.0


def test_two_replicas_bear_more_than_one_in_the_simulation() -> None:
    kinds = [KINDS_BY_NAME[name] for name in ("in-process", "Ray, 1 replica", "Ray, 2 replicas")]
    rows = [fleet(kind, 37.0 * kind.replicas, 34.0) for kind in kinds]
    _, one, two = validated(rows, REAL, replace(CONFIG, fps=3.4))
    p99_ms = [each.together.simulated(0.99) for each in (one, two)]
    assert p99_ms[0] is not None
    assert p99_ms[1] is not None
    assert p99_ms[1] < p99_ms[0]


def test_an_error_is_that_of_all_turns_together_if_they_are_enough() -> None:
    """Of two turns one is simulated too slow and one too fast: their medians would hide that."""
    turns = (turn(100.0, 150.0), turn(100.0, 60.0))
    case = Case("in-process", 0.5, 10, turns)
    assert case.p99_error == pytest.approx(-0.4)
    assert case.worst_turn == pytest.approx(0.5)
    assert Case("in-process", 0.5, 10, turns[:1]).p99_error is None
    lossy = CaseTurn([50.0] * 190 + [inf] * 10, [50.0] * 200)
    assert (lossy.p99_error, Case("", 0.5, 9, (lossy,)).worst_turn) == (None, None)


def test_the_scores_are_of_all_fleets_and_the_worst_case() -> None:
    scores = scores_of(result())
    assert scores.hop_overhead_ms_p50 == 5.0
    assert scores.scaling_2 == pytest.approx(1.9)
    assert scores.scaling_efficiency_2 == pytest.approx(0.95)
    assert scores.scaling_processes_2 == pytest.approx(75 / 38)
    assert scores.sim_vs_real_p99_error == pytest.approx(0.1)
    assert (scores.accepted, scores.answered, scores.lost, scores.kills_hurt) == (270, 270, 0, 1)
    assert scores.not_compared == ("2 processes, 20 devices",)
    assert misses(scores) == ["2 processes, 20 devices has no p99 to compare"]


def test_what_misses_its_aim_is_said() -> None:
    load = scale_load(lost=2, doubled=1, late=3, wrong=4, unsent=5)
    lossy = Kills(1, 0, 9, load, (1.0,))
    off = Case("in-process", 0.5, 10, (turn(100.0, 130.0, frames=200),))
    rows = fleets()
    rows[3] = fleet(rows[3].kind, 50.0, 39.0)
    found = misses(scores_of(result(kills=lossy, cases=(off,), fleets=rows)))
    words = ["2 frames lost", "1 frames doubled", "4 frames wrong", "3 frames late", "30%", "1.35"]
    words += ["5 frames never sent", "no kill has cost a call"]
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
    assert [case["p99_error"] for case in data["cases"]] == [pytest.approx(0.1), None]
    assert (data["cases"][0]["frames"], data["kills"]["hurt"]) == (200, 1)
    assert len(data["sizing"]["rows"]) == 2


def test_a_run_without_ray_has_a_report_too() -> None:
    made = result(fleets=fleets()[:2], hops=(), kills=None, cases=(), not_run={"Ray": "no ray"})
    text, data = "\n".join(scale_lines(made)), scale_json(made)
    assert text.count("not measured") == 2
    assert data["hop_overhead_ms_p50"] is data["scaling_efficiency_2"] is None
    assert data["sim_vs_real_p99_error"] is None
    assert data["scaling_processes_2"] == pytest.approx(75 / 38)
