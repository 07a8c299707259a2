"""What a caller holds ends with its frame, or with the agent, once."""

import asyncio
from concurrent.futures import Future

import pytest

from isthmus import AgentClosedError, WireError
from isthmus_edge import Answer, Ledger
from isthmus_edge.promises import Promises

ANSWER = Answer(1, {}, "local", 0, "device", 1.0, 0, ())
GUARD_S = 20.0


async def test_a_frame_that_ended_in_the_very_turn_of_giving_up_keeps_its_answer() -> None:
    """Its end is there, and who waits for it has not heard of it yet."""
    ledger = Ledger()
    promises = Promises(ledger)
    kept, lost = Future[Answer](), Future[Answer]()
    sequence, end = promises.make(kept)
    promises.make(lost)
    ledger.settle(sequence, "device")
    end.set_result(ANSWER)
    promises.give_up()
    async with asyncio.timeout(GUARD_S):
        assert await asyncio.wrap_future(kept) is ANSWER
        with pytest.raises(AgentClosedError):
            await asyncio.wrap_future(lost)
    assert (ledger.pending, ledger.settled("error"), ledger.ended_twice) == (0, 1, 0)


async def test_an_answer_that_nobody_wants_any_more_is_waited_for_and_dropped() -> None:
    promises = Promises(Ledger())
    unwanted, refused = Future[Answer](), Future[Answer]()
    (_, first), (_, second) = promises.make(unwanted), promises.make(refused)
    assert unwanted.cancel()
    promises.wait_at_most(0.0)
    await promises.kept()
    assert len(promises) == 2
    first.set_result(ANSWER)
    second.set_exception(WireError("on demand"))
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(WireError):
            await asyncio.wrap_future(refused)
    assert (unwanted.cancelled(), len(promises)) == (True, 0)
