"""The log says who changed what is served, and who wanted to and could not."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cloud.store.serving import GUARD_S, Pusher, Served, push, serving
from tests.cloud.telemetry.observability import logged
from tests.tinybundle import build_tiny_bundle

from isthmus import ModelError
from isthmus.oip import RefusalError
from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import StoreStub
from isthmus_cloud import Core, ServiceConfig
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.oip.counted import Asker
from isthmus_cloud.oip.models import CALLER
from isthmus_cloud.security.asked import ASKED_BY
from isthmus_cloud.security.identity import Caller, DeniedError, Identity, OpenDoor, Role
from isthmus_cloud.server import listening
from isthmus_cloud.serving import Door, StoreRoom
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Store
from isthmus_cloud.telemetry import Activated, Happening, Refused, Unloaded


class Anna(OpenDoor):
    """Everybody is Anna, who is an operator for as long as nobody says otherwise."""

    role: Role = "operator"

    def admit(self, caller: Caller, role: Role) -> Identity:
        if role != self.role:
            raise DeniedError("not for devices", "role", identity="anna")
        return Identity(name="anna", role=role)


class Closed(OpenDoor):
    """Nobody comes in."""

    def admit(self, caller: Caller, role: Role) -> Identity:
        raise DeniedError("say the word", "token", identity="stranger")


class Seen:
    """An observer that keeps what is said of what is active, and who was refused."""

    def __init__(self) -> None:
        self.moves: list[Activated | Unloaded] = []
        self.refused: list[tuple[str, str]] = []

    def note(self, happening: Happening) -> None:
        if isinstance(happening, Refused):
            self.refused.append((happening.identity, happening.why))
        if isinstance(happening, Activated | Unloaded):
            self.moves.append(happening)

    def told(self) -> list[tuple[str, str, str]]:
        return [(type(each).__name__, each.version, each.identity) for each in self.moves]


@pytest.fixture
def guard() -> Anna:
    return Anna()


@pytest.fixture
async def served(tmp_path: Path, guard: Anna) -> AsyncIterator[Served]:
    root = tmp_path / "store"
    root.mkdir()
    async with serving(Store(root), guard) as served:
        yield served


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def room(tmp_path: Path, seen: Seen) -> AsyncIterator[StoreRoom]:
    """A store with two versions, the first of which is served."""
    for version in ("1", "2"):
        build_tiny_bundle(tmp_path / "tiny" / version, seed=int(version))
    Store(tmp_path).set_active("tiny", "1")
    config = ServiceConfig(store=tmp_path, threads=1, max_batch=1)
    with DiskThreads() as disk:
        async with Core(config, seen) as core:
            room = await start_up(config, core, lambda _: None, disk)
            assert room is not None
            yield room


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """Of this service's rooms; plain lines are events without fields."""
    return [
        (each.getMessage(), vars(each).get("fields", {}))
        for each in caplog.records
        if each.name.startswith("isthmus_cloud")
    ]


def assert_listed(caplog: pytest.LogCaptureFixture) -> None:
    """Each line has fields that the page on observability lists, and no other."""
    for event, fields in events(caplog):
        assert fields.keys() <= logged()[event]


async def test_what_an_operator_did_has_a_name(
    served: Served, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud")
    await push(served, tiny_bundle, "model", "v1")
    await served.operators.Remove(pb.RemoveRequest(name="model", version="v1"))
    assert_listed(caplog)
    told = [(event, fields["identity"], fields["version"]) for event, fields in events(caplog)]
    assert told == [("pushed", "anna", "v1"), ("removed", "anna", "v1")]


@pytest.mark.parametrize("call", ["activate", "rollback", "remove", "push"])
async def test_what_could_not_be_done_is_one_line_with_a_name(
    served: Served, tiny_bundle: Path, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud")
    if call == "push":
        pusher = Pusher(served, tiny_bundle)
        await pusher.piece("no/beginning", 0, b"x")
        await pusher.refused()
    else:
        operators = served.operators
        calls = {
            "activate": lambda: operators.Activate(pb.ActivateRequest(name="no", version="v1")),
            "rollback": lambda: operators.Rollback(pb.RollbackRequest(name="no")),
            "remove": lambda: operators.Remove(pb.RemoveRequest(name="no", version="v1")),
        }
        with pytest.raises(grpc.aio.AioRpcError):
            await calls[call]()
    ((event, fields),) = events(caplog)
    assert (event, fields["call"], fields["identity"]) == ("not_done", call, "anna")
    assert fields["why"]
    assert fields["peer"]
    assert_listed(caplog)


async def test_a_call_that_stalls_is_one_line_too(
    served: Served,
    tiny_bundle: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isthmus_cloud.faces.store.IDLE_S", 0.01)
    caplog.set_level(logging.INFO, "isthmus_cloud")
    error = await Pusher(served, tiny_bundle).refused()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    ((event, fields),) = events(caplog)
    assert (event, fields["call"], fields["identity"]) == ("not_done", "push", "anna")
    assert fields["why"] == error.details()
    assert fields["peer"]
    assert_listed(caplog)


async def test_who_may_not_is_told_once_with_a_name(
    served: Served, guard: Anna, caplog: pytest.LogCaptureFixture
) -> None:
    guard.role = "device"
    caplog.set_level(logging.INFO, "isthmus_cloud")
    with pytest.raises(grpc.aio.AioRpcError):
        await served.operators.Rollback(pb.RollbackRequest(name="no"))
    assert served.refused == [("anna", "role")]
    assert events(caplog) == []  # who observes the service writes the line


async def test_what_fails_when_nobody_listens_any_more_is_a_line_all_the_same(
    served: Served, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await push(served, tiny_bundle, "model", "v1")
    caplog.set_level(logging.INFO, "isthmus_cloud")
    deployer = served.deployer
    deployer.gate.clear()
    deployer.fault = ModelError("no such operator")
    call = served.operators.Activate(pb.ActivateRequest(name="model", version="v1"))
    async with asyncio.timeout(GUARD_S):
        await deployer.begun.wait()
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        while not caplog.messages:  # the service has not heard of it before this lets go
            await served.operators.List(pb.ListRequest())
            deployer.gate.set()
    ((event, fields),) = events(caplog)
    assert "no such operator" in f"{event} {fields}"


async def test_who_is_not_let_in_at_the_door_is_told_once(
    tmp_path: Path, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    """To the observers, whose log has the line; so there is no other one."""
    caplog.set_level(logging.INFO, "isthmus_cloud")
    root = tmp_path / "store"
    root.mkdir()
    config = ServiceConfig(store=root, listen="127.0.0.1:0", threads=1)
    with DiskThreads() as disk:
        async with Core(config, seen) as core:
            room = await start_up(config, core, lambda _: None, disk)
            door = Door(guard=Closed(), store=room)
            async with (
                listening(config, core, door) as service,
                grpc.aio.insecure_channel(service.address) as channel,
            ):
                stub: Any = StoreStub(channel)  # type: ignore[no-untyped-call]
                with pytest.raises(grpc.aio.AioRpcError, match="say the word"):
                    await stub.List(pb.ListRequest())
    assert seen.refused == [("stranger", "token")]
    assert [event for event, _ in events(caplog) if event == "refused"] == []


async def test_a_version_that_was_activated_tells_by_whom(room: StoreRoom, seen: Seen) -> None:
    ASKED_BY.set("anna")
    await room.activations.activate("tiny", "2")
    ASKED_BY.set("berta")
    await room.activations.rollback("tiny")
    assert seen.told() == [
        ("Activated", "1", ""),
        ("Activated", "2", "anna"),
        ("Activated", "1", "berta"),
    ]


async def test_loading_and_unloading_tell_by_whom(
    room: StoreRoom, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    CALLER.set(Asker("anna", "ipv4:10.0.0.1:1"))
    await room.repository.unload("tiny")
    await room.repository.unload("tiny")  # there is nothing to unload any more
    await room.repository.load("tiny")
    with pytest.raises(RefusalError):
        await room.repository.load("no")
    assert seen.told()[1:] == [("Unloaded", "1", "anna"), ("Activated", "1", "anna")]
    ((event, fields),) = events(caplog)
    assert (event, fields["call"], fields["identity"]) == ("not_done", "load", "anna")
    assert fields["peer"] == "ipv4:10.0.0.1:1"
    assert str(fields["why"]).startswith("no: ")
    assert_listed(caplog)
