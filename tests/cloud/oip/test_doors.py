"""Whole models behind the same door as devices: who may ask, and how much."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import tritonclient.grpc.aio as triton
from tests.cloud.device import GUARD_S, Head
from tests.cloud.oip.test_triton import asked
from tests.cloud.serving import Answers, deployment_of
from tritonclient.utils import InferenceServerException

from isthmus import Bundle
from isthmus_cloud import Core, RunningService, ServiceConfig, listening
from isthmus_cloud.faces.oip import _Counting
from isthmus_cloud.security import Caller, DeniedError, Identity, OpenDoor
from isthmus_cloud.security.identity import Role
from isthmus_cloud.serving import Door


class Counter(OpenDoor):
    """Lets in who says a word, as a device; counts frames."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.frames = 0
        self.seen = 0

    def admit(self, caller: Caller, role: Role) -> Identity:
        if caller.metadata.get("authorization") != "Bearer word":
            raise DeniedError("say the word", "token")
        if role == "operator":
            raise DeniedError("not for devices", "role")
        return Identity(name="one")

    def frame(self, identity: Identity) -> None:
        if self.frames >= self.most:
            raise DeniedError("too many frames at once", "in_flight", retry_after_s=0.5)
        self.frames += 1
        self.seen += 1

    def frame_ended(self, identity: Identity) -> None:
        self.frames -= 1


WORD = {"authorization": "Bearer word"}


@pytest.fixture
def guard() -> Counter:
    return Counter()


@pytest.fixture
async def guarded(
    config: ServiceConfig, bundle: Bundle, answerer: Answers, guard: Counter
) -> AsyncIterator[RunningService]:
    async with Core(config, desk=answerer.desk) as core:
        core.deployments.activate(deployment_of(bundle, answerer))
        async with listening(config, core, Door(guard=guard)) as service:
            yield service


@pytest.fixture
async def client(guarded: RunningService) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(guarded.address) as client:
        yield client


async def test_probes_need_no_token_and_everything_else_does(
    client: triton.InferenceServerClient, head: Head
) -> None:
    assert await client.is_server_live()
    with pytest.raises(InferenceServerException, match="say the word"):
        await client.infer("tiny", asked(head.pictures[0]))
    with pytest.raises(InferenceServerException, match="say the word"):
        await client.get_model_metadata("tiny")
    assert (await client.get_model_metadata("tiny", headers=WORD)).name == "tiny"


async def test_a_device_may_not_load_models(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="not for devices"):
        await client.unload_model("tiny", headers=WORD)


async def test_an_item_counts_as_a_frame_until_it_is_answered(
    client: triton.InferenceServerClient, gate: Any, guard: Counter, head: Head
) -> None:
    guard.most = 1
    first = asyncio.create_task(client.infer("tiny", asked(head.pictures[0]), headers=WORD))
    await gate.begun()
    with pytest.raises(InferenceServerException, match="too many frames at once"):
        await client.infer("tiny", asked(head.pictures[0]), headers=WORD)
    gate.open_for_good()
    async with asyncio.timeout(GUARD_S):
        await first
    assert (guard.seen, guard.frames) == (1, 0)


async def test_a_streams_requests_count_until_their_responses_are_written() -> None:
    guard, written = Counter(most=2), []

    async def write(response: str) -> None:
        written.append(response)

    async def requests() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    context: Any = SimpleNamespace(write=write, code=grpc.StatusCode.OK)
    counting = _Counting(context, guard, Identity(name="one"))
    assert counting.code is grpc.StatusCode.OK
    coming = counting.requests(requests())
    assert [await anext(coming), await anext(coming)] == [0, 1]
    assert guard.frames == 2
    await counting.write("answer to 0")
    assert await anext(coming) == 2
    with pytest.raises(DeniedError):
        await anext(coming)
    counting.end()
    assert (guard.frames, written) == (0, ["answer to 0"])
