"""The estimator message by message, on links without surprises."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_edge import LinkEstimator

CLOCK_DIFFERENCE_S = 4711.0  # the service's clock has nothing to do with the device's


class SyntheticLink:
    """A first-in-first-out link of known rate and delay, and a service with a clock of its own."""

    def __init__(self, bandwidth_bps: float, rtt_s: float, jitter_s: float = 0.0) -> None:
        self.bandwidth_bps = bandwidth_bps
        self.rtt_s = rtt_s
        self._jitter = random.Random(1)
        self._jitter_s = jitter_s
        self._free_at = 0.0

    def carry(self, size_bytes: int, sent_at: float) -> tuple[float, float]:
        """(service clock at arrival, device clock when an immediate echo is back)."""
        self._free_at = max(self._free_at, sent_at) + size_bytes * 8 / self.bandwidth_bps
        arrived = self._free_at + self.rtt_s / 2 + self._jitter.uniform(0, self._jitter_s)
        return arrived + CLOCK_DIFFERENCE_S, arrived + self.rtt_s / 2


def warmed(link: SyntheticLink) -> tuple[LinkEstimator, float]:
    estimator, now = LinkEstimator(), 100.0
    for _ in range(3):
        message = estimator.sent(20, now)
        received_s, now = link.carry(20, now)
        estimator.heartbeat(message, received_s, now)
    return estimator, now


def one_at_a_time(
    estimator: LinkEstimator, link: SyntheticLink, sizes: list[int], now: float
) -> float:
    for size in sizes:
        message = estimator.sent(size, now)
        received_s, now = link.carry(size, now)
        now += 0.03  # what the service needs does not count
        estimator.received(message, received_s, 0.03)
    return now


def all_at_once(
    estimator: LinkEstimator, link: SyntheticLink, sizes: list[int], now: float
) -> float:
    sent = [(estimator.sent(size, now), *link.carry(size, now)) for size in sizes]
    for message, received_s, back_at in sent:
        estimator.received(message, received_s, 0.03)
        now = max(now, back_at)
    return now


LINKS = [(m * 1e6, rtt / 1e3) for m in (0.2, 1.1, 5.85, 18.88, 100) for rtt in (1, 40, 200)]


@pytest.mark.parametrize(("bandwidth_bps", "rtt_s"), LINKS)
@pytest.mark.parametrize("send", [one_at_a_time, all_at_once])
def test_bandwidth_and_round_trip_are_found_on_any_link(
    send: object, bandwidth_bps: float, rtt_s: float
) -> None:
    link = SyntheticLink(bandwidth_bps, rtt_s)
    estimator, now = warmed(link)
    now = send(estimator, link, [22_000] * 6, now)  # type: ignore[operator]
    estimate = estimator.estimate(now)
    assert estimate is not None
    # At 100 Mbit/s a frame takes 1.8 ms, and time stamps are not trusted to less than 0.5 ms.
    close = 0.02 if bandwidth_bps < 50e6 else 0.1
    assert estimate.bandwidth_bps == pytest.approx(bandwidth_bps, rel=close)
    assert estimate.bandwidth_spread > 0.01
    assert estimate.rtt_ms == pytest.approx(rtt_s * 1e3 + 20 * 8e3 / bandwidth_bps, abs=0.1)


@given(seed=st.integers(0, 1000), mbps=st.floats(0.2, 20))
def test_jitter_of_a_few_milliseconds_leaves_the_estimate_within_a_quarter(
    seed: int, mbps: float
) -> None:
    link = SyntheticLink(mbps * 1e6, 0.04, jitter_s=0.002)
    estimator, now = warmed(link)
    sizes = [random.Random(seed).randint(20_000, 40_000) for _ in range(12)]
    now = one_at_a_time(estimator, link, sizes, now)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.bandwidth_bps == pytest.approx(mbps * 1e6, rel=0.25)


@pytest.mark.parametrize("after_mbps", [0.2, 1.1, 50])
def test_a_changed_link_is_believed_after_three_frames(after_mbps: float) -> None:
    """Frames of 40 KB: the change is far beyond what a busy machine does to a time stamp."""
    link = SyntheticLink(10e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [40_000] * 12, now)
    link.bandwidth_bps = after_mbps * 1e6
    now = one_at_a_time(estimator, link, [40_000] * 3, now)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.bandwidth_bps == pytest.approx(after_mbps * 1e6, rel=0.05)


def test_one_odd_frame_does_not_overturn_the_belief() -> None:
    link = SyntheticLink(10e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [10_000] * 10, now)
    link.bandwidth_bps = 2e6
    now = one_at_a_time(estimator, link, [10_000], now)
    link.bandwidth_bps = 10e6
    now = one_at_a_time(estimator, link, [10_000], now)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.bandwidth_bps > 6e6


def test_a_frame_that_does_not_arrive_lowers_the_belief_while_it_is_out() -> None:
    link = SyntheticLink(20e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [20_000] * 6, now)
    message = estimator.sent(20_000, now)
    before, after = estimator.estimate(now), estimator.estimate(now + 1.0)
    assert before is not None
    assert after is not None
    assert before.bandwidth_bps == pytest.approx(20e6, rel=0.05)
    assert after.bandwidth_bps < 0.25e6
    estimator.lost(message)
    again = estimator.estimate(now + 1.0)
    assert again is not None
    assert again.bandwidth_bps == pytest.approx(20e6, rel=0.05)


def test_a_heartbeat_that_is_answered_before_an_older_frame_changes_nothing() -> None:
    """A frame is acknowledged by its answer, a heartbeat at once: the order is put right."""
    link = SyntheticLink(5e6, 0.04)
    estimator, now = warmed(link)
    for _ in range(6):
        frame, beat = estimator.sent(20_000, now), estimator.sent(20, now)
        frame_received_s, _ = link.carry(20_000, now)
        beat_received_s, now = link.carry(20, now)
        estimator.heartbeat(beat, beat_received_s, now)
        estimator.received(frame, frame_received_s, 0.05)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.bandwidth_bps == pytest.approx(5e6, rel=0.01)


def test_a_cloud_that_takes_its_time_does_not_make_the_link_look_slow() -> None:
    link = SyntheticLink(20e6, 0.04)
    estimator, now = warmed(link)
    for _ in range(4):
        message = estimator.sent(20_000, now)
        received_s, now = link.carry(20_000, now)
        estimator.received(message, received_s, 0.5)
        now += 0.5
    estimator.sent(20_000, now)
    estimate = estimator.estimate(now + 0.5)
    assert estimate is not None
    assert estimate.bandwidth_bps == pytest.approx(20e6, rel=0.05)


def test_one_frame_that_is_never_answered_does_not_stop_the_learning() -> None:
    link = SyntheticLink(10e6, 0.04)
    estimator, now = warmed(link)
    estimator.sent(10_000, now)
    link.carry(10_000, now)
    now = one_at_a_time(estimator, link, [20_000] * 80, now)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.bandwidth_bps == pytest.approx(10e6, rel=0.05)


def test_a_longer_route_is_told_from_a_slower_link_after_three_idle_heartbeats() -> None:
    link = SyntheticLink(10e6, 0.02)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [20_000] * 6, now)
    link.rtt_s = 0.1
    for _ in range(3):
        beat = estimator.sent(20, now)
        received_s, now = link.carry(20, now)
        estimator.heartbeat(beat, received_s, now)
    now = one_at_a_time(estimator, link, [20_000] * 6, now)
    estimate = estimator.estimate(now)
    assert estimate is not None
    assert estimate.rtt_ms == pytest.approx(100, abs=1)
    assert estimate.bandwidth_bps == pytest.approx(10e6, rel=0.05)


def test_nothing_is_believed_before_the_first_measurement_or_after_a_reset() -> None:
    link = SyntheticLink(5e6, 0.04)
    estimator, now = warmed(link)
    assert estimator.estimate(now) is None
    now = one_at_a_time(estimator, link, [8_000], now)
    assert estimator.estimate(now) is not None
    estimator.reset()
    assert estimator.estimate(now) is None


def test_an_answer_to_a_message_nobody_sent_is_ignored() -> None:
    estimator, now = warmed(SyntheticLink(5e6, 0.04))
    estimator.received(999, now)
    estimator.heartbeat(999, now, now)
    assert estimator.estimate(now) is None


def test_the_link_is_free_when_what_was_sent_has_left_it() -> None:
    link = SyntheticLink(1e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [10_000] * 4, now)
    assert estimator.queue_s(now) == 0.0
    second_of_link = 125_000
    for _ in range(2):
        estimator.sent(second_of_link, now)
    assert estimator.queue_s(now) == pytest.approx(2.0, rel=0.02)
    assert estimator.queue_s(now + 0.5) == pytest.approx(1.5, rel=0.02)
    assert estimator.queue_s(now + 0.9) == pytest.approx(1.1, rel=0.02)


def test_the_link_is_free_again_before_an_acknowledgement_can_be_back() -> None:
    link = SyntheticLink(1e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [10_000] * 4, now)
    estimator.sent(10_000, now)
    assert estimator.queue_s(now + 0.1) == 0.0


def test_what_should_have_left_the_link_and_is_not_acknowledged_is_still_in_the_way() -> None:
    link = SyntheticLink(1e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [10_000] * 4, now)
    estimator.sent(10_000, now)
    assert estimator.queue_s(now + 5.0) > 1.0


def test_what_was_acknowledged_has_left_the_link_whatever_its_time_stamp_says() -> None:
    link = SyntheticLink(1e6, 0.04)
    estimator, now = warmed(link)
    now = one_at_a_time(estimator, link, [10_000] * 4, now)
    message = estimator.sent(10_000, now)
    received_s, now = link.carry(10_000, now)
    estimator.received(message, received_s + 3.0)
    assert estimator.queue_s(now) == 0.0


def test_nothing_is_said_of_a_link_that_was_never_measured() -> None:
    estimator = LinkEstimator()
    estimator.sent(100_000, 1.0)
    assert estimator.queue_s(1.0) == 0.0
