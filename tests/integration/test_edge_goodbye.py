"""How devices leave a real service, and how it turns one away that it has no place for."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud, until
from tests.edge.daemon.files import until_soon
from tests.tinybundle import tiny_pictures

from isthmus.v1 import split_pb2 as pb
from isthmus_cli import main
from isthmus_cloud import Core, ServiceConfig, listening
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.startup import start_up
from isthmus_cloud.telemetry import Happening, StreamClosed
from isthmus_edge import Agent, AgentConfig, Connection, OnEnd, OnMessage
from isthmus_edge.doctor import DoctorConfig, conversation, diagnose
from isthmus_edge.stream import uplink
from isthmus_edge.stream.transport import GrpcTransport

PICTURES = tiny_pictures(4)
RUNS = 4


class Ends:
    """Why streams have ended, as the service says it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def note(self, happening: Happening) -> None:
        """See `Observer`."""
        if isinstance(happening, StreamClosed):
            self.reasons.append(happening.why)


@dataclass(frozen=True, slots=True)
class Served:
    """A service in this process; `reasons` are why its streams have ended."""

    address: str
    core: Core
    reasons: list[str]


class Deaf:
    """The real transport, on a link that dies without a word when it `is_dead`."""

    def __init__(self, address: str) -> None:
        self._transport = GrpcTransport(address, None, 1_000_000)
        self.is_dead = threading.Event()

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """See `Transport`."""

        def heard(message: pb.CloudMessage) -> None:
            if not self.is_dead.is_set():
                on_message(message)

        return self._transport.connect(heard, lambda end: None)


@pytest.fixture
async def served(tiny_bundle: Path) -> AsyncIterator[Served]:
    config = ServiceConfig(bundle=tiny_bundle, threads=1, window=4, listen="127.0.0.1:0")
    ends = Ends()
    with DiskThreads() as disk:
        async with Core(config, ends) as core:
            await start_up(config, core, lambda _: None, disk)
            async with listening(config, core) as service:
                yield Served(service.address, core, ends.reasons)


@pytest.fixture
def config(tiny_bundle: Path, served: Served) -> AgentConfig:
    return AgentConfig(
        bundle=tiny_bundle, cloud=served.address, candidate="cut-16", patience_ms=6e4
    )


async def test_a_device_that_ends_leaves_nothing_behind_at_the_service(
    served: Served, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run alike: the last results are settled, whatever heartbeat went before."""
    monkeypatch.setattr(uplink, "GOODBYE_S", PATIENCE_S)
    for run in range(1, RUNS + 1):
        async with await asyncio.to_thread(Agent.open, config) as agent:
            for picture in PICTURES:
                assert (await agent.infer_async(picture)).place == "cloud"
        await until_soon(lambda run=run: len(served.reasons) == run, "ended")  # type: ignore[misc]
        assert (served.core.sessions.count, served.core.sessions.parked) == (0, 0)
    assert served.reasons == ["the device has said all"] * RUNS


async def test_frames_that_are_given_up_at_the_end_leave_nothing_behind_either(
    served: Served, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "GOODBYE_S", PATIENCE_S)
    agent = await asyncio.to_thread(Agent.open, config)
    futures = [agent.submit(picture) for picture in PICTURES]
    await asyncio.to_thread(agent.close, 0.0)
    assert all(future.done() for future in futures)
    await until_soon(lambda: len(served.reasons) == 1, "ended")
    await until_soon(lambda: served.core.sessions.count == 0, "nothing is in flight any more")
    assert served.reasons == ["the device has said all"]


async def test_a_service_that_says_nothing_more_is_left_all_the_same(
    served: Served, config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "GOODBYE_S", 0.05)
    transport = Deaf(served.address)
    settings = replace(config, silence_s=3600.0)  # or that would end it, too
    agent = await asyncio.to_thread(Agent.open, settings, transport=transport)
    assert (await agent.infer_async(PICTURES[0])).place == "cloud"
    transport.is_dead.set()
    closing = threading.Thread(target=agent.close, daemon=True)  # which nobody waits for
    closing.start()
    await until_soon(lambda: not closing.is_alive(), "closed")
    assert agent.stats().link_state == "down"


async def test_the_doctor_leaves_in_order_too(
    served: Served, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "GOODBYE_S", PATIENCE_S)
    look = DoctorConfig(bundle=tiny_bundle, cloud=served.address, only=("link",))
    await asyncio.to_thread(diagnose, look)
    await until_soon(lambda: len(served.reasons) == 1, "ended")
    assert served.reasons == ["the device has said all"]


def test_a_second_stream_of_an_identity_that_may_have_one_is_refused_and_asked_again(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "LONGEST_RETRY_S", 0.05)  # the service asks for some seconds
    file, own = tmp_path / "tokens.jsonl", tmp_path / "own.token"
    flags = ("--file", file, "--out", own, "--max-streams", 1)
    assert main(["tokens", "add", "vid", *map(str, flags)]) == 0
    with Cloud(tiny_bundle, "127.0.0.1:0", "--tokens", file) as cloud:
        config = AgentConfig(
            bundle=tiny_bundle, cloud=cloud.address, candidate="cut-16", token_file=own
        )
        with Agent.open(config) as first, Agent.open(config) as second:
            assert first.infer(PICTURES[0]).place == "cloud"
            assert second.stats().link_state == "refused"
            assert second.infer(PICTURES[0]).place == "device"
            (event,) = second.stats().events
            first.close()
            until(lambda: second.stats().link_state == "up", "it is asked again")
    assert event.text.startswith("refused by the cloud")
    assert "vid has 1 stream" in event.text
    assert "isthmus tokens" in event.text
    assert "not there" not in event.text
