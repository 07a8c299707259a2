"""The policy is a pure function: these tests are tables of situations."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import candidates

from isthmus import Candidate, Encoding, Picture, Symbols
from isthmus_edge import Decision, Goal, LinkEstimate, Objective, Situation, decide, predict
from isthmus_edge.policy.choice import Prediction, window
from isthmus_edge.policy.vitals import Vitals

SYMBOLS = Symbols(levels=16, step=0.5, zero_point=8)


def candidate(name: str, encoding: Encoding | None, **figures: Any) -> Candidate:
    return candidates.candidate(name, candidates.rung(encoding, **figures), kept=True)


def ladder(name: str, agreements: tuple[float, ...], sizes: tuple[int, ...]) -> Candidate:
    steps = (
        candidates.rung(SYMBOLS, edge_ms=50, payload_bytes=size, cloud_ms=10, agreement=agreement)
        for agreement, size in zip(agreements, sizes, strict=True)
    )
    return candidates.candidate(name, *steps, kept=True)


LOCAL = candidate("local", None, edge_ms=160)
SPLIT = candidate("b7", SYMBOLS, edge_ms=80, payload_bytes=5_000, cloud_ms=10)
PICTURE = candidate(
    "jpeg", Picture(format="jpeg", quality=95), edge_ms=10, payload_bytes=22_000, cloud_ms=15
)
COARSE = candidate(
    "jpeg-coarse",
    Picture(format="jpeg", quality=50),
    edge_ms=8,
    payload_bytes=6_000,
    cloud_ms=15,
    agreement=0.8,
)
ALL = (LOCAL, SPLIT, PICTURE, COARSE)


def link(mbps: float, rtt_ms: float = 20.0) -> LinkEstimate:
    return LinkEstimate(bandwidth_bps=mbps * 1e6, rtt_ms=rtt_ms)


def chosen(mbps: float | None, objective: Objective = "latency", in_use: str | None = None) -> str:
    situation = Situation(link=None if mbps is None else link(mbps), in_use=in_use)
    return decide(ALL, situation, Goal(objective, 0.95)).candidate.id


@pytest.mark.parametrize(
    ("mbps", "expected"), [(50, "jpeg"), (5, "jpeg"), (1.1, "b7"), (0.1, "local"), (None, "local")]
)
def test_the_least_latency_wins_on_each_link(mbps: float | None, expected: str) -> None:
    assert chosen(mbps) == expected


def test_most_frames_a_second_is_another_question_than_least_latency() -> None:
    assert chosen(0.55, "throughput") == "b7"
    assert chosen(0.55, "latency") == "local"


def test_what_is_below_the_agreement_floor_is_never_chosen() -> None:
    situation = Situation(link=link(3))
    fastest = min(ALL, key=lambda c: predict(c, situation).latency_ms)
    assert fastest is COARSE
    assert decide(ALL, situation, Goal("latency", 0.95)).candidate is not COARSE
    assert decide(ALL, situation, Goal("latency", 0.5)).candidate is COARSE


def test_without_anything_above_the_floor_the_closest_is_taken() -> None:
    poor = candidate("local", None, edge_ms=1, agreement=0.7)
    decision = decide((poor, COARSE), Situation(link=link(1)), Goal("latency", 0.95))
    assert decision.candidate is COARSE


def test_a_small_gain_causes_no_switch_and_a_large_one_does() -> None:
    worse = candidate("rival", SYMBOLS, edge_ms=78, payload_bytes=5_000, cloud_ms=10)
    pool = (LOCAL, SPLIT, worse)
    for mbps, expected in ((1.5, "b7"), (0.1, "local")):
        situation = Situation(link=link(mbps), in_use="b7")
        assert decide(pool, situation, Goal("latency", 0.95)).candidate.id == expected


def test_live_figures_replace_the_plans() -> None:
    slow_cloud = Situation(link=link(50), cloud_ms={"jpeg": 500.0})
    assert decide(ALL, slow_cloud, Goal("latency", 0.95)).candidate.id == "b7"
    fast_device = Situation(link=link(50), device_scale=0.05)
    assert decide(ALL, fast_device, Goal("latency", 0.95)).candidate.id == "local"


def test_a_queue_in_the_cloud_speaks_for_the_device() -> None:
    busy = Situation(link=link(50), queue_ms=400)
    assert decide(ALL, busy, Goal("latency", 0.95)).candidate.id == "local"


def test_the_reason_names_the_candidate_the_link_and_the_next_best() -> None:
    reason = decide(ALL, Situation(link=link(1.1)), Goal("latency", 0.95)).reason
    assert "b7" in reason
    assert "1.10 Mbit/s" in reason
    assert "next best local" in reason


def test_the_reason_tells_what_else_weighed() -> None:
    hot = Vitals(temperature_c=84.0)
    vague = LinkEstimate(5.9e6, 20.0, bandwidth_spread=0.182)
    goal = Goal("latency", 0.95, deadline_ms=80.0, power="saver")
    reason = decide(ALL, Situation(link=vague, vitals=hot), goal).reason
    assert "5.90 Mbit/s +-20 %, 20 ms round trip" in reason
    assert reason.endswith("; deadline 80 ms; hot; saver")


RESTS = {"local": 0.0, "b7": 80.0, "jpeg": 150.0}


def timely(spread: float, deadline_ms: float | None, pool: tuple[Candidate, ...] = ALL) -> str:
    """The choice at 3 Mbit/s, where `jpeg` takes 105 ms and `b7` 125 on a link that is certain."""
    seen = Situation(link=LinkEstimate(3e6, 20.0, bandwidth_spread=spread), rest_ms=RESTS)
    return decide(pool, seen, Goal("latency", 0.95, deadline_ms=deadline_ms)).candidate.id


def test_with_a_deadline_an_uncertain_link_is_not_bet_on() -> None:
    """Were `jpeg` late, the device could not finish it in time: it would need 160 ms."""
    assert timely(0.0, 130.0) == "jpeg"
    assert timely(0.6, 130.0) == "b7"
    assert timely(0.6, None) == "jpeg"


def test_of_two_risks_the_one_whose_rescue_is_in_time_is_taken() -> None:
    cheap = candidate("cheap", SYMBOLS, edge_ms=50, payload_bytes=16_000, cloud_ms=10)
    dear = candidate("dear", SYMBOLS, edge_ms=48, payload_bytes=16_000, cloud_ms=10)
    for spread, expected in ((0.0, "dear"), (0.6, "cheap")):
        seen = Situation(
            link=LinkEstimate(3e6, 20.0, bandwidth_spread=spread),
            rest_ms={"cheap": 40.0, "dear": 300.0},
            in_use=None,
        )
        goal = Goal("latency", 0.95, deadline_ms=150.0)
        assert decide((LOCAL, cheap, dear), seen, goal).candidate.id == expected


@pytest.mark.parametrize("deadline_ms", [50.0, 1.0, 0.0, -100.0])
def test_a_deadline_that_nothing_meets_leaves_the_fastest(deadline_ms: float) -> None:
    assert timely(0.0, deadline_ms) == timely(0.0, None) == "jpeg"


def weighed(mbps: float, vitals: Vitals) -> str:
    seen = Situation(link=link(mbps), vitals=vitals)
    return decide(ALL, seen, Goal("latency", 0.95)).candidate.id


def test_a_hot_or_crowded_device_is_spared() -> None:
    well = Vitals(load=0.3, temperature_c=45.0, battery_share=0.5)
    for mbps in (0.7, 1.1, 1.8, 50):
        assert weighed(mbps, Vitals()) == weighed(mbps, well)
    assert [weighed(mbps, Vitals()) for mbps in (0.6, 1.1)] == ["local", "b7"]
    for strained in (Vitals(temperature_c=85.0), Vitals(load=4.0)):
        assert [weighed(mbps, strained) for mbps in (0.6, 1.1)] == ["b7", "jpeg"]


def saved(mbps: float, deadline_ms: float | None = None) -> str:
    seen, goal = Situation(link=link(mbps)), Goal("latency", 0.95, deadline_ms, "saver")
    return decide(ALL, seen, goal).candidate.id


def test_a_saver_takes_what_costs_least_energy_and_is_in_time() -> None:
    """At 3 Mbit/s: `jpeg` 105 ms and 164 mJ, `b7` 125 ms and 111 mJ, `local` 160 ms and 149 mJ."""
    assert chosen(3) == "jpeg"
    assert saved(3) == saved(3, deadline_ms=140.0) == "b7"
    assert saved(3, deadline_ms=110.0) == "jpeg"


def test_a_saver_without_a_deadline_does_not_wait_for_ever() -> None:
    """Within twice the best latency energy decides, far beyond it does not."""
    cheap = candidate("cheap", SYMBOLS, edge_ms=2, payload_bytes=1_000, cloud_ms=15)
    goal = Goal("latency", 0.95, power="saver")
    for queue_ms, expected in ((200.0, "cheap"), (2_000.0, "local")):
        seen = Situation(link=link(3), queue_ms=queue_ms)
        assert decide((LOCAL, cheap), seen, goal).candidate.id == expected


def test_each_candidate_waits_for_its_own_answer() -> None:
    seen = Situation(link=link(1.0), answer_bytes=4_000, answers={"b7": 500})
    saved_ms = predict(PICTURE, seen).latency_ms - predict(SPLIT, seen).latency_ms
    more_ms = (22_000 - 5_000 + 4_000 - 500) * 8e-3 + (10 + 15) - (80 + 10)
    assert saved_ms == pytest.approx(more_ms)


@pytest.mark.parametrize(
    ("latency_ms", "period_ms", "service", "held", "frames"),
    [
        (200.0, 50.0, 64, 1_000, 5),  # Little's law: 4 fill the stages, and one to spare
        (200.0, 50.0, 3, 1_000, 3),  # the service allows no more
        (200.0, 50.0, 64, 40_000, 2),  # the device has room for no more
        (200.0, 50.0, 64, 10**9, 1),  # one is always allowed
        (20.0, 50.0, 64, 1_000, 2),
        (float("inf"), float("inf"), 64, 1_000, 2),
    ],
)
def test_the_window_is_what_link_service_and_memory_allow(
    latency_ms: float, period_ms: float, service: int, held: int, frames: int
) -> None:
    decision = Decision(SPLIT, Prediction(latency_ms, period_ms), "")
    assert window(decision.prediction.in_flight, service, held, max_held_bytes=100_000) == frames


LADDER = ladder("b5", (0.99, 0.97, 0.9, 0.96), (9_000, 5_000, 2_000, 1_000))


@pytest.mark.parametrize(
    ("floor", "rung"), [(0.0, 3), (0.8, 3), (0.9, 3), (0.95, 1), (0.98, 0), (0.995, 0)]
)
def test_a_ladder_stands_at_the_coarsest_rung_above_the_floor_or_at_its_finest(
    floor: float, rung: int
) -> None:
    assert LADDER.at_floor(floor).chosen == rung


def test_a_rung_counts_with_its_own_bytes_and_agreement() -> None:
    situation, goal = Situation(link=link(1.1)), Goal("latency", 0.95)
    finest, allowed = LADDER.at_floor(0.98), LADDER.at_floor(0.95)
    saved_ms = situation.link.transfer_ms(4_000) if situation.link else 0.0
    gained_ms = predict(finest, situation).latency_ms - predict(allowed, situation).latency_ms
    assert gained_ms == pytest.approx(saved_ms)
    assert decide((LOCAL, allowed), situation, goal).candidate is allowed
    assert decide((LOCAL, allowed), situation, Goal("latency", 0.98)).candidate is LOCAL


@given(
    mbps=st.floats(0.01, 1000),
    rtt_ms=st.floats(0, 500),
    objective=st.sampled_from(["latency", "throughput"]),
)
def test_the_choice_is_the_cheapest_by_its_own_prediction(
    mbps: float, rtt_ms: float, objective: Objective
) -> None:
    situation = Situation(link=link(mbps, rtt_ms))
    decision = decide(ALL, situation, Goal(objective, 0.95))
    key = "latency_ms" if objective == "latency" else "period_ms"
    costs = [getattr(predict(c, situation), key) for c in (LOCAL, SPLIT, PICTURE)]
    assert getattr(decision.prediction, key) == min(costs)


@given(st.lists(st.floats(0.05, 50), min_size=2, max_size=60))
def test_a_link_that_wobbles_by_one_percent_causes_no_switch(mbps: list[float]) -> None:
    """Whatever was chosen at a bandwidth stays chosen at almost the same bandwidth."""
    for now in mbps:
        first = chosen(now)
        for wobble in (0.99, 1.01):
            assert chosen(now * wobble, in_use=first) == first


def test_frames_that_the_link_still_carries_count_against_sending_more() -> None:
    """A link that is good, but busy for a second: the device is sooner."""
    link = LinkEstimate(bandwidth_bps=8e6, rtt_ms=20)
    goal = Goal("latency", agreement_floor=0.0)
    idle = decide([LOCAL, SPLIT], Situation(link=link), goal)
    busy = decide([LOCAL, SPLIT], Situation(link=link, backlog_bytes=1_000_000), goal)
    assert (idle.candidate.id, busy.candidate.id) == (SPLIT.id, LOCAL.id)
    assert idle.prediction.in_flight == predict(SPLIT, Situation(link=link)).in_flight
