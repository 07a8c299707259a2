"""The arithmetic of the emulated link, without a clock."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigError
from isthmus_bench.relay.rates import ConstantRate, RateHistory, arrival_s, chunk_bytes
from isthmus_bench.relay.shape import LinkShape

_RATES = st.one_of(st.just(0.0), st.floats(1e4, 1e9), st.just(math.inf))
_CHANGES = st.lists(st.tuples(st.floats(0.001, 5.0), _RATES), max_size=6)
_BITS = st.floats(8.0, 1e7)
_STARTS = st.floats(0.0, 20.0)


def _history(first_bps: float, changes: list[tuple[float, float]]) -> RateHistory:
    history = RateHistory(ConstantRate(first_bps))
    at_s = 0.0
    for wait_s, bps in changes:
        at_s += wait_s
        history.change(at_s, ConstantRate(bps))
    return history


@given(st.floats(1e4, 1e9), _STARTS, _BITS)
def test_at_a_constant_rate_bytes_take_size_over_rate(
    bps: float, start_s: float, bits: float
) -> None:
    history = RateHistory(ConstantRate(bps))
    assert history.departure_s(start_s, bits) == pytest.approx(start_s + bits / bps)


@given(_RATES, _CHANGES, _STARTS, _BITS)
def test_bytes_have_left_when_the_integral_of_the_rate_reaches_their_size(
    first_bps: float, changes: list[tuple[float, float]], start_s: float, bits: float
) -> None:
    history = _history(first_bps, changes)
    departure_s = history.departure_s(start_s, bits)
    if math.isinf(departure_s):
        assert history.bits_between(start_s, 1e6) < bits
        return
    assert departure_s >= start_s
    before_s = departure_s - 1e-6
    if before_s > start_s:
        assert history.bits_between(start_s, before_s) < bits * (1 + 1e-6)
    assert history.bits_between(start_s, departure_s + 1e-6) >= bits * (1 - 1e-6)


@given(_RATES, _CHANGES, _STARTS, _BITS, _BITS)
def test_two_chunks_in_a_row_leave_when_one_of_their_joint_size_would(
    first_bps: float, changes: list[tuple[float, float]], start_s: float, one: float, two: float
) -> None:
    history = _history(first_bps, changes)
    between_s = history.departure_s(start_s, one)
    together_s = history.departure_s(start_s, one + two)
    if math.isinf(between_s):
        assert math.isinf(together_s)
        return
    apart_s = history.departure_s(between_s, two)
    # A joint that falls on the first instant of a pause may leave its last bit on either side.
    if history.bps_at(between_s) > 0:
        assert apart_s == pytest.approx(together_s, rel=1e-6, abs=1e-6)
    assert apart_s >= between_s


@given(_RATES, _CHANGES, _STARTS, _BITS, _RATES)
def test_a_change_does_not_touch_what_has_already_left(
    first_bps: float, changes: list[tuple[float, float]], start_s: float, bits: float, bps: float
) -> None:
    history = _history(first_bps, changes)
    departure_s = history.departure_s(start_s, bits)
    later_s = 31.0 + (0.0 if math.isinf(departure_s) else departure_s)
    history.change(later_s, ConstantRate(bps))
    if math.isfinite(departure_s):
        assert history.departure_s(start_s, bits) == departure_s
    else:
        assert history.departure_s(start_s, bits) >= later_s


@given(st.floats(1e4, 1e8), st.floats(0.1, 30.0))
def test_bytes_caught_half_way_by_a_black_hole_need_only_the_other_half_afterwards(
    bps: float, pause_s: float
) -> None:
    history = RateHistory(ConstantRate(bps))
    history.change(1.0, ConstantRate(0.0))
    assert math.isinf(history.departure_s(0.0, 2 * bps))
    history.change(1.0 + pause_s, ConstantRate(bps))
    assert history.departure_s(0.0, 2 * bps) == pytest.approx(2.0 + pause_s)


def test_an_unshaped_link_takes_no_time_and_a_black_hole_for_ever() -> None:
    assert RateHistory(ConstantRate(math.inf)).departure_s(3.0, 1e9) == 3.0
    assert math.isinf(RateHistory(ConstantRate(0.0)).departure_s(3.0, 8.0))


def test_the_rate_at_the_moment_of_a_change_is_the_new_one() -> None:
    history = _history(1e6, [(2.0, 5e6)])
    assert [history.bps_at(at_s) for at_s in (0.0, 1.999, 2.0, 9.0)] == [1e6, 1e6, 5e6, 5e6]


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_credit_for_a_late_timer_is_bounded_and_never_reaches_into_the_future(
    read_s: float, waiting_since_s: float
) -> None:
    arrived_s = arrival_s(read_s, waiting_since_s)
    assert read_s - 0.100001 <= arrived_s <= read_s
    if read_s - 0.1 <= waiting_since_s <= read_s:
        assert arrived_s == waiting_since_s


def test_a_chunk_that_had_to_be_waited_for_gets_no_credit() -> None:
    assert arrival_s(7.0, None) == 7.0


@pytest.mark.parametrize(
    ("bps", "expected"), [(0.0, 1448), (2e5, 1448), (2e7, 5000), (2e8, 50000), (math.inf, 65536)]
)
def test_a_chunk_is_about_two_milliseconds_of_link_time(bps: float, expected: int) -> None:
    assert chunk_bytes(bps) == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"uplink_bps": -1.0}, "uplink_bps is -1.0"),
        ({"downlink_bps": math.nan}, "downlink_bps is nan"),
        ({"rtt_ms": -1.0}, "rtt_ms is -1.0"),
        ({"rtt_ms": math.inf}, "rtt_ms is inf"),
    ],
)
def test_an_impossible_shape_is_refused_by_name(fields: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LinkShape(**fields)  # type: ignore[arg-type]


def test_a_shape_is_unshaped_until_told_otherwise() -> None:
    assert LinkShape() == LinkShape(uplink_bps=math.inf, downlink_bps=math.inf, rtt_ms=0.0)
    assert LinkShape.symmetric(1.5, 40.0) == LinkShape(
        uplink_bps=1.5e6, downlink_bps=1.5e6, rtt_ms=40.0
    )
