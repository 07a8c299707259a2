"""Devices spread over the services of one name, and lose no frame on the way."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud
from tests.edge.stream.clouds import Names
from tests.reference import Reference
from tests.tinybundle import tiny_pictures

from isthmus_edge import Agent, AgentConfig, Answer
from isthmus_edge.stream import addresses, balance, ways

HERE, BESIDE, BEYOND = "127.0.0.1", "127.0.0.2", "127.0.0.3"  # Linux is all of 127.0.0.0/8
PICTURE = tiny_pictures(1)[0]
DEVICES = 6
FRAMES_PER_S = 50  # of all of them


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes elsewhere takes parts of a second."""
    monkeypatch.setattr(balance, "FIRST_LOOK_S", (0.1, 0.5))
    monkeypatch.setattr(balance, "SPREAD_S", 0.5)
    monkeypatch.setattr(balance, "LEAST_REST_S", 0.2)
    monkeypatch.setattr(balance, "MOST_REST_S", 0.5)
    monkeypatch.setattr(balance, "PRESSED_REST_S", 0.5)
    monkeypatch.setattr(addresses, "LOOK_UP_S", 0.1)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(ways, "SystemResolver", lambda: names)
    return names


class Fleet:
    """Devices with frames under way all the time."""

    def __init__(self, agents: list[Agent], reference: Reference) -> None:
        self._agents = agents
        self._reference = reference
        self._futures: list[Future[Answer]] = []
        self._never = threading.Event()

    @property
    def at(self) -> Counter[str]:
        """How many are connected to each service, by IP address."""
        services = [agent.stats().service for agent in self._agents]
        return Counter(each.address.rpartition(":")[0] for each in services if each is not None)

    @property
    def moves(self) -> int:
        return sum(agent.stats().moves for agent in self._agents)

    def flow(self, happened: Callable[[], bool], what: str) -> None:
        """Frames of all until it has happened."""
        last_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < last_s, f"not within {PATIENCE_S:g} s: {what}: {self.at}"
            for agent in self._agents:
                self._futures.append(agent.submit(PICTURE, candidate="cut-16"))
                self._never.wait(1 / FRAMES_PER_S)

    def flow_until_the_cloud_answers_all(self) -> None:
        before = self._by_cloud()

        def is_so() -> bool:
            return all(now > was for now, was in zip(self._by_cloud(), before, strict=True))

        self.flow(is_so, "the cloud answers all of them")

    def assert_settled(self) -> None:
        """Every frame was answered once, and rightly."""
        answers = [future.result(PATIENCE_S) for future in self._futures]
        assert all(self._reference.is_right(answer, PICTURE) for answer in answers)
        assert {answer.candidate for answer in answers} == {"cut-16"}
        stats = [agent.stats() for agent in self._agents]
        assert sum(each.accepted for each in stats) == len(answers)
        for each in stats:
            assert each.accepted == each.answered_cloud + each.answered_device
            assert (each.errors, each.pending, each.ended_twice) == (0, 0, 0)

    def _by_cloud(self) -> list[int]:
        return [agent.stats().answered_cloud for agent in self._agents]


@contextmanager
def fleet(bundle: Path, cloud: str) -> Iterator[Fleet]:
    config = AgentConfig(
        bundle=bundle,
        cloud=cloud,
        insecure=True,
        max_queued=10_000,
        patience_ms=2000.0,
        heed_vitals=False,
    )
    reference = Reference(bundle)
    with ExitStack() as agents:
        opened = [agents.enter_context(Agent.open(config)) for _ in range(DEVICES)]
        yield Fleet(opened, reference)


def test_a_second_service_gets_its_share_of_the_devices_and_no_frame_is_lost(
    tiny_bundle: Path, names: Names
) -> None:
    names.known["cloud"] = (HERE,)
    with Cloud(tiny_bundle) as one:
        port = one.address.rpartition(":")[2]
        with fleet(tiny_bundle, f"dns:cloud:{port}") as devices:
            devices.flow_until_the_cloud_answers_all()
            assert devices.at == {HERE: DEVICES}
            with Cloud(tiny_bundle, f"{BESIDE}:{port}") as two:
                names.known["cloud"] = (HERE, BESIDE)
                half = DEVICES // 2
                devices.flow(lambda: devices.at == {HERE: half, BESIDE: half}, "they are even")
                devices.flow_until_the_cloud_answers_all()
                assert devices.moves >= half
                two.process.kill()
                devices.flow(lambda: devices.at == {HERE: DEVICES}, "all are at the first one")
                devices.flow_until_the_cloud_answers_all()
                devices.assert_settled()


def test_of_three_services_one_drains_and_its_devices_go_to_the_others_without_a_loss(
    tiny_bundle: Path, names: Names
) -> None:
    names.known["cloud"] = (HERE, BESIDE, BEYOND)
    with Cloud(tiny_bundle) as one:
        port = one.address.rpartition(":")[2]
        with (
            Cloud(tiny_bundle, f"{BESIDE}:{port}"),
            Cloud(tiny_bundle, f"{BEYOND}:{port}") as three,
            fleet(tiny_bundle, f"dns:cloud:{port}") as devices,
        ):
            devices.flow(lambda: set(devices.at.values()) == {DEVICES // 3}, "they are even")
            devices.flow_until_the_cloud_answers_all()
            three.process.send_signal(signal.SIGTERM)
            half = DEVICES // 2
            devices.flow(lambda: devices.at == {HERE: half, BESIDE: half}, "the others have them")
            assert three.ended().status == 0
            devices.flow_until_the_cloud_answers_all()
            devices.assert_settled()
