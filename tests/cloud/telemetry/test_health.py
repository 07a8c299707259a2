"""gRPC's health service, asked as load balancers and probes ask it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from isthmus.oip.health import HEALTH_NAME
from isthmus.oip.messages import health_pb
from isthmus_cloud import RunningService
from isthmus_cloud.telemetry.health import INFERENCE_SERVICE, SPLIT_SERVICE, Health

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
GUARD_S = 30


class Probe:
    """A client of one server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)

    async def check(self, service: str = "") -> int:
        """The status of a service."""
        call = self.channel.unary_unary(
            f"/{HEALTH_NAME}/Check",
            request_serializer=_serialised,
            response_deserializer=health_pb.HealthCheckResponse.FromString,
        )
        request = health_pb.HealthCheckRequest(service=service)
        return int((await call(request, timeout=GUARD_S)).status)

    def watch(self, service: str = "") -> Any:
        """A call that tells it whenever it changes."""
        call = self.channel.unary_stream(
            f"/{HEALTH_NAME}/Watch",
            request_serializer=_serialised,
            response_deserializer=health_pb.HealthCheckResponse.FromString,
        )
        return call(health_pb.HealthCheckRequest(service=service), timeout=GUARD_S)


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def probe(health: Health) -> AsyncIterator[Probe]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((health.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    probe = Probe(f"127.0.0.1:{port}")
    try:
        yield probe
    finally:
        await probe.channel.close()
        await server.stop(None)


async def test_a_service_serves_once_it_was_said_so(health: Health, probe: Probe) -> None:
    services = ("", SPLIT_SERVICE, INFERENCE_SERVICE)
    assert [await probe.check(each) for each in services] == [NOT_SERVING] * 3
    health.serving(SPLIT_SERVICE)
    assert [await probe.check(each) for each in services] == [NOT_SERVING, SERVING, NOT_SERVING]
    health.serving()
    assert [await probe.check(each) for each in services] == [SERVING] * 3
    health.serving(INFERENCE_SERVICE, is_so=False)
    assert [await probe.check(each) for each in services] == [NOT_SERVING, SERVING, NOT_SERVING]


async def test_nobody_serves_while_the_service_drains(health: Health, probe: Probe) -> None:
    health.serving()
    assert health.is_ready
    health.drain()
    health.serving()
    for service in ("", SPLIT_SERVICE, INFERENCE_SERVICE):
        assert await probe.check(service) == NOT_SERVING
    assert not health.is_ready


async def test_an_unknown_service_is_not_found(probe: Probe) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await probe.check("x" * 1000)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(caught.value.details() or "") < 100


async def test_changes_are_told_as_they_come_until_the_end(health: Health, probe: Probe) -> None:
    call = probe.watch(SPLIT_SERVICE)
    assert (await call.read()).status == NOT_SERVING
    health.serving(INFERENCE_SERVICE)  # of another one: no news
    health.serving(SPLIT_SERVICE)
    assert (await call.read()).status == SERVING
    health.drain()
    assert (await call.read()).status == NOT_SERVING
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_who_watches_an_unknown_service_is_told_so_and_may_wait(probe: Probe) -> None:
    call = probe.watch("not.here")
    assert (await call.read()).status == SERVICE_UNKNOWN
    call.cancel()


async def test_watchers_are_bounded_and_give_their_places_back(
    health: Health, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.oip.health.MOST_WATCHERS", 4)
    health.serving()
    calls = [probe.watch() for _ in range(4)]
    assert {(await call.read()).status for call in calls} == {SERVING}
    one_more = probe.watch()
    assert await one_more.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await probe.check() == SERVING
    calls.pop().cancel()
    async with asyncio.timeout(GUARD_S):
        while await _code_or_first(probe.watch()) is grpc.StatusCode.RESOURCE_EXHAUSTED:
            pass  # the server learns of the cancellation in its own time


async def _code_or_first(call: Any) -> object:
    try:
        return (await call.read()).status
    except grpc.aio.AioRpcError as error:
        return error.code()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_what_the_service_offers_is_not_told_to_strangers(
    service: RunningService, version: str
) -> None:
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    async with grpc.aio.insecure_channel(service.address) as channel:
        call: Any = channel.stream_stream(method)(timeout=GUARD_S)
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
