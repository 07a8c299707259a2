"""The policy is a pure function: these tests are tables of situations."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import candidates

from isthmus import Candidate, Encoding, Picture, Symbols
from isthmus_edge import Goal, LinkEstimate, Objective, Situation, decide, predict

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
