"""A trace as the rate of a direction, against sums taken tenth by tenth."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isthmus_bench.relay.rates import ConstantRate, RateHistory, TraceRate
from isthmus_bench.traces import Trace

_START_S = 1000.0


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Up to six rows whose edges lie on tenths of a second, pauses among them."""
    lengths = draw(st.lists(st.integers(1, 20), min_size=1, max_size=6))
    rates = st.one_of(st.just(0.0), st.floats(0.01, 100.0))
    mbps = draw(st.lists(rates, min_size=len(lengths), max_size=len(lengths)))
    times_s = tuple(sum(lengths[:row]) / 10 for row in range(len(lengths)))
    return Trace("drawn", times_s, tuple(mbps), 0.0)


def _summed_bits(trace: Trace, start: int, end: int) -> float:
    """The integral between two tenths of a second after the start, by adding up tenths."""
    return math.fsum(trace.mbps_at(tenth / 10 + 0.05) * 1e5 for tenth in range(start, end))


@given(traces(), st.integers(0, 200), st.integers(0, 200))
def test_the_integral_is_the_sum_of_its_tenths(trace: Trace, start: int, length: int) -> None:
    rate = TraceRate(trace, _START_S)
    from_s, until_s = _START_S + start / 10, _START_S + (start + length) / 10
    summed = _summed_bits(trace, start, start + length)
    assert rate.bits_between(from_s, until_s) == pytest.approx(summed, rel=1e-6, abs=1.0)


@given(traces(), st.floats(0.0, 30.0), st.floats(8.0, 1e8))
@example(Trace("edge", (0.0, 1.0), (1.0, 0.0), 0.0), 0.0, 1e6)
@example(Trace("edge", (0.0, 1.0), (0.0, 1.0), 0.0), 0.5, 2e6)
def test_bytes_leave_when_the_integral_reaches_their_size_and_not_before(
    trace: Trace, after_s: float, bits: float
) -> None:
    rate = TraceRate(trace, _START_S)
    start_s = _START_S + after_s
    departure_s = rate.departure_s(start_s, bits)
    if not any(trace.mbps):
        assert departure_s == math.inf
        return
    assert departure_s > start_s
    slack_bits = 1e-6 * bits + 100.0  # a microsecond of 100 Mbit/s
    assert rate.bits_between(start_s, departure_s) == pytest.approx(bits, abs=slack_bits)
    earlier_s = max(start_s, departure_s - 1e-3)
    if rate.bps_at(earlier_s) > 0:
        assert rate.bits_between(start_s, earlier_s) < bits


def test_bytes_that_end_with_a_row_do_not_wait_for_the_pause_behind_it() -> None:
    rate = TraceRate(Trace("t", (0.0, 1.0), (1.0, 0.0), 0.0), 0.0)
    assert rate.departure_s(0.0, 1e6) == pytest.approx(1.0)
    assert rate.departure_s(4.0, 3e6) == pytest.approx(9.0)


def test_bytes_in_a_pause_wait_for_its_end() -> None:
    rate = TraceRate(Trace("t", (0.0, 1.0), (0.0, 8.0), 0.0), 10.0)
    assert rate.departure_s(10.2, 4e6) == pytest.approx(11.5)
    assert rate.departure_s(12.0, 4e6) == pytest.approx(13.5)


def test_a_trace_without_any_rate_passes_nothing_for_ever() -> None:
    rate = TraceRate(Trace("t", (0.0,), (0.0,), 0.0), 0.0)
    assert rate.departure_s(3.0, 8.0) == math.inf
    assert rate.bits_between(0.0, 1e6) == 0.0


@given(traces(), st.floats(0.0, 20.0), st.floats(8.0, 1e7), st.floats(8.0, 1e7))
def test_two_chunks_in_a_row_leave_when_one_of_their_joint_size_would(
    trace: Trace, after_s: float, one: float, two: float
) -> None:
    rate = TraceRate(trace, _START_S)
    between_s = rate.departure_s(_START_S + after_s, one)
    if math.isinf(between_s):
        return
    together_s = rate.departure_s(_START_S + after_s, one + two)
    apart_s = rate.departure_s(between_s, two)
    passed = rate.bits_between(min(apart_s, together_s), max(apart_s, together_s))
    assert passed <= 1e-6 * (one + two) + 100.0


@given(traces(), st.integers(0, 50), st.floats(8.0, 1e7))
def test_a_trace_takes_over_in_the_middle_of_a_chunk(
    trace: Trace, tenths: int, bits: float
) -> None:
    history = RateHistory(ConstantRate(1e5))
    at_s = tenths / 10
    history.change(at_s, TraceRate(trace, at_s))
    departure_s = history.departure_s(0.0, bits)
    if bits <= 1e5 * at_s:
        assert departure_s == pytest.approx(bits / 1e5)
    elif not any(trace.mbps):
        assert departure_s == math.inf
    else:
        expected_s = TraceRate(trace, at_s).departure_s(at_s, bits - 1e5 * at_s)
        assert departure_s == pytest.approx(expected_s)
