"""A device whose answers are audited moves between real services: no frame, no verdict suffers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S
from tests.doctored import build_doctored_bundle
from tests.edge.fakes import PlannedPace
from tests.edge.stream.balanced import hasten
from tests.tinybundle import tiny_pictures

from isthmus import open_bundle
from isthmus_cloud import Core, ServiceConfig, listening
from isthmus_cloud.audits.auditing import UnsplitAuditor
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.startup import start_up
from isthmus_cloud.telemetry import Audited, Happening
from isthmus_edge import Agent, AgentConfig, Stats
from isthmus_edge.audit import audits

PICTURES = tiny_pictures(8)
MOVES = 4
CHECKS = 3  # of a service, after each move


class Verdicts:
    """What one service has said of audited answers."""

    def __init__(self) -> None:
        self.all: list[Audited] = []

    def note(self, happening: Happening) -> None:
        """See `Observer`."""
        if isinstance(happening, Audited):
            self.all.append(happening)


@dataclass(frozen=True, slots=True)
class Services:
    """Two in this process: what each has said, by its address."""

    said: dict[str, Verdicts]

    def other(self, address: str) -> str:
        (found,) = self.said.keys() - {address}
        return found

    def compared(self, address: str) -> int:
        return sum(each.compared for each in self.said[address].all)


@asynccontextmanager
async def serving(bundle: Path, disk: DiskThreads, verdicts: Verdicts) -> AsyncIterator[str]:
    config = ServiceConfig(bundle=bundle, threads=1, window=4, listen="127.0.0.1:0")
    async with Core(config, verdicts) as core:
        await start_up(config, core, lambda _: None, disk)
        async with listening(config, core) as service:
            yield service.address


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return build_doctored_bundle(tiny_bundle, tmp_path / "bundle", "none")


@pytest.fixture
async def services(bundle: Path) -> AsyncIterator[Services]:
    said: dict[str, Verdicts] = {}
    with DiskThreads() as disk:
        async with AsyncExitStack() as stack:
            for verdicts in (Verdicts(), Verdicts()):
                address = await stack.enter_async_context(serving(bundle, disk, verdicts))
                said[address] = verdicts
            yield Services(said)


class Device:
    """Every frame of its own is audited; another one comes to its service, so that it leaves."""

    def __init__(self, agent: Agent, bundle: Path, services: Services) -> None:
        self._agent = agent
        self._services = services
        self._bundle = bundle
        self._pictures = cycle(PICTURES)

    @property
    def at(self) -> str:
        """The address of the service that it is connected to, "" on the way."""
        service = self._agent.stats().service
        return "" if service is None else service.address

    @property
    def stats(self) -> Stats:
        return self._agent.stats()

    async def flow(self, happened: Callable[[], bool], what: str) -> None:
        """One frame after the other until it has happened."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not happened():
                    await self._agent.infer_async(next(self._pictures))
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S:g} s: {what}: {self.stats}") from None

    async def flow_until_audited(self) -> None:
        """Where it is now."""
        at = self.at
        enough = self._services.compared(at) + CHECKS
        await self.flow(lambda: self._services.compared(at) >= enough, f"{at} compares")

    @asynccontextmanager
    async def leaving(self) -> AsyncIterator[str]:
        """To the other service, whose address this is, from the one that gets a second device."""
        here = self.at
        crowd = AgentConfig(bundle=self._bundle, cloud=here, balance=False, require_cloud=True)
        async with await asyncio.to_thread(Agent.open, crowd):
            yield self._services.other(here)


@pytest.fixture
async def device(
    bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Device]:
    hasten(monkeypatch)
    config = AgentConfig(
        bundle=bundle,
        cloud=tuple(services.said),
        require_cloud=True,
        rate_control=False,
        audit_share=1.0,
        silence_s=PATIENCE_S,
        patience_ms=PATIENCE_S * 1e3,
    )
    pace = PlannedPace(open_bundle(bundle, "device").manifest)
    async with await asyncio.to_thread(partial(Agent.open, config, pace=pace)) as agent:
        yield Device(agent, bundle, services)


def assert_nothing_suffered(stats: Stats, services: Services, moves: int) -> None:
    assert stats.accepted == stats.answered_cloud + stats.answered_device
    assert (stats.errors, stats.pending, stats.ended_twice, stats.duplicates) == (0, 0, 0, 0)
    assert stats.audits.agreed == stats.audits.checked > 0
    assert stats.audits.not_compared == 0
    assert not any(rung.has_drifted for rung in stats.audits.by_rung.values())
    assert stats.moves == moves
    assert [event.text.split()[0] for event in stats.events] == ["moving"] * moves
    said = [each for verdicts in services.said.values() for each in verdicts.all]
    assert [each for each in said if not (each.compared and each.agrees)] == []


async def test_a_device_that_moves_again_and_again_is_audited_wherever_it_is(
    services: Services, device: Device
) -> None:
    await device.flow_until_audited()
    for _ in range(MOVES):
        async with device.leaving() as there:
            await device.flow(lambda there=there: device.at == there, "it moves")  # type: ignore[misc]
            await device.flow_until_audited()
    assert_nothing_suffered(device.stats, services, MOVES)


@pytest.mark.parametrize(
    ("where", "what"),
    [(audits, "_encoded"), (UnsplitAuditor, "_compare")],
    ids=["before its input is sent", "before its verdict"],
)
async def test_an_audit_that_is_under_way_keeps_no_device_and_is_held_against_nobody(
    services: Services,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    what: str,
) -> None:
    """Its raw input goes to no stranger, which could not compare it with anything."""
    await device.flow_until_audited()
    begun, go_on, do = threading.Event(), threading.Event(), getattr(where, what)

    def held(*arguments: object) -> object:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return do(*arguments)

    monkeypatch.setattr(where, what, held)
    await device.flow(begun.is_set, "an audit is under way")
    async with device.leaving() as there:
        await device.flow(lambda: device.at == there, "it moves")
        go_on.set()
        await device.flow_until_audited()
    assert_nothing_suffered(device.stats, services, 1)
