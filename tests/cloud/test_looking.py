"""Files are looked at again and again, whatever happens to one look."""

import asyncio

import pytest
from tests.cloud.device import GUARD_S

from isthmus_cloud.looking import looking


async def test_a_look_that_fails_is_logged_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looked, faults = asyncio.Event(), [RuntimeError("a bug")]

    async def look() -> None:
        if faults:
            raise faults.pop()
        looked.set()

    async with looking(look, 0.0, "the list"), asyncio.timeout(GUARD_S):
        await looked.wait()
    assert "the list could not be looked at; all stays as it was" in caplog.text
    assert "a bug" in caplog.text


async def test_nobody_looks_when_the_context_has_ended() -> None:
    before = asyncio.all_tasks()

    async def look() -> None:
        await asyncio.Event().wait()

    async with looking(look, 0.0, "the list"):
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before
