"""A device looks at the other of two services; what goes wrong with that changes nothing."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.commands import PATIENCE_S, until
from tests.edge.fakes import FakeService
from tests.edge.stream.balanced import (
    BOTH,
    ONE,
    PICTURE,
    TWO,
    Services,
    Wins,
    both,
    count_beats,
    crowd,
    first,
    hasten,
    looks,
    opened,
    other,
    says,
    where,
)
from tests.edge.stream.clouds import Names, install, refuse

from isthmus.session import Identity
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Break
from isthmus_edge.link import LinkEstimate
from isthmus_edge.stream import addresses, balance, balancing, look
from isthmus_edge.stream.addresses import Address, Addresses, targets_of
from isthmus_edge.stream.balance import Balance
from isthmus_edge.stream.balancing import Balancing
from isthmus_edge.stream.standing import Standing
from isthmus_edge.stream.ways import Ways

THREE = "10.0.0.3"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    return both(monkeypatch)


def test_a_device_looks_at_the_other_one_and_stays_where_that_has_as_many(
    tiny_bundle: Path, services: Services
) -> None:
    for service in services.values():
        says(service, 10)
    with opened(tiny_bundle) as agent:
        here = where(agent)
        until(lambda: len(looks(services[other(here)])) >= 3, "it looks")
        assert where(agent) == here
        assert agent.infer(PICTURE).place == "cloud"
        stats = agent.stats()
    assert (stats.moves, stats.connects) == (0, 1)
    assert services[other(here)].frames == []
    assert not looks(services[here])


def test_a_look_is_made_under_a_name_that_nobody_has_and_says_so(
    tiny_bundle: Path, services: Services
) -> None:
    with opened(tiny_bundle) as agent:
        here = where(agent)
        there = services[other(here)]
        until(lambda: len(looks(there)) >= 2, "it looks")
        (hello,) = services[here].hellos
    names = [each.session_id for each in there.hellos]
    assert hello.session_id not in names
    assert len(set(names)) == len(names)
    assert {each.bundle_fingerprint for each in there.hellos} == {hello.bundle_fingerprint}
    assert there.goodbyes == there.connects  # each time it has said that nothing follows


def test_who_has_one_service_never_looks(tiny_bundle: Path, services: Services) -> None:
    with opened(tiny_bundle, f"{ONE}:50051") as agent:
        crowd(agent, services)
        beats = count_beats(services[ONE])
        until(lambda: beats() > 8, "some time has gone")
        assert agent.stats().moves == 0
    assert (services[ONE].connects, services[TWO].connects) == (1, 0)


def test_who_is_not_to_balance_stays(tiny_bundle: Path, services: Services) -> None:
    with opened(tiny_bundle, balance=False) as agent:
        here = crowd(agent, services)
        beats = count_beats(services[here])
        until(lambda: beats() > 8, "some time has gone")
    assert services[other(here)].connects == 0


@pytest.mark.parametrize(("one", "two"), [(ONE, TWO), (TWO, ONE)])
def test_who_is_not_to_balance_is_at_the_first_that_answers_in_their_order(
    tiny_bundle: Path, services: Services, one: str, two: str
) -> None:
    cloud = f"10.0.0.4:50051,{one}:50051,{two}:50051"
    services["10.0.0.4"] = FakeService()
    services["10.0.0.4"].reachable = False
    with opened(tiny_bundle, cloud, balance=False) as agent:
        until(lambda: where(agent) == one, "it is at the first that answers")
        services[one].reachable = False
        services[one].hang_up()
        until(lambda: where(agent) == two, "it is at the next one")


def test_a_slow_link_carries_no_looks(tiny_bundle: Path, services: Services) -> None:
    for service in services.values():
        service.link_bps = balancing.SLOW_BPS / 4
    with opened(tiny_bundle) as agent:
        here = crowd(agent, services)
        until(lambda: agent.stats().link is not None, "the link is measured")
        beats = count_beats(services[here])
        until(lambda: beats() > 8, "some time has gone")
        link = agent.stats().link
    assert link is not None
    assert link.bandwidth_bps < balancing.SLOW_BPS
    assert services[other(here)].connects == 0


def drains(service: FakeService) -> None:
    """It says so behind its Welcome, as one that was told to end just now."""
    connect = service.connect

    def connected(on_message: object, on_end: object) -> object:
        connection = connect(on_message, on_end)  # type: ignore[arg-type]

        def finish() -> None:
            on_message(pb.CloudMessage(drain=pb.Drain()))  # type: ignore[operator]
            on_end(Break("ended", is_orderly=True))  # type: ignore[operator]

        connection.finish = finish  # type: ignore[method-assign]
        return connection

    service.connect = connected  # type: ignore[method-assign,assignment]


def is_draining(service: FakeService) -> None:
    error = pb.Error(code=pb.ERROR_CODE_DRAINING, message="ending")
    service.greeting = pb.CloudMessage(error=error)


def has_another_bundle(service: FakeService) -> None:
    error = pb.Error(code=pb.ERROR_CODE_BUNDLE_MISMATCH, message="another one")
    service.greeting = pb.CloudMessage(error=error)


def is_not_there(service: FakeService) -> None:
    service.reachable = False


def says_nothing(service: FakeService) -> None:
    service.greeting = None
    service.connect = silent(service)  # type: ignore[method-assign,assignment]


def silent(service: FakeService) -> Callable[[object, object], object]:
    """A connection that comes about and on which nothing is ever heard."""
    connect = service.connect
    return lambda on_message, _: connect(on_message, lambda _: None)  # type: ignore[arg-type]


def never_stops(service: FakeService) -> None:
    """It talks as fast as it is read, and no stream of it ends."""
    connect = service.connect

    def connected(on_message: object, _: object) -> object:
        connection = connect(on_message, lambda _: None)  # type: ignore[arg-type]

        def finish() -> None:
            for _ in range(10 * look.MOST_MESSAGES):
                on_message(pb.CloudMessage(update=pb.Update()))  # type: ignore[operator]

        connection.finish = finish  # type: ignore[method-assign]
        return connection

    service.connect = connected  # type: ignore[method-assign,assignment]


def lets_nobody_in(service: FakeService) -> None:
    refuse(service, "UNAUTHENTICATED")


def is_full(service: FakeService) -> None:
    refuse(service, "RESOURCE_EXHAUSTED", retry_after_s=0.1)


def breaks(service: FakeService) -> None:
    def connect(*_: object) -> object:
        service.connections.append(None)  # type: ignore[arg-type]
        raise RuntimeError("can't start new thread")

    service.connect = connect  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    "spoil",
    [
        drains,
        is_draining,
        has_another_bundle,
        is_not_there,
        says_nothing,
        never_stops,
        lets_nobody_in,
        is_full,
        breaks,
    ],
)
def test_a_look_that_fails_changes_nothing(
    tiny_bundle: Path,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[FakeService], None],
) -> None:
    monkeypatch.setattr(look, "LOOK_S", 0.1)
    monkeypatch.setattr(look, "REFUSED_S", 0.02)
    monkeypatch.setattr(addresses, "FORGOTTEN_S", 0.0)
    monkeypatch.setattr(addresses, "BACKOFF_S", (0.01, 0.02))
    here = first()
    says(services[other(here)], 2)  # or nobody would want to go there
    spoil(services[other(here)])
    with opened(tiny_bundle) as agent:
        assert where(agent) == here
        services[here].connections[0].on_message(pb.CloudMessage(load=pb.Load(streams=40)))
        until(lambda: services[other(here)].connects >= 2, "it looks, and later once more")
        assert agent.infer(PICTURE).place == "cloud"
        stats = agent.stats()
    assert (stats.link_state, stats.moves, stats.connects) == ("up", 0, 1)
    assert stats.events == ()


def test_a_look_goes_on_at_no_service_when_the_stream_is_lost_meanwhile(
    tiny_bundle: Path, services: Services
) -> None:
    here = first()
    says_nothing(services[other(here)])
    with opened(tiny_bundle, silence_s=1e3):
        closed: list[bool] = []
        until(lambda: services[other(here)].connects == 1, "it looks")
        connection = services[other(here)].connections[0]
        connection.close = lambda: closed.append(True)  # type: ignore[method-assign]
        services[here].connections[0].on_end("the peer hung up")
        until(lambda: bool(closed), "the look is given up")


def test_who_closes_while_it_looks_leaves_nothing_behind(
    tiny_bundle: Path, services: Services
) -> None:
    there = services[other(first())]
    says_nothing(there)
    closed: list[bool] = []
    with opened(tiny_bundle):
        until(lambda: there.connects == 1, "it looks")
        there.connections[0].close = lambda: closed.append(True)  # type: ignore[method-assign]
    assert closed


async def test_a_look_that_was_given_up_has_ended_when_all_is_closed() -> None:
    asked, service = asyncio.Event(), FakeService()
    says_nothing(service)
    service.heard = lambda _: asked.set()
    closed: list[bool] = []

    async def dial(_: Address) -> FakeService:
        return service

    ways = Ways(Addresses(targets_of(BOTH), Random(0)), dial, Names())
    seen = Balancing(ways, Standing(lambda *_: None), Balance(Wins(0)))
    seen.new_stream(lambda: None)
    seen.welcomed(await ways.next(), Identity("a device", "a bundle"))
    at = time.monotonic() + balance.FIRST_LOOK_S[1]
    assert seen.step(at, lambda: LinkEstimate(1e9, 1.0), awaits=False) == "wait"
    await asyncio.wait_for(asked.wait(), PATIENCE_S)
    service.connections[0].close = lambda: closed.append(True)  # type: ignore[method-assign]
    seen.lost()
    await seen.close()
    assert closed


def test_a_name_is_looked_up_again_before_a_look_so_that_new_services_are_found(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    monkeypatch.setattr(addresses, "LOOK_UP_S", 0.0)
    services = {ip: FakeService() for ip in (ONE, TWO, THREE)}
    says(services[ONE], 40)
    says(services[TWO], 39)
    says(services[THREE], 1)
    names = Names(cloud=(ONE,))
    install(monkeypatch, services, names)
    with opened(tiny_bundle, "dns:cloud:50051") as agent:
        assert where(agent) == ONE
        names.known["cloud"] = (ONE, TWO, THREE)
        until(lambda: where(agent) == THREE, "it is at the new one")
        assert agent.infer(PICTURE).place == "cloud"
    assert services[TWO].frames == []
