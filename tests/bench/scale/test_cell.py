"""The simulation beside formulas, and what has to hold of every run of it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_bench.scale.simulation.cell import simulate
from isthmus_bench.scale.simulation.plan import CellPlan, CellResult, Devices, Service
from isthmus_bench.traces import Trace
from isthmus_cloud.engines.batch_times import BatchTimes

EACH_MS = 10.0
ONE = BatchTimes((1,), (EACH_MS,))
BATCHES = BatchTimes((1, 2, 4, 8), (10.0, 12.0, 16.0, 24.0))


def by_chance(share: float, seconds: float = 200.0) -> Devices:
    """Each sends one frame at a moment by chance: as many arrivals as a Poisson process has."""
    return Devices(count=round(share * seconds * 1e3 / EACH_MS), fps=1 / seconds)


def waits_ms(found: CellResult) -> float:
    return sum(found.cloud_ms) / len(found.cloud_ms) - EACH_MS


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_one_replica_with_arrivals_by_chance_is_m_d_1(share: float) -> None:
    """Its mean wait is rho s / 2 (1 - rho) (Pollaczek and Khinchine)."""
    service = Service(times=ONE, calls=1)
    found = simulate(CellPlan(service=service, devices=by_chance(share), seconds=200.0))
    assert waits_ms(found) == pytest.approx(share * EACH_MS / (2 * (1 - share)), rel=0.1)
    assert found.busy_share == pytest.approx(share, rel=0.01)


def test_a_front_end_with_a_slow_processor_is_a_queue_of_its_own() -> None:
    """Arrivals by chance at a processor, and what leaves it does not wait at a faster replica."""
    service = Service(times=BatchTimes((1,), (1.0,)), front_end_ms=EACH_MS)
    found = simulate(CellPlan(service=service, devices=by_chance(0.6), seconds=200.0))
    mean_ms = sum(found.cloud_ms) / len(found.cloud_ms)
    assert mean_ms == pytest.approx(EACH_MS + 1.0 + 0.6 * EACH_MS / (2 * 0.4), rel=0.1)


def test_frames_that_come_in_turn_do_not_wait() -> None:
    devices = Devices(count=4, fps=20.0, phases_s=(0.0, 0.0125, 0.025, 0.0375))
    service = Service(times=ONE, base_ms=(2.0,), hop_ms=(4.0,))
    found = simulate(CellPlan(service=service, devices=devices, seconds=1.0))
    assert found.answered == 80
    assert found.cloud_ms == pytest.approx([EACH_MS + 2.0 + 4.0] * 80)


def test_a_second_call_hides_the_hop() -> None:
    """With one call at a time a replica waits for each hop; with two it always has work."""
    busy = Devices(count=12, fps=20.0, window=1)
    plans = [
        CellPlan(service=Service(times=ONE, hop_ms=(10.0,), calls=calls), devices=busy, seconds=5.0)
        for calls in (1, 2)
    ]
    one, two = (simulate(plan).busy_share for plan in plans)
    assert one == pytest.approx(0.5, rel=0.05)
    assert two == pytest.approx(1.0, rel=0.05)


def test_what_waits_goes_together_up_to_the_most() -> None:
    devices = Devices(count=40, fps=10.0, window=2)
    service = Service(times=BATCHES, most=4, calls=1)
    found = simulate(CellPlan(service=service, devices=devices, seconds=5.0))
    assert max(found.batches) == 4
    assert found.mean_batch > 3.5
    assert found.answered / 5.0 == pytest.approx(4 / 16.0 * 1e3, rel=0.1)


def test_two_replicas_answer_twice_as_much_shared_or_not() -> None:
    devices = Devices(count=12, fps=40.0, window=1)
    one = Service(times=ONE, calls=1)
    rates = [
        simulate(CellPlan(service=service, devices=devices, seconds=5.0)).answered
        for service in (
            one,
            replace(one, replicas=2),
            replace(one, replicas=2, front_ends=2, shared=False),
            replace(one, replicas=2, front_ends=2),
        )
    ]
    assert [rate / rates[0] for rate in rates] == pytest.approx([1, 2, 2, 2], rel=0.05)


def test_links_delay_frames_and_the_cloud_does_not_count_that() -> None:
    slow = Trace("slow", (0.0,), (0.8,), 40.0)  # 10,000 bytes take 100 ms
    devices = Devices(count=3, fps=2.0, payload_bytes=10_000, links=(slow,))
    found = simulate(CellPlan(service=Service(times=ONE), devices=devices, seconds=3.0))
    assert found.answered == 18
    assert min(found.end_ms) == pytest.approx(120.0 + EACH_MS)
    assert max(found.cloud_ms) <= 3 * EACH_MS


def test_frames_that_wait_too_long_are_refused() -> None:
    devices = Devices(count=40, fps=10.0, window=4, deadline_ms=35.0)
    found = simulate(CellPlan(service=Service(times=ONE, calls=1), devices=devices, seconds=2.0))
    assert found.refused > 0
    assert max(found.cloud_ms) <= 35.0 + EACH_MS + 1e-6


def test_the_same_seed_gives_the_same_and_another_gives_another() -> None:
    service = Service(times=BATCHES, most=8, replicas=3, base_ms=(1.0, 2.0), hop_ms=(3.0, 4.0))
    plan = CellPlan(service=service, devices=Devices(count=50, fps=5.0), seconds=2.0)
    assert simulate(plan) == simulate(plan)
    assert simulate(plan).cloud_ms != simulate(replace(plan, seed=2)).cloud_ms


def test_what_comes_before_the_warm_up_ends_is_answered_and_not_counted() -> None:
    devices = Devices(count=1, fps=10.0, phases_s=(0.0,))
    plan = CellPlan(service=Service(times=ONE), devices=devices, seconds=1.0, warm_s=0.45)
    found = simulate(plan)
    assert (found.answered, len(found.end_ms)) == (10, 5)


@st.composite
def services(draw: st.DrawFn) -> Service:
    front_ends, shared = draw(st.integers(1, 3)), draw(st.booleans())
    return Service(
        times=BATCHES,
        most=draw(st.sampled_from([1, 3, 8])),
        front_ends=front_ends,
        replicas=draw(st.integers(1, 4)) if shared else front_ends,
        shared=shared,
        front_end_ms=1.0,
        base_ms=(0.5, 3.0),
        hop_ms=(1.0, 9.0),
        most_waiting=draw(st.integers(1, 5)),
    )


@st.composite
def senders(draw: st.DrawFn) -> Devices:
    return Devices(
        count=draw(st.integers(1, 30)),
        fps=20.0,
        payload_bytes=1000,
        window=draw(st.integers(1, 3)),
        jitter_ms=5.0,
        links=(Trace("gaps", (0.0, 0.2, 0.3), (1.0, 0.0, 5.0), 10.0),),
        deadline_ms=draw(st.sampled_from([5.0, 50.0, 1e9])),
    )


@settings(max_examples=40)
@given(services(), senders(), st.integers(0, 9))
def test_every_frame_ends_once(service: Service, devices: Devices, seed: int) -> None:
    found = simulate(CellPlan(service=service, devices=devices, seconds=1.0, seed=seed))
    assert found.due == devices.count * 20
    assert found.due == found.unsent + found.answered + found.refused
    assert len(found.cloud_ms) == len(found.end_ms) == found.answered
    assert sum(size * times for size, times in found.batches.items()) == found.answered
    assert all(1 <= size <= service.most for size in found.batches)
    assert min(found.cloud_ms, default=99.0) >= 10.0
