"""What the service tells of its load."""

import pytest

from isthmus_cloud.load import LoadGauge


def test_an_idle_service_lets_nobody_wait() -> None:
    gauge = LoadGauge(workers=1)
    gauge.learn(10)
    assert (gauge.waiting, gauge.queue_ms) == (0, 0)


def test_each_frame_ahead_costs_one_turn() -> None:
    gauge = LoadGauge(workers=1)
    gauge.learn(10)
    with gauge.frame():
        assert (gauge.waiting, gauge.queue_ms) == (0, 10)
        with gauge.frame(), gauge.frame():
            assert (gauge.waiting, gauge.queue_ms) == (2, 30)
    assert (gauge.waiting, gauge.queue_ms) == (0, 0)


def test_workers_share_the_turns() -> None:
    gauge = LoadGauge(workers=2)
    gauge.learn(10)
    with gauge.frame():
        assert gauge.queue_ms == 0
        with gauge.frame(), gauge.frame():
            assert (gauge.waiting, gauge.queue_ms) == (1, 10)


def test_a_frame_that_was_given_up_counts_no_more() -> None:
    gauge = LoadGauge(workers=1)
    with pytest.raises(KeyError), gauge.frame():
        raise KeyError
    gauge.learn(10)
    assert gauge.queue_ms == 0


def test_later_frames_move_the_estimate() -> None:
    gauge = LoadGauge(workers=1)
    for _ in range(50):
        gauge.learn(10)
    gauge.learn(20)
    with gauge.frame():
        assert 10 < gauge.queue_ms < 20
