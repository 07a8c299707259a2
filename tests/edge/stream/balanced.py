"""Two services at which a device looks, each as loaded as a test says, and a device of theirs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from tests.edge.fakes import FakeService
from tests.edge.stream.clouds import install
from tests.tinybundle import tiny_pictures

from isthmus.session import device
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Pace, contact
from isthmus_edge.stream import addresses, balance

PICTURE = tiny_pictures(1)[0]
ONE, TWO = "10.0.0.1", "10.0.0.2"
BOTH = f"{ONE}:50051,{TWO}:50051"

Services = dict[str, FakeService]

__all__ = [
    "BOTH",
    "ONE",
    "PICTURE",
    "TWO",
    "Services",
    "Wins",
    "both",
    "count_beats",
    "crowd",
    "first",
    "hasten",
    "looks",
    "opened",
    "other",
    "says",
    "where",
]


class Wins(Random):
    """A lot that always falls to who draws it."""

    def random(self) -> float:
        return 0.0


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come at once, and again and again; whose lot it is moves. Hearts beat fast."""
    monkeypatch.setattr(balance, "FIRST_LOOK_S", (0.0, 0.0))
    for name in ("SPREAD_S", "LEAST_REST_S", "MOST_REST_S", "PRESSED_REST_S"):
        monkeypatch.setattr(balance, name, 0.05)
    for name in ("BEAT_S", "BUSY_BEAT_S"):
        monkeypatch.setattr(device, name, 0.02)
    monkeypatch.setattr(contact, "SystemRandom", Wins)


def both(monkeypatch: pytest.MonkeyPatch) -> Services:
    """What agents reach at `BOTH` from now on, in a hurry."""
    hasten(monkeypatch)
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


def count_beats(service: FakeService) -> Callable[[], int]:
    """How many heartbeats have come from now on: time has gone by, and the loop has gone round."""
    beats: list[pb.EdgeMessage] = []

    def hear(message: pb.EdgeMessage) -> None:
        if message.HasField("heartbeat"):
            beats.append(message)

    service.heard = hear
    return lambda: len(beats)
