"""The moving averages: what they learn, and what they do not notice."""

import pytest

from isthmus_bench.adapt.ewma import EwmaEstimator
from isthmus_edge.link import Estimator, LinkEstimate

CLOCKS_S = 1000.0  # the service's clock is ahead by this


class Link:
    """A first-in-first-out link of a known rate between a device's clock and a service's."""

    def __init__(self, bps: float, rtt_s: float) -> None:
        self.estimator: Estimator = EwmaEstimator()
        self.bps, self.rtt_s = bps, rtt_s
        self.now = 0.0

    def beat(self) -> None:
        self.now += 1.0
        beat = self.estimator.sent(50, self.now)
        received_s = self.now + self.rtt_s / 2 + CLOCKS_S
        self.estimator.heartbeat(beat, received_s, self.now + self.rtt_s)

    def frames(self, count: int, size_bytes: int = 10_000) -> None:
        """Back to back, each acknowledged before the next one is sent."""
        free_at = self.now
        for _ in range(count):
            message = self.estimator.sent(size_bytes, self.now)
            free_at = max(free_at, self.now) + size_bytes * 8 / self.bps
            self.estimator.received(message, free_at + self.rtt_s / 2 + CLOCKS_S)
            self.now += 0.5

    def estimate(self) -> LinkEstimate:
        found = self.estimator.estimate(self.now)
        assert found is not None
        return found


def test_a_steady_link_is_learned_whatever_the_clocks_say() -> None:
    link = Link(2e6, 0.04)
    link.beat()
    link.frames(5)
    assert link.estimate().bandwidth_bps == pytest.approx(2e6)
    assert link.estimate().rtt_ms == pytest.approx(40.0)


def test_it_believes_without_a_doubt() -> None:
    link = Link(2e6, 0.04)
    link.beat()
    link.frames(1)
    assert (link.estimate().bandwidth_spread, link.estimate().rtt_spread_ms) == (0.0, 0.0)


def test_nothing_is_believed_before_the_first_sample() -> None:
    link = Link(2e6, 0.04)
    assert link.estimator.estimate(0.0) is None
    link.beat()
    assert link.estimator.estimate(link.now) is None


def test_a_quarter_of_a_change_is_learned_with_each_frame() -> None:
    link = Link(4e6, 0.04)
    link.beat()
    link.frames(3)
    link.bps = 2e6
    link.frames(1)
    assert link.estimate().bandwidth_bps == pytest.approx(3.5e6)


def test_messages_behind_each_other_are_served_one_after_the_other() -> None:
    link = Link(1e6, 0.04)
    link.beat()
    link.frames(4, size_bytes=125_000)  # a second each, sent every half second
    assert link.estimate().bandwidth_bps == pytest.approx(1e6)


def test_silence_teaches_it_nothing_but_its_age() -> None:
    link = Link(2e6, 0.04)
    link.beat()
    link.frames(2)
    link.estimator.sent(10_000, link.now)
    link.now += 30
    assert link.estimate().bandwidth_bps == pytest.approx(2e6)
    assert link.estimate().age_s == pytest.approx(30.5)


def test_what_is_under_way_is_a_queue_until_it_is_lost() -> None:
    link = Link(1e6, 0.04)
    link.beat()
    link.frames(1)
    message = link.estimator.sent(125_000, link.now)
    assert link.estimator.backlog_s() == pytest.approx(1.0)
    assert link.estimator.queue_s(link.now + 0.25) == pytest.approx(0.75)
    link.estimator.lost(message)
    assert link.estimator.backlog_s() == link.estimator.queue_s(link.now) == 0.0


def test_another_connection_begins_with_no_belief() -> None:
    link = Link(1e6, 0.04)
    link.beat()
    link.frames(1)
    link.estimator.reset()
    assert link.estimator.estimate(link.now) is None
