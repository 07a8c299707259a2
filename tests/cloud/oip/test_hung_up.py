"""A client that goes in the middle of an answer leaves neither a count nor a line behind."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import grpc
import pytest
from tests.cloud.device import GUARD_S
from tests.cloud.oip.test_doors import WORD, Counter
from tests.cloud.wire import settled

from isthmus_cloud.faces import oip
from isthmus_cloud.faces.oip import _Guarded


class Stuck:
    """The context of a call whose client reads nothing; a write fails when the call ends."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()
        self.has_failed = False

    def peer(self) -> str:
        return "peer"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(WORD.items())

    def auth_context(self) -> dict[str, object]:
        return {}

    async def write(self, _: object) -> None:
        with suppress(asyncio.CancelledError):
            await self.broken.wait()
        self.has_failed = True
        raise grpc.aio.UsageError("the call is over")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer of a stream is waited for as long as it takes."""
    monkeypatch.setattr(oip, "LAST_WRITE_S", GUARD_S)


async def given_up(stuck: Stuck, guard: Counter) -> asyncio.Task[None]:
    """A stream whose handler has left a response half written, and now waits for it."""
    left = asyncio.Event()

    async def requests() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def handler(requests: AsyncIterator[int], context: Any) -> None:
        async for _ in requests:
            writing = asyncio.create_task(context.write("answer"))
            await settled()
            writing.cancel()
            await asyncio.wait({writing})
            left.set()
            return

    face = _Guarded(cast("Any", None), guard, lambda *_: None)
    behaviour: Any = face._stream(handler)
    call: asyncio.Task[None] = asyncio.create_task(behaviour(requests(), stuck))
    async with asyncio.timeout(GUARD_S):
        await left.wait()
    await settled()
    assert not call.done()
    assert (guard.frames, guard.streams) == (1, 1)
    return call


async def test_a_client_that_hangs_up_while_its_last_answer_is_written_leaves_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard, stuck = Counter(), Stuck()
    call = await given_up(stuck, guard)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (guard.frames, guard.streams) == (0, 0)
    await settled()
    del call
    gc.collect()  # asyncio tells of an error that nobody has heard when its task goes
    assert stuck.has_failed
    assert caplog.records == []


async def test_a_last_answer_that_cannot_be_written_is_no_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard, stuck = Counter(), Stuck()
    call = await given_up(stuck, guard)
    stuck.broken.set()
    async with asyncio.timeout(GUARD_S):
        await call
    del call
    gc.collect()
    assert stuck.has_failed
    assert caplog.records == []
    assert (guard.frames, guard.streams) == (0, 0)
