"""ModelStreamInfer: many requests under way, answered in their order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from tests.edge.oip.fakes import Client, FakeAgent, StreamCall, idle, plain_picture, request_for

from isthmus import open_bundle
from isthmus.oip import Limits
from isthmus.oip.messages import pb
from isthmus_edge.oip import Endpoint, EndpointConfig

MOST = 3
LIMITS = Limits(max_stream_requests=MOST)


@dataclass
class Served:
    agent: FakeAgent
    endpoint: Endpoint
    client: Client

    async def came(self, count: int) -> None:
        await asyncio.to_thread(self.agent.wait_for, count)


@pytest.fixture
async def served(tiny_bundle: Path) -> AsyncIterator[Served]:
    agent = FakeAgent(open_bundle(tiny_bundle, "device").manifest, at_once=False)
    config = EndpointConfig(listen=("127.0.0.1:0",), limits=LIMITS)
    async with Endpoint(config, agent) as endpoint, Client(endpoint.addresses[0]) as client:
        yield Served(agent, endpoint, client)


async def answer_in(call: StreamCall) -> pb.ModelStreamInferResponse:
    response = await call.read()
    assert isinstance(response, pb.ModelStreamInferResponse)
    return response


async def test_answers_come_in_the_order_of_their_requests(served: Served) -> None:
    """So do Triton's, of models that are not decoupled: its clients need not look at ids."""
    call = served.client.stream()
    for index in range(3):
        await call.write(request_for(plain_picture(index), f"id {index}"))
    await served.came(3)
    for index in (2, 0, 1):
        served.agent.frames[index].end()
    for index in range(3):
        assert (await answer_in(call)).infer_response.id == f"id {index}"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK


async def test_no_more_than_the_bound_are_under_way_and_none_is_lost(served: Served) -> None:
    call = served.client.stream()
    for index in range(2 * MOST):
        await call.write(request_for(plain_picture(index), f"id {index}"))
    await call.done_writing()
    await served.came(MOST)
    for index in range(2 * MOST):
        await served.came(index + 1)
        assert len(served.agent.frames) <= MOST + index
        served.agent.frames[index].end()
        assert (await answer_in(call)).infer_response.id == f"id {index}"
    assert await call.read() is grpc.aio.EOF


async def test_an_error_of_one_request_is_told_in_the_stream(served: Served) -> None:
    call = served.client.stream()
    stranger = request_for(plain_picture(0), "wrong")
    stranger.model_name = "nobody"
    await call.write(stranger)
    told = await answer_in(call)
    assert told.error_message == "Request for unknown model: 'nobody' is not found"
    assert told.infer_response.id == "wrong"
    await call.write(request_for(plain_picture(1), "right"))
    await served.came(1)
    served.agent.frames[0].end()
    told = await answer_in(call)
    assert (told.error_message, told.infer_response.id) == ("", "right")


async def test_an_error_comes_in_its_turn(served: Served) -> None:
    call = served.client.stream()
    await call.write(request_for(plain_picture(0), "right"))
    stranger = request_for(plain_picture(0), "wrong")
    stranger.model_name = "nobody"
    await call.write(stranger)
    await call.done_writing()
    await served.came(1)
    served.agent.frames[0].end()
    assert [(await answer_in(call)).infer_response.id for _ in range(2)] == ["right", "wrong"]


async def test_an_answer_that_is_too_large_ends_no_stream(tiny_bundle: Path) -> None:
    """What is under way beside it is answered."""
    agent = FakeAgent(open_bundle(tiny_bundle, "device").manifest, at_once=False)
    agent.labels = ("x" * 10_000,) * 10
    limits = Limits(max_message_bytes=128 * 1024)
    config = EndpointConfig(listen=("127.0.0.1:0",), limits=limits)
    async with Endpoint(config, agent) as endpoint, Client(endpoint.addresses[0]) as client:
        call = client.stream()
        await call.write(request_for(plain_picture(7), "before"))
        large = request_for(np.concatenate([plain_picture(7)] * 2), "large")
        large.outputs.add(name="probabilities").parameters["classification"].int64_param = 10
        await call.write(large)
        await call.write(request_for(plain_picture(7), "behind"))
        await asyncio.to_thread(agent.wait_for, 4)
        for frame in agent.frames:
            frame.end()
        told = [await answer_in(call) for _ in range(3)]
    assert [each.infer_response.id for each in told] == ["before", "large", "behind"]
    assert [bool(each.error_message) for each in told] == [False, True, False]
    assert "ask for fewer items or outputs" in told[1].error_message


@pytest.mark.parametrize("wanted", [None, False, True])
async def test_a_final_response_is_marked_for_who_wants_to_know(
    served: Served, wanted: bool | None
) -> None:
    request = request_for(plain_picture(0))
    if wanted is not None:
        request.parameters["triton_enable_empty_final_response"].bool_param = wanted
    call = served.client.stream()
    await call.write(request)
    await call.done_writing()
    await served.came(1)
    served.agent.frames[0].end()
    response = (await answer_in(call)).infer_response
    assert ("triton_final_response" in response.parameters) is bool(wanted)
    assert await call.read() is grpc.aio.EOF


async def test_a_stream_that_is_cancelled_takes_its_frames_back(served: Served) -> None:
    call = served.client.stream()
    for _ in range(2):
        await call.write(request_for(plain_picture(0)))
    await served.came(2)
    call.cancel()
    await idle(served.endpoint)
    assert all(frame.future.cancelled() for frame in served.agent.frames)


async def test_a_stream_ends_when_the_server_drains_and_all_is_answered(served: Served) -> None:
    call = served.client.stream()
    await call.write(request_for(plain_picture(0), "under way"))
    await served.came(1)
    stopping = asyncio.create_task(served.endpoint.stop(grace_s=30.0))
    await asyncio.sleep(0)
    served.agent.frames[0].end()
    assert (await answer_in(call)).infer_response.id == "under way"
    with pytest.raises(grpc.aio.AioRpcError, match="draining"):
        await call.read()
    assert await call.code() == grpc.StatusCode.UNAVAILABLE
    await stopping


async def test_an_idle_stream_does_not_hold_up_the_stop(served: Served) -> None:
    call = served.client.stream()
    await call.write(request_for(plain_picture(0)))
    await served.came(1)
    served.agent.frames[0].end()
    await answer_in(call)
    await asyncio.wait_for(served.endpoint.stop(grace_s=3600.0), 30.0)
    assert await call.code() == grpc.StatusCode.UNAVAILABLE


async def test_bytes_that_are_no_request_do_not_end_the_stream(served: Served) -> None:
    call: StreamCall = served.client.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=bytes,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )()
    await call.write(b"\xff\xff")
    assert "no message of this protocol" in (await answer_in(call)).error_message
    await call.write(request_for(plain_picture(0), "right").SerializeToString())
    await served.came(1)
    served.agent.frames[0].end()
    assert (await answer_in(call)).infer_response.id == "right"
