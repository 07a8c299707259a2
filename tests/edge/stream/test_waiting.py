"""The queue in front of the device: bounded, and stale frames go first only where that is asked."""

import asyncio

from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.waiting import Waiting


def frame(sequence: int) -> Frame:
    return Frame(sequence, {}, asyncio.Future(), None)


async def test_frames_are_begun_in_the_order_of_their_coming() -> None:
    waiting = Waiting(2, drops_oldest=False)
    frames = [frame(1), frame(2), frame(3)]
    assert [waiting.put(one) for one in frames] == [None, None, None]
    for one in frames:
        assert await waiting.first() is one
        assert waiting.take(one)


async def test_a_camera_loses_its_stalest_frame_first() -> None:
    waiting = Waiting(2, drops_oldest=True)
    first, second, third = frame(1), frame(2), frame(3)
    assert waiting.put(first) is None
    assert waiting.put(second) is None
    assert waiting.put(third) is first
    assert await waiting.first() is second


async def test_a_frame_that_was_dropped_while_it_was_looked_at_is_not_begun() -> None:
    waiting = Waiting(1, drops_oldest=True)
    old, new = frame(1), frame(2)
    waiting.put(old)
    assert await waiting.first() is old
    assert waiting.put(new) is old
    assert not waiting.take(old)
    assert waiting.take(new)


async def test_who_asks_an_empty_queue_waits_for_the_next_frame() -> None:
    waiting = Waiting(1, drops_oldest=False)
    asking = asyncio.ensure_future(waiting.first())
    await asyncio.sleep(0)
    assert not asking.done()
    one = frame(1)
    waiting.put(one)
    assert await asking is one


async def test_a_frame_is_taken_out_wherever_it_stands_and_once() -> None:
    waiting = Waiting(3, drops_oldest=False)
    first, second, third = frame(1), frame(2), frame(3)
    for one in (first, second, third):
        waiting.put(one)
    assert waiting.remove(2) is second
    assert waiting.remove(2) is None
    assert waiting.remove(1) is first
    assert await waiting.first() is third
