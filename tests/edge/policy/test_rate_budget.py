"""What a frame may take, held against the policy's own prediction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.edge.ladders import FLOOR, SIZES, candidate

from isthmus import Candidate, ConfigError
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import Situation, predict
from isthmus_edge.policy.rate import Demand, RateController, Remaining, budget

B7 = candidate()
LINK = LinkEstimate(bandwidth_bps=8e6, rtt_ms=15)  # 1000 bytes a millisecond
STAGES = Remaining(link=LINK, device_ms=20, cloud_ms=10, queue_ms=5, answer_bytes=80)


def test_a_frame_rate_leaves_a_share_of_the_link_for_each_frame() -> None:
    assert budget(STAGES, Demand(period_ms=100), 0).payload_bytes == 0.85 * 100_000 - 160


def test_a_deadline_leaves_what_the_other_stages_do_not_need() -> None:
    """100 ms less 20 + 15 + 5 + 10 at 850 bytes each, less the answer and two headers."""
    assert budget(STAGES, Demand(deadline_left_ms=100), 0).payload_bytes == 42_500 - 80 - 2 * 160


@pytest.mark.parametrize(("period_ms", "deadline_ms"), [(10, 1000), (1000, 60)])
def test_the_stricter_of_frame_rate_and_deadline_counts(
    period_ms: float, deadline_ms: float
) -> None:
    both = budget(STAGES, Demand(period_ms=period_ms, deadline_left_ms=deadline_ms), 0)
    rate = budget(STAGES, Demand(period_ms=period_ms), 0)
    deadline = budget(STAGES, Demand(deadline_left_ms=deadline_ms), 0)
    assert both.payload_bytes == min(rate.payload_bytes, deadline.payload_bytes)


@pytest.mark.parametrize("left_ms", [49.0, 0.0, -1000.0])
def test_a_deadline_that_cannot_be_met_leaves_no_bytes(left_ms: float) -> None:
    assert budget(STAGES, Demand(deadline_left_ms=left_ms), 4_000).payload_bytes == 0


def test_what_is_computed_longer_is_taken_from_the_deadline_alone() -> None:
    slower = Remaining(link=LINK, device_ms=30, cloud_ms=10, queue_ms=5, answer_bytes=80)
    for demand in (Demand(deadline_left_ms=100), Demand(deadline_left_ms=100, period_ms=10)):
        expected = budget(slower, demand, 0).payload_bytes
        assert budget(STAGES, demand, 0).after(10).payload_bytes == expected


def sized(payload_bytes: float) -> Candidate:
    """A candidate with the times of STAGES and one rung of that size."""
    return candidate("sized", (int(payload_bytes),), (1.0,), chosen=0)


def predicted_ms(payload_bytes: float, link: LinkEstimate) -> tuple[float, float]:
    """Latency and period by the policy, which knows nothing of budgets."""
    seen = Situation(link=link, queue_ms=STAGES.queue_ms, answer_bytes=STAGES.answer_bytes)
    prediction = predict(sized(payload_bytes), seen)
    return prediction.latency_ms, prediction.period_ms


@given(mbps=st.floats(0.1, 1000), rtt_ms=st.floats(0, 300), left_ms=st.floats(60, 2000))
def test_a_frame_of_the_budgeted_size_meets_its_deadline_on_a_share_of_the_link(
    mbps: float, rtt_ms: float, left_ms: float
) -> None:
    link = LinkEstimate(mbps * 1e6, rtt_ms)
    remaining = Remaining(link=link, device_ms=20, cloud_ms=10, queue_ms=5, answer_bytes=80)
    allowed = budget(remaining, Demand(deadline_left_ms=left_ms), 0).payload_bytes
    slower = LinkEstimate(mbps * 1e6 * 0.85, rtt_ms)
    latency_ms, _ = predicted_ms(allowed, slower)
    a_byte_ms = slower.transfer_ms(1)
    assert allowed == 0 or left_ms - a_byte_ms - 1e-6 <= latency_ms <= left_ms + 1e-6


@given(mbps=st.floats(0.1, 1000), rtt_ms=st.floats(0, 300), coarsest=st.integers(100, 50_000))
def test_without_a_demand_a_finer_rung_costs_at_most_the_slack(
    mbps: float, rtt_ms: float, coarsest: int
) -> None:
    link = LinkEstimate(mbps * 1e6, rtt_ms)
    remaining = Remaining(link=link, device_ms=20, cloud_ms=10, queue_ms=5, answer_bytes=80)
    allowed = budget(remaining, Demand(), coarsest).payload_bytes
    assert allowed >= coarsest
    least_ms, _ = predicted_ms(coarsest, link)
    latency_ms, _ = predicted_ms(allowed, link)
    assert latency_ms <= least_ms * 1.02 + 1e-6
    assert latency_ms >= least_ms * 1.02 - link.transfer_ms(1) - 1e-6


@pytest.mark.parametrize(("mbps", "rungs"), [(0.5, {5}), (100, {0})])
def test_slack_buys_nothing_on_a_thin_link_and_the_finest_rung_on_a_fast_one(
    mbps: float, rungs: set[int]
) -> None:
    remaining = Remaining(link=LinkEstimate(mbps * 1e6, 20), device_ms=20, cloud_ms=10)
    controller = RateController([B7])
    for _ in range(80):
        least = controller.coarsest_bytes(B7, FLOOR)
        choice = controller.choose(B7, FLOOR, budget(remaining, Demand(), least))
        controller.learn(B7.id, choice.rung, SIZES[choice.rung])
    assert {choice.rung} == rungs
    assert choice.fits


def test_for_throughput_the_link_stays_below_the_slowest_other_stage() -> None:
    demand = Demand(objective="throughput")
    allowed = budget(STAGES, demand, 4_000).payload_bytes
    assert allowed == 0.85 * 20_000 - 160
    assert LINK.transfer_ms(allowed) < STAGES.device_ms
    assert predicted_ms(allowed, LINK)[1] == STAGES.device_ms


def test_for_throughput_the_coarsest_rung_always_fits() -> None:
    assert budget(STAGES, Demand(objective="throughput"), 90_000).payload_bytes == 90_000


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"period_ms": 0.0}, "period_ms"), ({"share": 1.1}, "share"), ({"slack": -0.1}, "slack")],
)
def test_a_demand_without_sense_is_refused_by_name(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Demand(**wrong)  # type: ignore[arg-type]  # one of several float fields
