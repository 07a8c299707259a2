"""Who is best where: the exact envelope against brute force over a grid of bandwidths."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_partitioner.planning.envelope import (
    FASTEST_BPS,
    SLOWEST_BPS,
    Curve,
    Line,
    Offer,
    Span,
    Spans,
    best_latency,
    best_period,
    latency_curve,
    lowest,
    period_curve,
    rate_words,
)

GRID_BPS = np.geomspace(SLOWEST_BPS, FASTEST_BPS, 49).tolist()
times = st.integers(0, 400).map(float)
sizes = st.integers(0, 200_000).map(float)
offers = st.lists(st.tuples(times, sizes, times), min_size=1, max_size=9).map(
    lambda rows: [Offer(str(i), *row) for i, row in enumerate(rows)]
)
lines = st.builds(Line, times, st.integers(0, 200).map(lambda kilobytes: kilobytes * 8e6))
bounds = st.sampled_from([0.0, 0.0, 2e4, 1e6, 7e7, 2e9])
curves = st.lists(
    st.builds(Curve, st.lists(lines, min_size=1, max_size=4).map(tuple), bounds),
    min_size=1,
    max_size=12,
).map(lambda known: {str(i): curve for i, curve in enumerate(known)})


def winner_at(spans: Spans, bandwidth_bps: float) -> list[str]:
    return [
        name
        for name, own in spans.items()
        if any(span.low_bps <= bandwidth_bps <= span.high_bps for span in own)
    ]


@pytest.mark.parametrize(
    ("envelope", "cost_ms"),
    [(best_latency, Offer.latency_ms), (best_period, Offer.period_ms)],
)
@settings(deadline=None)
@given(offers=offers)
def test_the_envelope_names_what_brute_force_finds(
    envelope: Callable[[list[Offer]], Spans],
    cost_ms: Callable[[Offer, float], float],
    offers: list[Offer],
) -> None:
    spans = envelope(offers)
    by_id = {offer.id: offer for offer in offers}
    for bandwidth_bps in GRID_BPS:
        least = min(cost_ms(offer, bandwidth_bps) for offer in offers)
        winners = winner_at(spans, bandwidth_bps)
        assert winners
        assert cost_ms(by_id[winners[0]], bandwidth_bps) == pytest.approx(least, rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(curves=curves)
def test_any_curves_are_compared_as_brute_force_does(curves: Mapping[str, Curve]) -> None:
    """Of several lines, and where some are no choice below a bandwidth."""
    low, high = 3e4, 5e8
    spans = lowest(curves, low, high)
    for bandwidth_bps in np.geomspace(low * 1.0001, high / 1.0001, 73).tolist():
        least = min(curve.at(bandwidth_bps) for curve in curves.values())
        winners = winner_at(spans, bandwidth_bps)
        assert bool(winners) == np.isfinite(least)
        for name in winners:
            near = curves[name].lines  # at an edge two share the bandwidth but for rounding
            cost = max(line.at(1 / bandwidth_bps) for line in near)
            assert cost == pytest.approx(least, rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(curves=curves)
def test_no_two_spans_overlap_and_neighbours_have_different_owners(
    curves: Mapping[str, Curve],
) -> None:
    owned = sorted(
        (span.low_bps, span.high_bps, name) for name, own in lowest(curves).items() for span in own
    )
    for low, high, _ in owned:
        assert SLOWEST_BPS <= low < high <= FASTEST_BPS
    for before, after in pairwise(owned):
        assert before[1] < after[0] or (before[1] == after[0] and before[2] != after[2])


@settings(deadline=None)
@given(offers=offers)
def test_the_spans_cover_all_bandwidths_once(offers: list[Offer]) -> None:
    for envelope in (best_latency, best_period):
        spans = sorted(
            (span.low_bps, span.high_bps) for own in envelope(offers).values() for span in own
        )
        assert spans[0][0] == SLOWEST_BPS
        assert spans[-1][1] == FASTEST_BPS
        assert all(before[1] == after[0] for before, after in pairwise(spans))


@settings(deadline=None)
@given(offers=offers, bandwidth_bps=st.sampled_from(GRID_BPS))
def test_the_curves_are_what_an_offer_says(offers: list[Offer], bandwidth_bps: float) -> None:
    for offer in offers:
        latency_ms, period_ms = offer.latency_ms(bandwidth_bps), offer.period_ms(bandwidth_bps)
        assert latency_curve(offer).at(bandwidth_bps) == pytest.approx(latency_ms)
        assert period_curve(offer).at(bandwidth_bps) == pytest.approx(period_ms)


def test_a_small_payload_wins_on_slow_links_and_a_fast_device_on_fast_ones() -> None:
    small = Offer("small", device_ms=100, payload_bytes=1_000, cloud_ms=0)
    large = Offer("large", device_ms=20, payload_bytes=11_000, cloud_ms=0)
    spans = best_latency([small, large])
    # 10 KB more take 80 ms at 1 Mbit/s
    assert spans["small"][0].high_bps == pytest.approx(1e6)
    assert spans["large"][0].low_bps == pytest.approx(1e6)


def test_what_is_worse_in_everything_is_nowhere_best() -> None:
    good, bad = Offer("good", 10, 100, 1), Offer("bad", 11, 101, 1)
    for envelope in (best_latency, best_period):
        assert set(envelope([good, bad])) == {"good"}


def test_a_tie_goes_to_fewer_bytes() -> None:
    """A device of 30 ms hides what its payloads take: both make as many frames a second."""
    large, small = Offer("large", 30, 2_000, 1), Offer("small", 30, 1_000, 1)
    assert set(best_period([large, small])) == {"small"}


def test_where_nothing_is_a_choice_nobody_is_named() -> None:
    late = Curve((Line(1.0, 0.0),), from_bps=1e6)
    assert lowest({"late": late}) == {"late": [Span(1e6, FASTEST_BPS)]}
    assert lowest({"late": Curve((Line(1.0, 0.0),), from_bps=2e9)}) == {}
    assert lowest({}) == {}


def test_a_round_trip_is_paid_by_what_uses_the_link() -> None:
    assert latency_curve(Offer("local", 5, 0, 0), rtt_ms=30).at(1e6) == 5
    assert latency_curve(Offer("cut", 5, 1_000, 2), rtt_ms=30).at(1e6) == 5 + 8 + 2 + 30


def test_an_answer_takes_its_way_back() -> None:
    offer = Offer("masks", device_ms=5, payload_bytes=1_000, cloud_ms=2, answer_bytes=5_000)
    assert latency_curve(offer).at(1e6) == offer.latency_ms(1e6) == 5 + 8 + 2 + 40
    assert period_curve(offer).at(1e6) == offer.period_ms(1e6) == 40  # both ways at once


def test_a_pipelined_stream_is_as_fast_as_its_slowest_stage() -> None:
    offer = Offer("x", device_ms=30, payload_bytes=10_000, cloud_ms=8)
    assert offer.period_ms(1e6) == pytest.approx(80)
    assert offer.period_ms(100e6) == 30
    assert offer.latency_ms(1e6) == pytest.approx(118)


def test_a_bandwidth_is_told_in_megabits() -> None:
    assert [rate_words(bps) for bps in (1e4, 2.13e6, 42e6, 1e9)] == [
        "0.01 Mbit/s",
        "2.1 Mbit/s",
        "42 Mbit/s",
        "1000 Mbit/s",
    ]
