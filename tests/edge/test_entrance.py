"""The door for frames: who comes first is first; a place that nobody wants is the next one's."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from isthmus import AgentClosedError, QueueFullError
from isthmus_edge.entrance import Entrance

PATIENT = 20.0


def nothing() -> None:
    pass


async def test_places_are_given_in_the_order_of_asking() -> None:
    door, came = Entrance(1, "wait"), list[int]()
    door.enter(nothing, may_wait=True)
    waiting = [
        asyncio.create_task(door.enter_async(lambda number=number: came.append(number)))  # type: ignore[misc]
        for number in range(3)
    ]
    await asyncio.sleep(0)
    for _ in waiting:
        door.give_back()
    async with asyncio.timeout(PATIENT):
        await asyncio.gather(*waiting)
    assert came == [0, 1, 2]


async def test_a_place_that_is_not_wanted_any_more_is_the_next_ones() -> None:
    door = Entrance(1, "wait")
    door.enter(nothing, may_wait=True)
    first, second = (asyncio.create_task(door.enter_async(nothing)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    door.give_back()
    async with asyncio.timeout(PATIENT):
        await second


async def test_a_place_that_came_in_the_moment_of_leaving_is_given_back() -> None:
    door = Entrance(1, "wait")
    door.enter(nothing, may_wait=True)
    leaving = asyncio.create_task(door.enter_async(nothing))
    await asyncio.sleep(0)
    door.give_back()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with ThreadPoolExecutor(1) as threads:
        threads.submit(door.enter, nothing, may_wait=True).result(PATIENT)


def test_who_waits_in_a_thread_is_let_in_or_hears_of_the_end() -> None:
    door, came = Entrance(1, "wait"), threading.Semaphore(0)
    door.enter(nothing, may_wait=True)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(door.enter, came.release, may_wait=True) for _ in range(2)]
        door.give_back()
        assert came.acquire(timeout=PATIENT)
        door.close()
        ends = [each.exception(PATIENT) for each in waiting]
    assert sorted(type(end).__name__ for end in ends) == ["AgentClosedError", "NoneType"]


@pytest.mark.parametrize(("when_full", "may_wait"), [("reject", True), ("wait", False)])
def test_where_nobody_waits_a_full_queue_is_an_error(when_full: Any, may_wait: bool) -> None:
    door = Entrance(1, when_full)
    door.enter(nothing, may_wait=may_wait)
    with pytest.raises(QueueFullError, match="1 frames wait"):
        door.enter(nothing, may_wait=may_wait)
    door.give_back()
    door.enter(nothing, may_wait=may_wait)


def test_a_camera_always_has_a_place_until_the_end() -> None:
    door, came = Entrance(1, "drop-oldest"), list[int]()
    for number in range(5):
        door.enter(lambda number=number: came.append(number), may_wait=True)  # type: ignore[misc]
    assert came == [0, 1, 2, 3, 4]
    door.close()
    door.close()
    with pytest.raises(AgentClosedError):
        door.enter(nothing, may_wait=True)
