"""Stalls, clocks that are set, and peers that lie."""

import math

import pytest
from tests.edge.link.synthetic import Jump, Play, Scene, constant

from isthmus_edge import LinkEstimate, LinkEstimator

HOURS_S = 3 * 3600.0
BAD_STAMPS = [math.nan, math.inf, -math.inf, 1e300, -1e300, -5.0, 0.0]


def is_sane(estimate: LinkEstimate) -> bool:
    figures = (
        estimate.bandwidth_bps,
        estimate.rtt_ms,
        estimate.bandwidth_spread,
        estimate.rtt_spread_ms,
        estimate.age_s,
    )
    return (
        all(map(math.isfinite, figures)) and 1 < estimate.bandwidth_bps < 1e12 and min(figures) >= 0
    )


def believed(play: Play, until: float) -> LinkEstimate:
    play.run(until)
    estimate = play.estimator.estimate(play.device_s)
    assert estimate is not None
    return estimate


def test_a_link_that_falls_silent_is_doubted_at_once_and_not_believed_after_half_a_second() -> None:
    play = Play(constant(10), Scene(held_back=(10.0, 15.0)))
    assert believed(play, 10.0).bandwidth_bps == pytest.approx(10e6, rel=0.1)
    assert believed(play, 10.3).bandwidth_spread > 1.0
    assert believed(play, 10.5).bandwidth_bps < 1e6
    assert believed(play, 14.0).bandwidth_bps < 0.1e6


@pytest.mark.parametrize("window", [6, 100])
def test_what_a_stall_lets_loose_at_once_is_neither_a_fast_link_nor_a_slow_one(window: int) -> None:
    play = Play(constant(10), Scene(held_back=(10.0, 15.0), window=window))
    play.run(15.05)
    for look in play.looks(18, 0.05):
        assert look.believed.bandwidth_bps < 15e6
        if look.at > 15.5:
            assert look.believed.bandwidth_bps > 7e6


@pytest.mark.parametrize("by_s", [HOURS_S, -HOURS_S, 5.0, -5.0, 0.3, -0.3])
@pytest.mark.parametrize("whose", ["service", "device"])
def test_a_clock_that_is_set_costs_a_second_at_most(whose: str, by_s: float) -> None:
    jump = Jump(10.03, by_s)
    scene = Scene(service_jump=jump) if whose == "service" else Scene(device_jump=jump)
    play = Play(constant(10), scene)
    looks = list(play.looks(20, 0.05))
    assert all(is_sane(x.believed) for x in looks)
    after = [x.believed for x in looks if x.at > 11.1]
    assert min(x.bandwidth_bps for x in after) > 7e6
    assert max(x.bandwidth_bps for x in after) < 14e6
    assert max(x.rtt_ms for x in after) < 50


@pytest.mark.parametrize("stamp", BAD_STAMPS)
def test_a_stamp_that_cannot_be_changes_nothing(stamp: float) -> None:
    play = Play(constant(10), Scene())
    play.run(10)
    for _ in range(5):
        message = play.estimator.sent(10_000, play.device_s)
        play.estimator.received(message, stamp, stamp)
        beat = play.estimator.sent(20, play.device_s)
        play.estimator.heartbeat(beat, stamp, play.device_s + 0.04, stamp)
        estimate = play.estimator.estimate(play.device_s)
        assert estimate is not None
        assert is_sane(estimate)
    assert believed(play, 14).bandwidth_bps == pytest.approx(10e6, rel=0.2)
    assert believed(play, 15).rtt_ms == pytest.approx(41, abs=5)


def test_a_service_that_claims_to_have_held_a_heartbeat_for_ever_makes_no_negative_trip() -> None:
    estimator = LinkEstimator()
    beat = estimator.sent(20, 5.0)
    estimator.heartbeat(beat, 100.0, 5.04, held_s=1e9)
    frame = estimator.sent(10_000, 5.1)
    estimator.received(frame, 100.2, 0.01)
    estimate = estimator.estimate(5.2)
    assert estimate is not None
    assert is_sane(estimate)


def test_what_the_service_held_a_heartbeat_for_is_no_round_trip() -> None:
    estimator, now = LinkEstimator(), 5.0
    for _ in range(4):
        beat = estimator.sent(20, now)
        estimator.heartbeat(beat, now + 900.02, now + 0.54, held_s=0.5)
        now += 1.0
    frame = estimator.sent(10_000, now)
    estimator.received(frame, now + 900.03, 0.02)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.rtt_ms == pytest.approx(40, abs=1)


def test_a_busy_service_is_not_a_slow_link() -> None:
    play = Play(constant(10), Scene(answer_s=(0.3, 0.6), window=20))
    looks = [x.believed for x in play.looks(12) if x.believed and x.at > 4]
    assert min(x.bandwidth_bps for x in looks) > 8e6
    assert max(x.rtt_ms for x in looks) < 50


def test_tiny_messages_alone_leave_doubt_and_large_ones_leave_little() -> None:
    tiny = believed(Play(constant(10), Scene(frame_bytes=(100, 300))), 12)
    large = believed(Play(constant(10), Scene(frame_bytes=(200_000, 400_000), window=3)), 12)
    assert is_sane(tiny)
    assert tiny.bandwidth_spread > 0.5
    assert large.bandwidth_spread < 0.1
    assert large.bandwidth_bps == pytest.approx(10e6, rel=0.05)


def test_thousands_of_messages_without_an_answer_are_borne() -> None:
    play = Play(constant(10), Scene())
    play.run(5)
    for _ in range(3000):
        play.estimator.sent(10_000, play.device_s)
    estimate = play.estimator.estimate(play.device_s + 3)
    assert estimate is not None
    assert is_sane(estimate)
    assert play.estimator.backlog_s() < 600 * 10_000 * 8 / 9e6


def test_one_frame_in_ten_times_its_time_moves_the_belief_little() -> None:
    play = Play(constant(10), Scene(silent_from=10.0))
    before = believed(play, 11.0).bandwidth_bps
    now = play.device_s
    message = play.estimator.sent(12_000, now)
    play.estimator.received(message, now - 1000 + 4711 + 0.02 + 0.1, 0.03)
    after = play.estimator.estimate(now + 0.2)
    assert after is not None
    assert after.bandwidth_bps > 0.6 * before
