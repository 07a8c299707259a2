"""The endpoint over gRPC, with an agent of the tests behind it."""

import asyncio
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from msgspec import structs
from tests.edge.oip.fakes import Client, FakeAgent, idle, plain_picture, request_for

from isthmus import ConfigError, Manifest, PictureError, QueueFullError, open_bundle
from isthmus.oip import Limits
from isthmus.oip.messages import pb
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.oip import AgentLike, Endpoint, EndpointConfig

FREE_PORT = EndpointConfig(listen=("127.0.0.1:0",))
SERVING, NOT_SERVING = 1, 2


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return open_bundle(tiny_bundle, "device").manifest


@pytest.fixture
def agent(manifest: Manifest) -> FakeAgent:
    return FakeAgent(manifest)


@pytest.fixture
def slow(manifest: Manifest) -> FakeAgent:
    """Answers only when told to."""
    return FakeAgent(manifest, at_once=False)


@pytest.fixture
async def endpoint(agent: FakeAgent) -> AsyncIterator[Endpoint]:
    async with Endpoint(FREE_PORT, agent) as started:
        yield started


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[Client]:
    async with Client(endpoint.addresses[0]) as connected:
        yield connected


def first_score(response: pb.ModelInferResponse) -> float:
    return float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])


def is_there(path: Path) -> bool:
    return path.exists()


async def frames_of(agent: FakeAgent, count: int) -> None:
    await asyncio.to_thread(agent.wait_for, count)


async def test_a_request_is_a_frame_and_says_where_it_was_answered(
    client: Client, agent: FakeAgent
) -> None:
    response = await client.infer(request_for(plain_picture(7), "an id"))
    assert (first_score(response), response.id) == (7, "an id")
    told = response.parameters
    assert told["isthmus.place"].string_param == "cloud"
    assert told["isthmus.candidate"].string_param == "cut-16"
    assert told["isthmus.rung"].int64_param == 1
    assert told["isthmus.latency_ms"].double_param == 12.5
    assert told["isthmus.payload_bytes"].int64_param == 250
    assert [frame.deadline_ms for frame in agent.frames] == [None]


async def test_a_batch_is_as_many_frames(client: Client, agent: FakeAgent) -> None:
    batch = np.concatenate([plain_picture(7), plain_picture(9)])
    response = await client.infer(request_for(batch))
    assert list(response.outputs[0].shape) == [2, 10]
    assert sorted(set(np.frombuffer(response.raw_output_contents[0], np.float32))) == [7, 9]
    assert len(agent.frames) == 2


async def test_a_batch_with_a_bad_item_is_refused_with_its_number(
    client: Client, agent: FakeAgent
) -> None:
    def second_is_bad() -> None:
        if agent.frames:
            raise PictureError("a picture of 3 B: cannot be decoded")

    agent.handed_in = second_is_bad
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(request_for([b"four", b"bad"]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = "item 1 (of 2, counted from 0): a picture of 3 B: cannot be decoded"
    assert caught.value.details() == told


async def test_an_encoded_picture_goes_to_the_agent_as_it_is(
    client: Client, agent: FakeAgent
) -> None:
    assert first_score(await client.infer(request_for([b"four"]))) == 4
    assert agent.frames[0].inputs == {"picture": b"four"}


async def test_the_clients_deadline_is_the_frames(client: Client, agent: FakeAgent) -> None:
    await client.infer(request_for(plain_picture(0)), timeout_s=60.01)  # sent as 60.1 s
    request = request_for(plain_picture(0))
    request.parameters["timeout"].int64_param = 30_000_000
    await client.infer(request)
    grpcs, tritons = (frame.deadline_ms for frame in agent.frames)
    assert grpcs is not None
    assert tritons is not None
    assert 30_000 < grpcs < 60_010
    assert 0 < tritons < 30_000


async def test_a_deadline_that_is_over_is_no_time_left(client: Client, agent: FakeAgent) -> None:
    request = request_for(plain_picture(0))
    request.parameters["timeout"].int64_param = 1
    await client.infer(request)
    assert agent.frames[0].deadline_ms == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueFullError("no place"), grpc.StatusCode.UNAVAILABLE),
        (ConfigError("no such thing"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_the_agent_refuses_is_told(
    client: Client, agent: FakeAgent, error: Exception, code: grpc.StatusCode
) -> None:
    def refuse() -> None:
        raise error

    agent.handed_in = refuse
    with pytest.raises(grpc.aio.AioRpcError, match=str(error)) as refused:
        await client.infer(request_for(plain_picture(0)))
    assert refused.value.code() == code


async def test_a_call_that_is_cancelled_takes_its_frame_back(slow: FakeAgent) -> None:
    async with Endpoint(FREE_PORT, slow) as endpoint, Client(endpoint.addresses[0]) as client:
        call = client.infer(request_for(plain_picture(0)))
        await frames_of(slow, 1)
        taken_back = asyncio.Event()
        loop = asyncio.get_running_loop()
        slow.frames[0].future.add_done_callback(lambda _: loop.call_soon_threadsafe(taken_back.set))
        call.cancel()
        await taken_back.wait()
        assert slow.frames[0].future.cancelled()


async def test_a_frame_that_is_handed_in_for_nobody_is_taken_back(slow: FakeAgent) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        assert go_on.wait(30.0)

    slow.handed_in = wait
    async with Endpoint(FREE_PORT, slow) as endpoint, Client(endpoint.addresses[0]) as client:
        call = client.infer(request_for(plain_picture(0)))
        await asyncio.to_thread(began.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await idle(endpoint)
        go_on.set()
        await frames_of(slow, 1)
        await endpoint.stop()
    (frame,) = slow.frames
    async with asyncio.timeout(30.0):
        while not frame.future.cancelled():  # noqa: ASYNC110 - the thread that does it tells nobody
            await asyncio.sleep(0)


async def test_bytes_that_are_no_message_are_refused(client: Client) -> None:
    for bomb in (b"\xff\xff\xff", b"\x2a\x00" * 5000):
        with pytest.raises(grpc.aio.AioRpcError, match="no message of this protocol") as refused:
            await client.raw("ModelInfer", bomb)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert await client.is_ready()


async def test_a_message_above_the_bound_is_refused(manifest: Manifest) -> None:
    limits = Limits(max_message_bytes=128 * 1024)
    config = EndpointConfig(listen=("127.0.0.1:0",), limits=limits)
    async with (
        Endpoint(config, FakeAgent(manifest)) as endpoint,
        Client(endpoint.addresses[0]) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.raw("ModelInfer", bytes(128 * 1024 + 1))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.is_ready()


def test_an_item_that_fits_into_no_message_is_said_at_once(manifest: Manifest) -> None:
    config = EndpointConfig(listen=("127.0.0.1:0",), limits=Limits(max_message_bytes=3000))
    with pytest.raises(ConfigError, match="max_message_bytes is 3000, but the inputs"):
        Endpoint(config, FakeAgent(manifest))


async def test_more_requests_than_the_bound_are_refused(slow: FakeAgent) -> None:
    config = EndpointConfig(listen=("127.0.0.1:0",), limits=Limits(max_requests=1))
    async with Endpoint(config, slow) as endpoint, Client(endpoint.addresses[0]) as client:
        first = client.infer(request_for(plain_picture(7)))
        await frames_of(slow, 1)
        with pytest.raises(grpc.aio.AioRpcError, match="Exceeds maximum queue size") as refused:
            await client.infer(request_for(plain_picture(8)))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        slow.frames[0].end()
        assert first_score(await first) == 7


async def test_what_is_under_way_is_answered_before_it_stops(slow: FakeAgent) -> None:
    endpoint = Endpoint(FREE_PORT, slow)
    (address,) = await endpoint.start()
    async with Client(address) as client:
        call = client.infer(request_for(plain_picture(7)))
        await frames_of(slow, 1)
        endpoint.drain()
        assert not await client.is_ready()
        assert await client.health() == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="draining"):
            await client.infer(request_for(plain_picture(8)))
        stopping = asyncio.create_task(endpoint.stop(grace_s=30.0))
        await asyncio.sleep(0)
        slow.frames[0].end()
        assert first_score(await call) == 7
        await stopping
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.infer(request_for(plain_picture(9)))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    await endpoint.stop()


async def test_what_is_not_answered_in_time_is_given_up(slow: FakeAgent) -> None:
    async with Endpoint(FREE_PORT, slow) as endpoint, Client(endpoint.addresses[0]) as client:
        call = client.infer(request_for(plain_picture(7)))
        await frames_of(slow, 1)
        await endpoint.stop(grace_s=0.01)
        await idle(endpoint)
        assert slow.frames[0].future.cancelled()
        assert await call.code() != grpc.StatusCode.OK


async def test_another_agent_may_take_over_in_mid_flight(slow: FakeAgent, agent: FakeAgent) -> None:
    async with Endpoint(FREE_PORT) as endpoint, Client(endpoint.addresses[0]) as client:
        assert not await client.is_ready()
        with pytest.raises(grpc.aio.AioRpcError, match="unknown model: 'tiny'"):
            await client.infer(request_for(plain_picture(0)))
        endpoint.use(slow)
        assert await client.is_ready()
        first = client.infer(request_for(plain_picture(7)))
        await frames_of(slow, 1)
        endpoint.use(agent)
        assert first_score(await client.infer(request_for(plain_picture(8)))) == 8
        slow.frames[0].end()
        assert first_score(await first) == 7


async def test_a_request_that_waited_while_the_model_changed_is_not_answered_by_another(
    client: Client, agent: FakeAgent, other_bundle: Path
) -> None:
    """As where an agent that hands frames on has got another one behind it."""
    other = open_bundle(other_bundle, "device").manifest

    def change() -> None:
        agent.manifest = other

    agent.handed_in = change
    for accepted in (1, 1):  # the second request comes too late at once
        with pytest.raises(grpc.aio.AioRpcError, match="was replaced while") as refused:
            await client.infer(request_for(plain_picture(0)))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert len(agent.frames) == accepted


async def test_a_frame_for_a_model_that_was_replaced_is_taken_back(
    slow: FakeAgent, other_bundle: Path
) -> None:
    other = open_bundle(other_bundle, "device").manifest

    def change() -> None:
        slow.manifest = other

    slow.handed_in = change
    async with Endpoint(FREE_PORT, slow) as endpoint, Client(endpoint.addresses[0]) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="was replaced while"):
            await client.infer(request_for(plain_picture(0)), timeout_s=20.0)
        assert slow.frames[0].future.cancelled()


async def test_the_same_model_opened_again_answers_who_waited(
    client: Client, agent: FakeAgent
) -> None:
    def change() -> None:
        agent.manifest = structs.replace(agent.manifest)

    agent.handed_in = change
    assert first_score(await client.infer(request_for(plain_picture(7)))) == 7


async def test_a_request_of_more_numbers_than_the_model_takes_is_not_parsed(
    client: Client,
) -> None:
    request = request_for(plain_picture(0))
    del request.raw_input_contents[:]
    contents = request.inputs[0].contents.uint_contents
    contents.extend([7] * 32 * 32 * 3)
    assert first_score(await client.infer(request)) == 7
    contents.extend([7] * 32 * 32 * 3 * Limits().max_items)
    with pytest.raises(grpc.aio.AioRpcError, match="more numbers than the model takes"):
        await client.infer(request)


async def test_health_is_told_and_watched(agent: FakeAgent) -> None:
    async with Endpoint(FREE_PORT) as endpoint, Client(endpoint.addresses[0]) as client:
        told = aiter(client.watch())
        assert (await anext(told)).status == NOT_SERVING
        endpoint.use(agent)
        assert (await anext(told)).status == SERVING
        assert await client.health() == SERVING
        assert await client.health("inference.GRPCInferenceService") == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await client.health("another")
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        endpoint.drain()
        assert [response.status async for response in told] == [NOT_SERVING]


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_a_socket_has_its_mode_and_is_gone_afterwards(
    tmp_path: Path, agent: FakeAgent, mode: int
) -> None:
    path = tmp_path / "a path" / "50%41.sock"
    path.parent.mkdir()
    config = EndpointConfig(listen=(f"unix:{path}", "127.0.0.1:0"), socket_mode=mode)
    async with Endpoint(config, agent) as endpoint:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        for address in endpoint.addresses:
            async with Client(address) as client:
                assert first_score(await client.infer(request_for(plain_picture(5)))) == 5
    assert list(path.parent.iterdir()) == []


async def test_a_socket_that_is_in_use_stays_its_owners(tmp_path: Path, agent: FakeAgent) -> None:
    config = EndpointConfig(listen=("127.0.0.1:0", f"unix:{tmp_path / 'oip.sock'}"))
    async with Endpoint(config, agent) as owner:
        with pytest.raises(ConfigError, match="another process does already"):
            await Endpoint(config, agent).start()
        async with Client(owner.addresses[1]) as client:
            assert await client.is_ready()


async def test_a_port_that_is_in_use_is_said_and_nothing_is_left(
    tmp_path: Path, endpoint: Endpoint, agent: FakeAgent
) -> None:
    listen = (f"unix:{tmp_path / 'oip.sock'}", endpoint.addresses[0])
    with pytest.raises(ConfigError, match="Address already in use"):
        await Endpoint(EndpointConfig(listen=listen), agent).start()
    assert not is_there(tmp_path / "oip.sock")


async def test_a_real_agent_is_what_the_endpoint_takes(tiny_bundle: Path) -> None:
    with Agent.open(AgentConfig(bundle=tiny_bundle)) as real:
        taken: AgentLike = real
        async with Endpoint(FREE_PORT, taken) as endpoint:
            async with Client(endpoint.addresses[0]) as client:
                response = await client.infer(request_for(plain_picture(5)))
            assert response.parameters["isthmus.place"].string_param == "device"
        assert real.stats().accepted == 1
