"""Four costs of an answer, counted by hand, and exact envelopes of each."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_partitioner.planning.envelope import FASTEST_BPS, SLOWEST_BPS, Offer, lowest
from isthmus_partitioner.planning.objectives import OBJECTIVES, Objective
from isthmus_partitioner.planning.prices import CloudPrices, DevicePower, Prices

PRICES = Prices(
    device=DevicePower(
        active_w=4.0, idle_w=2.0, radio_w=1.0, radio_j_per_mb=5.0, radio_answer_j_per_mb=0.5
    ),
    cloud=CloudPrices(
        machine_per_hour=3.6, software_per_hour=0.36, network_per_gb=10.0, answers_per_gb=90.0
    ),
)
# On 1 Mbit/s 80 ms up and 16 ms back
CUT = Offer("cut", device_ms=50, payload_bytes=10_000, cloud_ms=8, answer_bytes=2_000)
LOCAL = Offer("local", device_ms=150, payload_bytes=0, cloud_ms=0)
OBJECTIVE_NAMES = get_args(Objective)


@pytest.mark.parametrize(
    ("objective", "cut", "local"),
    [
        ("latency", 50 + 80 + 8 + 16 + 30, 150),
        ("throughput", 80, 150),
        # 4 W computing; 2 W waiting for cloud and round trip; 3 W on the link; 5 J a megabyte sent
        ("edge-energy", 4 * 50 + 2 * (8 + 30) + 3 * (80 + 16) + 50 + 1, 600),
        # 1,000 times 8 ms at 3.96 an hour, 10 MB at 0.01 each and 2 MB at 0.09
        ("cloud-cost", 8 / 3600 * 3.96 + 0.1 + 0.18, 0),
    ],
)
def test_costs_are_what_one_counts_by_hand(objective: Objective, cut: float, local: float) -> None:
    cost = OBJECTIVES[objective].cost
    assert cost(CUT, 1e6, 30.0, PRICES) == pytest.approx(cut)
    assert cost(LOCAL, 1e6, 30.0, PRICES) == pytest.approx(local)


@pytest.mark.parametrize("objective", OBJECTIVE_NAMES)
@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 400),
            st.integers(0, 200_000),
            st.integers(0, 90),
            st.integers(0, 90_000),
        ),
        min_size=1,
        max_size=8,
    ),
    rtt_ms=st.sampled_from([0.0, 25.0]),
)
def test_each_has_an_exact_envelope(
    objective: Objective, rows: list[tuple[int, int, int]], rtt_ms: float
) -> None:
    measure = OBJECTIVES[objective]
    offers = {str(i): Offer(str(i), *row) for i, row in enumerate(rows)}
    spans = lowest({name: measure.curve(o, rtt_ms, PRICES) for name, o in offers.items()})
    for bandwidth_bps in np.geomspace(SLOWEST_BPS, FASTEST_BPS, 37).tolist():
        costs = {name: measure.cost(o, bandwidth_bps, rtt_ms, PRICES) for name, o in offers.items()}
        best = next(
            name
            for name, own in spans.items()
            if any(s.low_bps <= bandwidth_bps <= s.high_bps for s in own)
        )
        assert costs[best] == pytest.approx(min(costs.values()), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVE_NAMES)
def test_no_objective_gets_dearer_on_a_faster_link(objective: Objective) -> None:
    costs = [OBJECTIVES[objective].cost(CUT, bps, 10.0, PRICES) for bps in (1e5, 1e6, 1e7, 1e8)]
    assert costs == sorted(costs, reverse=True)
