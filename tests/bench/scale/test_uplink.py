"""Bytes over a trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import ConfigError
from isthmus_bench.scale.simulation.turns import SimFrame, Turns
from isthmus_bench.scale.simulation.uplink import Road, Uplink
from isthmus_bench.traces import Trace

STEPS = Trace("steps", (0.0, 1.0, 2.0), (1.0, 0.0, 4.0), 40.0)  # 5 Mbit in a round of 3 s


@pytest.mark.parametrize(
    ("start_s", "mbit", "end_s"),
    [
        (0.0, 0.5, 0.5),
        (0.5, 0.5, 1.0),
        (0.5, 0.9, 2.1),
        (1.5, 0.4, 2.1),
        (2.5, 2.0, 3.0),
        (2.5, 3.0, 4.0),
        (0.0, 5.0, 3.0),
        (0.5, 10.0, 6.5),
        (4.2, 0.0, 4.0),
    ],
)
def test_bits_pass_as_the_trace_lets_them(start_s: float, mbit: float, end_s: float) -> None:
    assert Road(STEPS).passed_at(start_s, mbit * 1e6) == pytest.approx(end_s)


@given(st.floats(0, 50), st.floats(1, 3e7))
def test_what_passes_meanwhile_is_what_was_sent(start_s: float, bits: float) -> None:
    end_s = Road(STEPS).passed_at(start_s, bits)
    steps = 2000
    width_s = (end_s - start_s) / steps
    passed = sum(STEPS.mbps_at(start_s + (i + 0.5) * width_s) for i in range(steps)) * width_s * 1e6
    assert passed == pytest.approx(bits, rel=0.02, abs=4e6 * width_s * 3)


def test_a_frame_waits_for_those_before_it_and_half_a_round_trip() -> None:
    link = Uplink(Road(STEPS), offset_s=0.0)
    assert link.arrives_at(0.0, 62_500) == pytest.approx(0.52)
    assert link.arrives_at(0.1, 62_500) == pytest.approx(1.02)
    assert link.arrives_at(2.5, 50_000) == pytest.approx(2.62)


def test_a_link_may_begin_anywhere_in_its_trace() -> None:
    assert Uplink(Road(STEPS), offset_s=1.5).arrives_at(0.0, 50_000) == pytest.approx(0.62)


def test_a_trace_on_which_nothing_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing ever passes"):
        Road(Trace("dead", (0.0,), (0.0,), 40.0))


def frame(device: int, arrived_s: float) -> SimFrame:
    return SimFrame(device, arrived_s, counts=True, arrived_s=arrived_s)


def test_who_was_served_longest_ago_is_first_and_nobody_goes_twice_before_others() -> None:
    turns = Turns()
    for device, at_s in ((1, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (1, 0.4)):
        turns.add(frame(device, at_s))
    assert [(each.device, each.arrived_s) for each in turns.take(4)] == [
        (1, 0.0),
        (2, 0.2),
        (3, 0.3),
        (1, 0.1),
    ]
    turns.add(frame(4, 0.5))
    turns.add(frame(2, 0.6))
    assert len(turns) == 3
    assert [each.device for each in turns.take(9)] == [4, 1, 2]
    assert (len(turns), turns.take(1)) == (0, [])
