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
def shared(tiny_bundle: Path) -> Iterator[ObedientCloud]:
    """One that outlives what befalls it."""
    with ObedientCloud(tiny_bundle) as cloud:
        yield cloud


async def in_a_batch(cloud: ObedientCloud, ships: Fleet) -> None:
    """Every window is full, and the engine goes on from there: so batches are large."""
    await asyncio.to_thread(cloud.hold_frames, WINDOW * len(ships.devices))
    cloud.go()


@pytest.mark.fault("service: poison frames")
async def test_frames_on_which_the_engine_fails_fail_alone(
    shared: ObedientCloud, frames: Frames, count: Count
) -> None:
    async with fleet(shared.address, frames, [PLAIN] * 3) as ships:
        await in_a_batch(shared, ships)
        await ships.answered(5 * WINDOW)
    shared.note_level()
    before = shared.counts()
    async with fleet(shared.address, frames, [PLAIN] * 3 + [POISONOUS] * 2) as ships:
        for _ in range(3):
            await in_a_batch(shared, ships)
            await ships.answered(5 * WINDOW)
    count(ships.tally())
    print(shared._complaints())
    assert ships.tally().balances, ships.tally()
    for device in ships.devices:
        assert device.failed == dict.fromkeys(device.poisoned, INTERNAL)
    assert all(device.failed for device in ships.devices[3:])
    end = shared.counts()
    assert end.answering - before.answering == ships.tally().accepted
    assert end.largest_batch > WINDOW
    assert end.joins > before.joins
    shared.assert_at_level(sessions=0)
