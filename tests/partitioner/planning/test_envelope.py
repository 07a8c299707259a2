"""Who is best where: the exact envelope against brute force over a grid of bandwidths."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_partitioner.planning.envelope import (
    FASTEST_BPS,
    SLOWEST_BPS,
    Offer,
    Spans,
    best_latency,
    best_period,
)

GRID_BPS = np.geomspace(SLOWEST_BPS, FASTEST_BPS, 97)
times = st.integers(0, 400).map(float)
sizes = st.integers(0, 200_000).map(float)
offers = st.lists(st.tuples(times, sizes, times), min_size=1, max_size=9).map(
    lambda rows: [Offer(str(i), *row) for i, row in enumerate(rows)]
)


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


@given(offers=offers)
def test_the_spans_cover_all_bandwidths_once(offers: list[Offer]) -> None:
    spans = sorted(
        (span.low_bps, span.high_bps) for own in best_latency(offers).values() for span in own
    )
    assert spans[0][0] == SLOWEST_BPS
    assert spans[-1][1] == FASTEST_BPS
    assert all(before[1] == after[0] for before, after in pairwise(spans))


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


def test_a_pipelined_stream_is_as_fast_as_its_slowest_stage() -> None:
    offer = Offer("x", device_ms=30, payload_bytes=10_000, cloud_ms=8)
    assert offer.period_ms(1e6) == pytest.approx(80)
    assert offer.period_ms(100e6) == 30
    assert offer.latency_ms(1e6) == pytest.approx(118)
