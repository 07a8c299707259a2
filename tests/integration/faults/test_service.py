"""What befalls a service that many devices keep busy: its engine, its end, its clock, a crowd."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.commands import PATIENCE_S
from tests.integration.faults.clock import AHEAD, BACK
from tests.integration.faults.cloud_process import JUMPS, Counts
from tests.integration.faults.processes import jump
from tests.integration.faults.service_clouds import ObedientCloud
from tests.integration.faults.service_devices import Fleet, Habits, fleet
from tests.integration.faults.service_frames import Frames
from tests.integration.faults.tally import Count, Tally
from tests.integration.faults.traffic import WINDOW

PLAIN, POISONOUS, HEEDLESS = Habits(), Habits(poison_every=5), Habits(heeds_drain=False)
INTERNAL, DRAINING = "ERROR_CODE_INTERNAL", "ERROR_CODE_DRAINING"


@pytest.fixture(scope="module")
def frames(tiny_bundle: Path) -> Frames:
    return Frames(tiny_bundle)


@pytest.fixture(scope="module")
def shared(tiny_bundle: Path, frames: Frames) -> Iterator[ObedientCloud]:
    """One that outlives what befalls it, at the level that it has after some work in peace."""
    with ObedientCloud(tiny_bundle) as cloud:
        asyncio.run(in_peace(cloud, frames))
        cloud.note_level()
        yield cloud


async def in_peace(cloud: ObedientCloud, frames: Frames) -> None:
    async with fleet(cloud.address, frames, [PLAIN] * 4) as ships:
        await in_a_batch(cloud, ships)
        await ships.answered(10 * WINDOW)


async def in_a_batch(cloud: ObedientCloud, ships: Fleet) -> None:
    """Every window is full, and the engine goes on from there: so batches are large."""
    await asyncio.to_thread(cloud.hold_frames, WINDOW * len(ships.devices))
    cloud.go()


def assert_nothing_is_left(cloud: ObedientCloud, before: Counts | None, tally: Tally) -> None:
    """The service has counted the same frames as the devices, and holds nothing of them."""
    cloud.assert_at_level(sessions=0)
    end = cloud.counts()
    ended = Counter(end.ended)
    if before is not None:
        ended.subtract(before.ended)
    assert ended.pop("answered") == tally.cloud
    assert sum(ended.values()) == tally.errors
    assert tally.balances, tally


@pytest.mark.fault("service: poison frames")
async def test_frames_on_which_the_engine_fails_fail_alone(
    shared: ObedientCloud, frames: Frames, count: Count
) -> None:
    before = shared.counts()
    async with fleet(shared.address, frames, [PLAIN] * 3 + [POISONOUS] * 2) as ships:
        for _ in range(3):
            await in_a_batch(shared, ships)
            await ships.answered(5 * WINDOW)
    count(ships.tally())
    for device in ships.devices:
        assert device.failed == dict.fromkeys(device.poisoned, INTERNAL)
    assert all(device.failed for device in ships.devices[3:])
    end = shared.counts()
    assert end.largest_batch > WINDOW
    assert end.joins > before.joins
    assert_nothing_is_left(shared, before, ships.tally())


@pytest.mark.fault("service: engine breaks in a batch")
async def test_an_engine_that_breaks_in_a_batch_costs_the_frames_of_that_batch(
    shared: ObedientCloud, frames: Frames, count: Count
) -> None:
    before, broken = shared.counts(), 0
    async with fleet(shared.address, frames, [PLAIN] * 4) as ships:
        for _ in range(3):
            await asyncio.to_thread(shared.hold_frames, WINDOW * len(ships.devices))
            broken += await asyncio.to_thread(shared.break_and_go)
            await ships.answered(5 * WINDOW)
    count(ships.tally())
    assert broken >= 3 * 2
    assert ships.failed == {INTERNAL: broken}
    assert_nothing_is_left(shared, before, ships.tally())


@pytest.mark.fault("service: SIGTERM under load")
async def test_a_service_that_is_told_to_end_answers_or_refuses_all_that_it_has_read(
    tiny_bundle: Path, frames: Frames, count: Count
) -> None:
    with ObedientCloud(tiny_bundle, "127.0.0.1:0", "--drain-grace", PATIENCE_S) as cloud:
        async with fleet(cloud.address, frames, [PLAIN] * 3 + [HEEDLESS] * 3) as ships:
            await ships.answered(5 * WINDOW)
            await asyncio.to_thread(cloud.hold_frames, WINDOW * len(ships.devices))
            cloud.process.send_signal(signal.SIGTERM)
            heedless = ships.devices[3:]
            await ships.until(lambda: all(d.since_drain is not None for d in ships.devices))
            await ships.until(lambda: all(device.failed for device in heedless))
            cloud.go()
        ended = await asyncio.to_thread(cloud.ended)
    tally = ships.tally_of_read()
    count(tally)
    assert ended.status == 0, ended.err
    assert set(ships.statuses[:3]) == {grpc.StatusCode.OK}
    # Who writes on when the stream ends may see gRPC's own client complain of that.
    assert set(ships.statuses[3:]) <= {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL}
    since = [Counter(device.since_drain or ()) for device in ships.devices]
    assert all(ends["result"] >= WINDOW for ends in since), since
    assert set(ships.failed) == {DRAINING}
    end = cloud.last_counts(ended)
    assert (end.answering, end.ended) == (tally.cloud, {"answered": tally.cloud})
    assert (end.streams, end.sessions, end.frames, end.bytes_in_flight) == (0, 0, 0, 0)
    assert tally.balances, tally


@pytest.mark.fault("service: clock jumps")
async def test_a_clock_that_is_set_back_keeps_no_batch_waiting(
    tiny_bundle: Path, frames: Frames, count: Count
) -> None:
    """Frames that wait seem to have come hours later than now."""
    flags = (JUMPS, "--linger-ms", 20)
    urgent = Habits(deadline_ms=int(PATIENCE_S * 1e3))
    with ObedientCloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud:
        await asyncio.to_thread(jump, cloud, AHEAD)  # no clock ever shows less than nothing
        async with fleet(cloud.address, frames, [PLAIN] * 2 + [urgent] * 2) as ships:
            await in_a_batch(cloud, ships)
            await ships.answered(5 * WINDOW)
            cloud.note_level()
            await asyncio.to_thread(cloud.hold_frames, WINDOW * len(ships.devices))
            await asyncio.to_thread(jump, cloud, BACK)
            cloud.go()
            await ships.answered(10 * WINDOW)
        tally = ships.tally()
        count(tally)
        assert_nothing_is_left(cloud, None, tally)
        assert "reloaded" not in cloud.complaints()
    assert tally.errors == 0
