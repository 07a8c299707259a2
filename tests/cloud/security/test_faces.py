"""All faces of the real service stand behind the same guard."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from tests.cloud.device import GUARD_S, Device, Head
from tests.cloud.security.loris import Loris
from tests.cloud.security.probe import bearer, calling
from tests.cloud.serving import answering, deployment_of

from isthmus import Bundle
from isthmus.oip.handlers import SERVICE_NAME
from isthmus.oip.messages import pb as oip
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, ServiceConfig, listening
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.security import TokenGuard
from isthmus_cloud.security.tokens import Entry, Token, digest_of, new_token
from isthmus_cloud.serving import Door

SECRET = {name: new_token() for name in ("camera", "thrifty", "anna")}
HEALTH = "/grpc.health.v1.Health/Check"


def entry(name: str, **fields: Any) -> Entry:
    return Entry(name=name, tokens=(Token(sha256=digest_of(SECRET[name])),), **fields)


@pytest.fixture
def guard() -> TokenGuard:
    guard = TokenGuard()
    thrifty = entry("thrifty", max_streams=1, max_frames_per_s=2)
    guard.use([entry("camera"), thrifty, entry("anna", role="operator")])
    return guard


@pytest.fixture
async def address(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail], guard: TokenGuard
) -> AsyncIterator[str]:
    with answering(bundle.manifest, tails) as answers:
        async with Core(config, desk=answers.desk) as core:
            core.deployments.activate(deployment_of(bundle, answers))
            async with listening(config, core, Door(guard=guard)) as service:
                yield service.address


def device(address: str, name: str | None) -> Any:
    return calling(address, None, bearer(SECRET[name]) if name else ())


async def asked(address: str, method: str, request: Message, name: str | None = None) -> Any:
    """The status of a call with one message."""
    metadata = tuple(bearer(SECRET[name])) if name else ()
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(method, type(request).SerializeToString)
        try:
            await call(request, metadata=metadata, timeout=GUARD_S)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_the_split_stream_asks_for_a_token(address: str, bundle: Bundle, head: Head) -> None:
    async with device(address, None) as stranger:
        assert await stranger.broken_off() is grpc.StatusCode.UNAUTHENTICATED
    async with device(address, "camera") as camera:
        await camera.hello(bundle.fingerprint)
        await camera.send(frame=head.frame("cut-16"))
        await camera.result()


async def test_one_more_stream_than_an_identity_may_have_is_refused(
    address: str, bundle: Bundle
) -> None:
    async with device(address, "thrifty") as one:
        await one.hello(bundle.fingerprint)
        async with device(address, "thrifty") as two:
            assert await two.broken_off() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await one.roundtrip()


async def test_a_frame_too_many_is_told_with_a_time_to_come_back(
    address: str, bundle: Bundle, head: Head
) -> None:
    async with device(address, "thrifty") as thrifty:
        await thrifty.hello(bundle.fingerprint)
        for sequence in (1, 2, 3):
            await thrifty.send(frame=head.frame("cut-16", sequence))
        told = [await thrifty.receive() for _ in range(3)]
    errors = [message.error for message in told if message.HasField("error")]
    assert [message.result.sequence for message in told if message.HasField("result")] == [1, 2]
    assert [(error.sequence, error.code) for error in errors] == [(3, pb.ERROR_CODE_OVERLOADED)]
    assert 0 < errors[0].retry_after_ms <= 500


async def test_nobody_takes_over_the_session_of_another(address: str, bundle: Bundle) -> None:
    async with device(address, "camera") as camera:
        await camera.hello(bundle.fingerprint)
        async with device(address, "anna") as thief:
            answer = await thief.hello(bundle.fingerprint, session_id=camera.session_id)
            assert answer.error.code == pb.ERROR_CODE_PROTOCOL
        await camera.roundtrip()
        async with device(address, "camera") as again:
            assert (await again.hello(bundle.fingerprint, session_id=camera.session_id)).HasField(
                "welcome"
            )


@pytest.mark.parametrize(
    ("method", "request_", "stranger", "camera"),
    [
        ("ServerLive", oip.ServerLiveRequest(), "OK", "OK"),
        ("ServerReady", oip.ServerReadyRequest(), "OK", "OK"),
        ("ServerMetadata", oip.ServerMetadataRequest(), "UNAUTHENTICATED", "OK"),
        ("ModelInfer", oip.ModelInferRequest(), "UNAUTHENTICATED", "INVALID_ARGUMENT"),
        ("RepositoryIndex", oip.RepositoryIndexRequest(), "UNAUTHENTICATED", "OK"),
        (
            "RepositoryModelLoad",
            oip.RepositoryModelLoadRequest(),
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
        ),
        (
            "RepositoryModelUnload",
            oip.RepositoryModelUnloadRequest(),
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_inference_protocol_asks_who_it_is(
    address: str, method: str, request_: Message, stranger: str, camera: str
) -> None:
    path = f"/{SERVICE_NAME}/{method}"
    assert (await asked(address, path, request_)).name == stranger
    assert (await asked(address, path, request_, "camera")).name in {camera, "NOT_FOUND"}


async def test_an_operator_may_load(address: str) -> None:
    path = f"/{SERVICE_NAME}/RepositoryModelLoad"
    code = await asked(address, path, oip.RepositoryModelLoadRequest(), "anna")
    assert code not in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}


async def test_probes_ask_after_the_health_without_a_token(address: str) -> None:
    assert await asked(address, HEALTH, oip.ServerLiveRequest()) is grpc.StatusCode.OK


async def test_a_stream_of_requests_ends_with_the_rate_of_its_caller(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(
            f"/{SERVICE_NAME}/ModelStreamInfer", oip.ModelInferRequest.SerializeToString
        )
        stream = call(metadata=tuple(bearer(SECRET["thrifty"])))
        for _ in range(3):
            await stream.write(oip.ModelInferRequest())
        ended = Device(stream)
        assert await ended.broken_off() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(await stream.trailing_metadata())
    assert 0 < int(trailers["retry-after-ms"]) <= 500


@pytest.mark.parametrize("method", ["ModelInfer", "ServerMetadata"])
async def test_half_a_message_of_a_stranger_is_not_waited_for(address: str, method: str) -> None:
    async with asyncio.timeout(GUARD_S):
        loris = await Loris.arrived(address, f"/{SERVICE_NAME}/{method}")
        status, sent = await loris.drip(10_000)
        loris.leave()
    assert (status, sent < 500) == ("16", True)
