"""The ways to the cloud, with a name server and transports that a test makes up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.edge.fakes import FakeService
from tests.edge.stream.clouds import Names

from isthmus import ConfigError, LinkError
from isthmus_edge import Transport
from isthmus_edge.stream import addresses
from isthmus_edge.stream.addresses import Address, Addresses, targets_of
from isthmus_edge.stream.ways import Way, Ways, only_way

ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"


@asynccontextmanager
async def opened(
    cloud: str, names: Names, dial: Callable[[Address], Transport] | None = None
) -> AsyncIterator[Ways]:
    async def dialled(address: Address) -> Transport:
        return FakeService() if dial is None else dial(address)

    ways = Ways(Addresses(targets_of(cloud), Random(0)), dialled, names)
    yield ways
    await ways.close()


async def ips(ways: Ways, count: int) -> list[str]:
    """Of the next ones, each of which fails."""
    found = []
    for _ in range(count):
        way = await ways.next()
        found.append(way.address.ip)
        ways.failed(way)
    return found


async def test_a_name_is_looked_up_once_for_all_that_it_stands_for() -> None:
    names = Names(cloud=(ONE, TWO, THREE))
    async with opened("dns:cloud:1", names) as ways:
        assert set(await ips(ways, 3)) == {ONE, TWO, THREE}
        assert not ways.has_fresh()
    assert names.asked == ["cloud"]


async def test_several_names_are_looked_up_at_once_and_one_that_is_not_known_hurts_nobody() -> None:
    names = Names(a=(ONE,), b=None)
    async with opened("a:1,b:1", names) as ways:
        assert await ips(ways, 1) == [ONE]
    assert names.asked == ["a", "b"]


async def test_where_no_name_is_known_that_is_said_and_the_next_call_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "BACKOFF_S", (0.001, 0.002))
    names = Names(cloud=None)
    async with opened("cloud:1", names) as ways:
        for _ in range(2):
            with pytest.raises(LinkError, match="the name cloud is not known"):
                await ways.next()
        names.known["cloud"] = (ONE,)
        assert await ips(ways, 1) == [ONE]
    assert names.asked == ["cloud"] * 3


async def test_after_a_failure_a_name_is_looked_up_beside_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server that hangs then keeps nobody from the next address."""
    monkeypatch.setattr(addresses, "LOOK_UP_S", 0.0)
    monkeypatch.setattr(addresses, "SPENT_LOOK_UP_S", 1e9)
    monkeypatch.setattr(addresses, "BACKOFF_S", (0.001, 0.002))
    go_on = asyncio.Event()

    class Slow(Names):
        async def __call__(self, target: addresses.Target) -> tuple[str, ...]:
            found = await super().__call__(target)
            if len(self.asked) > 1:
                await go_on.wait()
                return (THREE,)
            return found

    async with opened("cloud:1", Slow(cloud=(ONE, TWO))) as ways:
        assert set(await ips(ways, 2)) == {ONE, TWO}
        go_on.set()
        assert THREE in await ips(ways, 10)


async def test_secrets_that_cannot_be_read_are_a_failure_of_this_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "BACKOFF_S", (0.001, 0.002))
    broken = [ConfigError("token: is no token")]

    def dial(_: Address) -> Transport:
        if broken:
            raise broken.pop()
        return FakeService()

    async with opened(f"{ONE}:1", Names(), dial) as ways:
        with pytest.raises(LinkError, match="token: is no token"):
            await ways.next()
        assert isinstance(await ways.next(), Way)


async def test_a_transport_that_is_brought_is_the_only_way_and_keeps_its_name() -> None:
    service = FakeService()
    ways = only_way(service, "localhost:1")
    way = await ways.next()
    assert way.transport is service
    assert str(way.address) == "localhost:1"
    ways.failed(way)
    assert not ways.has_fresh()
