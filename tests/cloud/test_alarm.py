"""An alarm goes off at the time that is asked for, and not after it was stopped."""

import asyncio

from tests.cloud.device import GUARD_S

from isthmus_cloud.sessions.alarm import Alarm

NEVER = float("inf")


class Bell:
    """What wakes up when, and when it rang."""

    def __init__(self, wakes_in_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.wakes_at = self._loop.time() + wakes_in_s
        self.rang_at: list[float] = []
        self._rang = asyncio.Event()
        self.alarm = Alarm(lambda: self.wakes_at, self._ring)

    def _ring(self, now: float) -> None:
        self.rang_at.append(now)
        self._rang.set()
        self.wakes_at = NEVER

    async def rings(self) -> None:
        async with asyncio.timeout(GUARD_S):
            await self._rang.wait()
        self._rang.clear()


async def test_it_goes_off_once_its_time_has_come() -> None:
    bell = Bell(wakes_in_s=0.005)
    wakes_at = bell.wakes_at
    bell.alarm.set()
    await bell.rings()
    resolution_s = 1e-3
    assert bell.rang_at[0] >= wakes_at - resolution_s


async def test_a_time_that_moved_earlier_counts_from_the_next_set() -> None:
    bell = Bell(wakes_in_s=GUARD_S * 10)
    bell.alarm.set()
    bell.wakes_at = 0
    bell.alarm.set()
    await bell.rings()
    assert len(bell.rang_at) == 1


async def test_it_is_set_again_after_it_went_off() -> None:
    bell = Bell(wakes_in_s=0)
    bell.alarm.set()
    await bell.rings()
    bell.wakes_at = 0
    bell.alarm.set()
    await bell.rings()
    assert len(bell.rang_at) == 2


async def test_stopped_it_does_not_go_off() -> None:
    stopped, later = Bell(wakes_in_s=0), Bell(wakes_in_s=0.001)
    stopped.alarm.set()
    stopped.alarm.stop()
    stopped.alarm.stop()
    later.alarm.set()
    await later.rings()
    assert stopped.rang_at == []


async def test_what_never_wakes_sets_no_timer() -> None:
    bell, later = Bell(wakes_in_s=NEVER), Bell(wakes_in_s=0)
    bell.alarm.set()
    later.alarm.set()
    await later.rings()
    assert bell.rang_at == []
