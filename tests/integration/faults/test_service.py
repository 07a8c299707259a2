"""What befalls a service that many devices keep busy: its engine, its end, its clock, a crowd."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.faults.clock import BACK
from tests.integration.faults.service_clouds import ObedientCloud
from tests.integration.faults.service_devices import Fleet, Habits, fleet
from tests.integration.faults.service_frames import Frames
from tests.integration.faults.tally import Count
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


def assert_nothing_is_left(cloud: ObedientCloud, before: Counts, tally: Tally) -> None:
    """The service has counted the same frames as the devices, and holds nothing of them."""
    cloud.assert_at_level(sessions=0)
    end = cloud.counts()
    ended = Counter(end.ended) - Counter(before.ended)
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
    before = shared.counts()
    async with fleet(shared.address, frames, [PLAIN] * 4) as ships:
        for breaks in (1, 2):
            await asyncio.to_thread(shared.hold_frames, WINDOW * len(ships.devices))
            shared.break_engine()
            shared.go()
            await ships.until(lambda: ships.batches_failed >= breaks)  # noqa: B023
            await ships.answered(5 * WINDOW)
    count(ships.tally())


@pytest.mark.fault("service: SIGTERM under load")
async def test_a_service_that_is_told_to_end_answers_or_refuses_all_that_it_has_read(
    tiny_bundle: Path, frames: Frames, count: Count
) -> None:
    with ObedientCloud(tiny_bundle, "127.0.0.1:0", "--drain-grace", PATIENCE_S) as cloud:
        async with fleet(cloud.address, frames, [PLAIN] * 3 + [HEEDLESS] * 3) as ships:
            await ships.answered(5 * WINDOW)
            await asyncio.to_thread(cloud.hold_frames, WINDOW * len(ships.devices))
            cloud.process.send_signal(signal.SIGTERM)
            await ships.until(lambda: all(device.since_drain is not None for device in ships.devices))
            cloud.go()
        ended = await asyncio.to_thread(cloud.ended)
