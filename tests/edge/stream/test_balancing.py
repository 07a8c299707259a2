"""A device looks at the other of two services, and moves there where that is less loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from tests.commands import until
from tests.edge.fakes import FakeService, SlowRest, marked_answer
from tests.edge.stream.clouds import Names, install, refuse
from tests.tinybundle import tiny_pictures

from isthmus.session import device
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Break, Pace, contact
from isthmus_edge.stream import addresses, balance, balancing, look, moving
from isthmus_edge.stream.ways import Way, Ways

PATIENT = 20.0
PICTURE = tiny_pictures(1)[0]
ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
BOTH = f"{ONE}:50051,{TWO}:50051"

Services = dict[str, FakeService]


class Wins(Random):
    """A lot that always falls to who draws it."""

    def random(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come at once, and again and again; whose lot it is moves. Hearts beat fast."""
    monkeypatch.setattr(balance, "FIRST_LOOK_S", (0.0, 0.0))
    for name in ("LEAST_REST_S", "MOST_REST_S", "PRESSED_REST_S"):
        monkeypatch.setattr(balance, name, 0.05)
    for name in ("BEAT_S", "BUSY_BEAT_S"):
        monkeypatch.setattr(device, name, 0.02)
    monkeypatch.setattr(contact, "SystemRandom", Wins)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    services = {ONE: FakeService(), TWO: FakeService()}
    install(monkeypatch, services)
    return services


@contextmanager
def opened(
    bundle: Path, cloud: str = BOTH, pace: Pace | None = None, **settings: object
) -> Iterator[Agent]:
    common = {"candidate": "cut-16", "insecure": True, "patience_ms": 6e4, "video": "off"}
    config = AgentConfig(bundle=bundle, cloud=cloud, **(common | settings))  # type: ignore[arg-type]
    with Agent.open(config, pace=pace) as agent:
        yield agent


def where(agent: Agent) -> str:
    """The address of the service that the agent is connected to."""
    service = agent.stats().service
    return "" if service is None else service.address.rpartition(":")[0]


def other(ip: str) -> str:
    return TWO if ip == ONE else ONE


def first() -> str:
    """Where an agent of these tests begins: by the lot of its seed."""
    turn = addresses.Addresses(addresses.targets_of(BOTH), Random(0)).turn(0.0)
    assert isinstance(turn, addresses.Try)
    return turn.address.ip


def looks(service: FakeService) -> list[pb.Hello]:
    return [hello for hello in service.hellos if hello.look]


def says(service: FakeService, streams: int, queue_ms: float = 0.0) -> None:
    """Its load, from the next Welcome on."""
    assert service.greeting is not None
    load = pb.Load(streams=streams, queue_ms=queue_ms)
    service.greeting.welcome.load.CopyFrom(load)


def crowd(agent: Agent, services: Services) -> str:
    """The agent's service becomes the one that many use; its address."""
    here = where(agent)
    says(services[here], 40)
    says(services[other(here)], 2)
    services[here].connections[0].on_message(pb.CloudMessage(load=pb.Load(streams=40)))
    return here


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


def test_where_the_other_one_is_clearly_less_loaded_the_device_moves_there_with_its_session(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[Way] = []
    monkeypatch.setattr(Ways, "failed", lambda _, way, least_s=0.0: failed.append(way))
    with opened(tiny_bundle) as agent:
        here = crowd(agent, services)
        until(lambda: where(agent) == other(here), "it is at the other one")
        assert agent.infer(PICTURE).place == "cloud"
        stats = agent.stats()
    assert (stats.moves, stats.connects) == (1, 2)
    assert failed == []  # it may come back whenever it wants
    assert services[here].goodbyes == 1 + len(looks(services[here]))  # it looks back, too
    (stayed,) = [hello for hello in services[other(here)].hellos if not hello.look]
    assert stayed.session_id == services[here].hellos[0].session_id
    (event,) = stats.events
    assert event.text == (
        f"moving from {here}:50051 to {other(here)}:50051: 40 devices are here, 1 there"
    )


def test_a_long_queue_is_a_reason_to_move_too(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "PRESSED_S", 0.05)
    for service in services.values():
        says(service, 10)
    with opened(tiny_bundle) as agent:
        here = where(agent)
        load = pb.CloudMessage(load=pb.Load(streams=10, queue_ms=120.0))

        def moved() -> bool:
            if where(agent) == here:
                services[here].connections[0].on_message(load)
            return where(agent) == other(here)

        until(moved, "it is at the other one")
        (event,) = agent.stats().events
    assert "frames wait 120 ms here, 0 ms there" in event.text


def test_frames_under_way_are_answered_before_the_device_goes(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOVE_S", 1e3)
    for service in services.values():
        service.respond = lambda _: None
    with opened(tiny_bundle) as agent:
        here = where(agent)
        futures = [agent.submit(PICTURE) for _ in range(2)]
        until(lambda: len(services[here].frames) == 2, "both are sent")
        crowd(agent, services)
        until(lambda: agent.stats().link_state == "draining", "it is about to go")
        beats = count_beats(services[here])
        until(lambda: beats() > 3, "some time has gone")
        assert services[here].goodbyes == 0
        for frame in services[here].frames:
            services[here].connections[0].on_message(marked_answer(frame))
        assert [future.result(PATIENT).place for future in futures] == ["cloud", "cloud"]
        until(lambda: where(agent) == other(here), "it is at the other one")
        stats = agent.stats()
    assert services[other(here)].frames == []
    assert (stats.answered_cloud, stats.sent_again, stats.duplicates) == (2, 0, 0)


def test_what_is_not_answered_in_time_is_sent_to_the_other_one(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after any other stream: once more, unless the device has begun to finish it."""
    monkeypatch.setattr(moving, "MOVE_S", 0.05)
    pace = SlowRest()
    with opened(tiny_bundle, pace=pace) as agent:
        here = where(agent)
        services[here].respond = lambda _: None
        futures = [agent.submit(PICTURE) for _ in range(3)]
        until(lambda: len(services[here].frames) == 3, "all are sent")
        crowd(agent, services)
        places = [future.result(PATIENT).place for future in futures[1:]]
        pace.go_on.set()  # with the rest of the first one, if the device had begun it
        futures[0].result(PATIENT)
        stats = agent.stats()
    assert places == ["cloud", "cloud"]
    assert all(frame.again for frame in services[other(here)].frames)
    assert stats.accepted == stats.answered_cloud + stats.answered_device == 3
    assert (stats.errors, stats.duplicates, stats.ended_twice) == (0, 0, 0)


def test_frames_that_come_on_the_way_are_answered_on_the_device(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOVE_S", 1e3)
    with opened(tiny_bundle, candidate=None) as agent:
        here = where(agent)
        services[here].respond = lambda _: None
        waiting = agent.submit(PICTURE, candidate="cut-16")
        until(lambda: len(services[here].frames) == 1, "it is sent")
        crowd(agent, services)
        until(lambda: agent.stats().link_state == "draining", "it is about to go")
        assert agent.infer(PICTURE).place == "device"
        assert agent.infer(PICTURE, candidate="cut-16").place == "device"
        services[here].connections[0].on_message(marked_answer(services[here].frames[0]))
        assert waiting.result(PATIENT).place == "cloud"


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


def count_beats(service: FakeService) -> Callable[[], int]:
    """How many heartbeats have come from now on: time has gone by, and the loop has gone round."""
    beats: list[pb.EdgeMessage] = []

    def hear(message: pb.EdgeMessage) -> None:
        if message.HasField("heartbeat"):
            beats.append(message)

    service.heard = hear
    return lambda: len(beats)


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


def test_a_name_is_looked_up_again_before_a_look_so_that_new_services_are_found(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_where_the_place_to_move_to_is_gone_the_device_comes_back(
    tiny_bundle: Path, services: Services
) -> None:
    with opened(tiny_bundle) as agent:
        here = where(agent)
        there = services[other(here)]
        says(services[here], 40)
        says(there, 2)

        def gone_after_a_look(message: pb.EdgeMessage) -> None:
            if message.hello.look:
                there.reachable = False

        there.heard = gone_after_a_look
        there.reachable = True
        crowd(agent, services)
        until(lambda: agent.stats().connects == 2, "it is back")
        assert where(agent) == here
        assert agent.infer(PICTURE).place == "cloud"
