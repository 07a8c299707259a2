"""When an answer counts as late: soon, but seldom without reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import candidates
from tests.edge.policy.situations import SYMBOLS

from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import Prediction, Situation, patience_ms, predict
from isthmus_edge.policy.forecast import LEAST_PATIENCE_MS, MOST_PATIENCE_MS

SPLIT = candidates.candidate(
    "b7", candidates.rung(SYMBOLS, edge_ms=50, payload_bytes=6_000, cloud_ms=20), kept=True
)


def situation(
    mbps: float = 6.0,
    spread: float = 0.0,
    rtt_ms: float = 50.0,
    rtt_spread_ms: float = 0.0,
    cloud_spread_ms: float = 0.0,
) -> Situation:
    return Situation(
        link=LinkEstimate(mbps * 1e6, rtt_ms, spread, rtt_spread_ms),
        answer_bytes=400,
        cloud_spread_ms={"b7": cloud_spread_ms},
    )


@settings(deadline=None, max_examples=40)
@given(
    mbps=st.floats(0.05, 50),
    spread=st.floats(0, 0.8),
    rtt_spread_ms=st.floats(0, 40),
    cloud_spread_ms=st.floats(0, 40),
    ahead_bytes=st.just(0.0) | st.floats(0, 50_000),
    seed=st.integers(0, 1_000),
)
def test_on_a_healthy_link_less_than_one_in_fifty_answers_counts_as_late(
    mbps: float,
    spread: float,
    rtt_spread_ms: float,
    cloud_spread_ms: float,
    ahead_bytes: float,
    seed: int,
) -> None:
    """Answers of links drawn from the belief itself, each part independent of the others."""
    seen = situation(mbps, spread, 120.0, rtt_spread_ms, cloud_spread_ms)
    patience = patience_ms(predict(SPLIT, seen), ahead_bytes)
    z = np.random.default_rng(seed).standard_normal((3, 20_000))
    bits = (ahead_bytes + 6_000 + 400 + 2 * 160) * 8e-3
    took_ms = (
        bits / (mbps * np.exp(spread * z[0]))
        + np.maximum(120.0 + rtt_spread_ms * z[1], 0.0)
        + np.maximum(20.0 + cloud_spread_ms * z[2], 0.0)
    )
    assert np.mean(took_ms > patience + 1e-6) < 0.02 or patience == MOST_PATIENCE_MS


def test_a_certain_link_is_given_hardly_more_than_it_needs() -> None:
    slow = situation(mbps=0.1)
    wait_ms = predict(SPLIT, slow).latency_ms - 50
    assert patience_ms(predict(SPLIT, slow), ahead_bytes=0.0) == pytest.approx(wait_ms)


def test_uncertainty_and_frames_ahead_earn_patience() -> None:
    certain, vague = predict(SPLIT, situation(0.1)), predict(SPLIT, situation(0.1, spread=0.5))
    assert patience_ms(certain, 0.0) < patience_ms(vague, 0.0)
    ahead_bytes = 2_000
    certain_ms, vague_ms = (
        patience_ms(p, ahead_bytes) - patience_ms(p, 0.0) for p in (certain, vague)
    )
    assert certain_ms == pytest.approx(160.0)
    assert vague_ms > 2 * certain_ms, "on the same slow link"
    full_window_ms = 2 * vague.late_period_ms
    assert patience_ms(vague) == pytest.approx(patience_ms(vague, 0.0) + full_window_ms)


@settings(deadline=None)
@given(mbps=st.floats(0.001, 1_000), spread=st.floats(0, 5), ahead=st.none() | st.floats(0, 1e6))
def test_patience_has_a_least_and_a_most(mbps: float, spread: float, ahead: float | None) -> None:
    prediction = predict(SPLIT, situation(mbps, spread))
    found = patience_ms(prediction, ahead)
    assert LEAST_PATIENCE_MS <= found <= max(MOST_PATIENCE_MS, 3 * prediction.latency_ms)


def test_what_is_not_sent_is_not_waited_for() -> None:
    assert patience_ms(Prediction(100.0, 100.0)) == LEAST_PATIENCE_MS
