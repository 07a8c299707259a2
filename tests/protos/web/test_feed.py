"""Events are made for everybody at once, at most once a period, and for nobody not at all."""

import asyncio
from contextlib import aclosing

import pytest

from isthmus.web import Feed


class Studio:
    """Makes messages, and lets periods pass when the test says so."""

    def __init__(self) -> None:
        self.made = 0
        self.fault: Exception | None = None
        self.periods: list[float] = []
        self._may_go_on = asyncio.Event()

    async def make(self) -> bytes:
        if self.fault is not None:
            raise self.fault
        self.made += 1
        return f"message {self.made}".encode()

    async def pause(self, period_s: float) -> None:
        self.periods.append(period_s)
        await self._may_go_on.wait()

    async def pass_period(self) -> None:
        self._may_go_on.set()
        self._may_go_on = asyncio.Event()
        await settled()


async def settled() -> None:
    """Everybody who could go on went on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_who_looks_gets_the_same_messages_made_once() -> None:
    studio = Studio()
    feed = Feed(studio.make, 0.5, studio.pause)
    async with aclosing(feed.messages()) as one, aclosing(feed.messages()) as other:
        for messages in (one, other):
            assert await anext(messages) == b"retry: 1000\n\n"
        assert feed.watchers == 2
        firsts = asyncio.gather(anext(one), anext(other))
        assert list(await firsts) == [b"data: message 1\n\n"] * 2
        seconds = asyncio.gather(anext(one), anext(other))
        await studio.pass_period()
        assert list(await seconds) == [b"data: message 2\n\n"] * 2
    assert (studio.made, set(studio.periods)) == (2, {0.5})


async def test_who_is_slow_misses_what_was_in_between() -> None:
    studio = Studio()
    async with aclosing(Feed(studio.make, 0.5, studio.pause).messages()) as messages:
        await anext(messages)
        assert await anext(messages) == b"data: message 1\n\n"
        for _ in range(3):
            await studio.pass_period()
        assert await anext(messages) == b"data: message 4\n\n"


async def test_who_comes_later_sees_at_once_what_the_others_see() -> None:
    studio = Studio()
    feed = Feed(studio.make, 0.5, studio.pause)
    async with aclosing(feed.messages()) as one, aclosing(feed.messages()) as late:
        await anext(one)
        await anext(one)
        await anext(late)
        assert await anext(late) == b"data: message 1\n\n"
    assert studio.made == 1


async def test_nothing_is_made_while_nobody_looks() -> None:
    studio = Studio()
    feed = Feed(studio.make, 0.5, studio.pause)
    await settled()
    assert studio.made == 0
    async with aclosing(feed.messages()) as messages:
        await anext(messages)
        await anext(messages)
    assert feed.watchers == 0
    for _ in range(3):
        await studio.pass_period()
    assert studio.made == 1
    async with aclosing(feed.messages()) as messages:
        await anext(messages)
        assert await anext(messages) == b"data: message 2\n\n"


async def test_a_message_of_several_lines_is_one_event() -> None:
    async def make() -> bytes:
        return "a\nb\r\n\r\u2028ä".encode()

    async with aclosing(Feed(make).messages()) as messages:
        await anext(messages)
        assert (await anext(messages)).decode() == "data: a\ndata: b\ndata: \ndata: \u2028ä\n\n"


async def test_what_breaks_the_making_ends_every_stream_and_the_next_one_begins_anew() -> None:
    studio = Studio()
    feed = Feed(studio.make, 0.5, studio.pause)
    async with aclosing(feed.messages()) as one, aclosing(feed.messages()) as other:
        for messages in (one, other):
            await anext(messages)
            await anext(messages)
        studio.fault = ZeroDivisionError("ours")
        await studio.pass_period()
        for messages in (one, other):
            with pytest.raises(ZeroDivisionError, match="ours"):
                await anext(messages)
    studio.fault = None
    async with aclosing(feed.messages()) as messages:
        await anext(messages)
        assert (await anext(messages)).startswith(b"data: message")
