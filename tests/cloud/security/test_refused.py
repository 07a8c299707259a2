"""Whoever is turned away is told to who observes the service, once, by whichever face."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cloud.device import GUARD_S
from tritonclient.grpc import service_pb2 as oip

from isthmus.v1 import split_pb2, store_pb2
from isthmus_cloud import Core, ServiceConfig, listening
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.security import Caller, DeniedError, Identity, OpenDoor
from isthmus_cloud.security.identity import Role
from isthmus_cloud.serving import Door
from isthmus_cloud.startup import start_up
from isthmus_cloud.telemetry import Happening, Refused


class Picky(OpenDoor):
    """Turns callers away by what they call themselves."""

    def admit(self, caller: Caller, role: Role) -> Identity:
        who = caller.metadata["who"]
        if role == "operator":
            raise DeniedError("not for devices", "role", identity=who)
        return Identity(name=who)

    def stream(self, identity: Identity) -> None:
        if identity.name == "streams":
            raise DeniedError("too many streams", "streams", identity=identity.name)

    def frame(self, identity: Identity) -> None:
        if identity.name in {"rate", "token"}:
            raise DeniedError("not this one", identity.name, identity=identity.name)
        if identity.name == "in_flight":
            raise DeniedError("too many at once", "in_flight", 0.01, identity=identity.name)


class Seen:
    """An observer that keeps who was refused."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, str]] = []

    def note(self, happening: Happening) -> None:
        if isinstance(happening, Refused):
            assert happening.peer
            self.refused.append((happening.identity, happening.why))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def channel(tmp_path: Path, seen: Seen) -> AsyncIterator[grpc.aio.Channel]:
    """To a service with an empty store."""
    config = ServiceConfig(store=tmp_path, listen="127.0.0.1:0", threads=1)
    with DiskThreads() as disk:
        async with Core(config, seen) as core:
            room = await start_up(config, core, lambda _: None, disk)
            async with (
                listening(config, core, Door(guard=Picky(), store=room)) as service,
                grpc.aio.insecure_channel(service.address) as channel,
            ):
                yield channel


INFER, STREAM = oip.ModelInferRequest(), "inference.GRPCInferenceService/ModelStreamInfer"


@pytest.mark.parametrize(
    ("method", "request_", "who"),
    [
        ("inference.GRPCInferenceService/ModelInfer", INFER, "rate"),
        ("inference.GRPCInferenceService/ModelInfer", INFER, "in_flight"),
        (STREAM, INFER, "streams"),
        (STREAM, INFER, "rate"),
        (STREAM, INFER, "token"),
        (
            "inference.GRPCInferenceService/RepositoryModelUnload",
            oip.RepositoryModelUnloadRequest(model_name="no"),
            "anna",
        ),
        ("isthmus.v1.Store/List", store_pb2.ListRequest(), "anna"),
        ("isthmus.v1.Store/Push", store_pb2.PushMessage(), "anna"),
        ("isthmus.v1.Split/Stream", split_pb2.EdgeMessage(), "streams"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_it_is_told_once(
    channel: grpc.aio.Channel,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    method: str,
    request_: Any,
    who: str,
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud")
    call: Any = channel.stream_stream(f"/{method}", type(request_).SerializeToString)

    async def requests() -> AsyncIterator[Any]:
        yield request_

    answers = call(requests(), metadata=(("who", who),), timeout=GUARD_S)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await answers.read()
    assert ended.value.code() in {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
    assert seen.refused == [(who, "role" if who == "anna" else who)]
    assert "refused" not in caplog.messages  # the log is one of those who observe
