"""Whoever asks whether the service is ready is told the truth, and why it is not."""

import logging
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tests.cloud.announcements import whole
from tests.cloud.device import GUARD_S
from tests.protos.web.asking import Answered, ask
from tests.tinybundle import build_tiny_bundle

from isthmus.oip.handlers import SERVICE_NAME
from isthmus.oip.health import HEALTH_NAME
from isthmus.oip.messages import health_pb
from isthmus.oip.messages import pb as oip_pb
from isthmus.v1 import store_pb2, store_pb2_grpc
from isthmus.web import WebConfig
from isthmus_cloud import ServiceConfig
from isthmus_cloud.store import Store
from isthmus_cloud.telemetry.health import Health

FREE = "127.0.0.1:0"


@dataclass(frozen=True)
class Asked:
    """A running service with a page."""

    channel: grpc.aio.Channel
    page: str

    async def readyz(self) -> Answered:
        return await ask(self.page, "/readyz")

    async def health(self, service: str = "") -> bool:
        """What gRPC's health service says."""
        check = self.channel.unary_unary(
            f"/{HEALTH_NAME}/Check",
            request_serializer=health_pb.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb.HealthCheckResponse.FromString,
        )
        request = health_pb.HealthCheckRequest(service=service)
        return int((await check(request, timeout=GUARD_S)).status) == 1

    async def inference(self) -> bool:
        """What the Open Inference Protocol says."""
        ready = self.channel.unary_unary(
            f"/{SERVICE_NAME}/ServerReady",
            request_serializer=oip_pb.ServerReadyRequest.SerializeToString,
            response_deserializer=oip_pb.ServerReadyResponse.FromString,
        )
        return bool((await ready(oip_pb.ServerReadyRequest(), timeout=GUARD_S)).ready)

    async def all(self) -> set[bool]:
        """Everything that can be asked."""
        told = {(await self.readyz()).status == 200, await self.inference()}
        return told | {await self.health(name) for name in ("", "isthmus.v1.Split", SERVICE_NAME)}

    async def activate(self, name: str, version: str) -> None:
        store = store_pb2_grpc.StoreStub(self.channel)  # type: ignore[no-untyped-call]
        request = store_pb2.ActivateRequest(name=name, version=version)
        await store.Activate(request, timeout=GUARD_S)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store whose model "broken" is active in a version that cannot be loaded."""
    root = tmp_path / "store"
    build_tiny_bundle(root / "tiny" / "1")
    build_tiny_bundle(root / "broken" / "good", seed=1)
    bad = build_tiny_bundle(root / "broken" / "bad", seed=2)
    (bad / "cloud/tail-1.onnx").write_bytes(b"no model")
    store = Store(root)
    store.set_active("tiny", "1")
    store.set_active("broken", "bad")
    return root


def config(root: Path) -> ServiceConfig:
    return ServiceConfig(
        store=root, threads=1, provider="cpu", web=WebConfig(listen=FREE), drain_grace_s=0
    )


@pytest.fixture
async def asked(root: Path) -> AsyncIterator[Asked]:
    async with (
        whole(config(root)) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        yield Asked(channel, service.page)


async def test_a_model_that_could_not_be_loaded_keeps_the_service_from_being_ready(
    asked: Asked,
) -> None:
    assert await asked.all() == {False}
    told = await asked.readyz()
    assert told.status == 503
    assert b"broken bad" in told.body
    assert b"tiny" not in told.body
    await asked.activate("tiny", "1")  # another one says nothing of it
    assert await asked.all() == {False}
    await asked.activate("broken", "good")
    assert await asked.all() == {True}
    assert (await asked.readyz()).body == b"ok\n"


async def test_the_log_says_what_is_not_served_and_why(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with whole(config(root)):
        (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "broken bad is not served" in line.getMessage()
    assert "tail-1.onnx" in line.getMessage()


async def test_a_pointer_that_cannot_be_read_is_a_model_that_lacks(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Store(root).set_active("broken", "good")
    (root / "tiny" / ".active.json").write_text("{", encoding="utf-8")
    async with whole(config(root)) as service:
        told = await ask(service.page, "/readyz")
    assert (told.status, b"tiny" in told.body) == (503, True)
    assert "tiny is not served: which version of tiny is active cannot be read" in caplog.text


async def test_a_model_whose_only_version_was_taken_away_lacks_too(root: Path) -> None:
    shutil.rmtree(root / "tiny" / "1")
    Store(root).set_active("broken", "good")
    async with whole(config(root)) as service:
        told = await ask(service.page, "/readyz")
    assert (told.status, b"tiny 1" in told.body, b"broken" in told.body) == (503, True, False)


async def test_an_empty_store_is_ready_to_be_filled(tmp_path: Path) -> None:
    async with whole(config(tmp_path / "new")) as service:
        assert (await ask(service.page, "/readyz")).status == 200


async def test_a_service_that_loads_says_that_it_is_starting() -> None:
    health = Health()
    assert (health.state, health.why_not) == ("starting", "the service is starting")
    health.serving()
    assert (health.state, health.why_not) == ("running", "")
    health.drain()
    assert health.state == "draining"
    assert "draining" in health.why_not
