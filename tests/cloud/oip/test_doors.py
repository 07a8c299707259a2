"""Whole models behind the same door as devices: who may ask, and how much."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import grpc
import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail
from tests.cloud.oip.test_triton import asked
from tests.cloud.serving import Answers, answering, deployment_of
from tests.cloud.wire import settled, until
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from isthmus import Bundle, ModelError
from isthmus_cloud import (
    Core,
    OverloadedError,
    RunningService,
    ServiceConfig,
    TooLateError,
    listening,
)
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.faces.oip import _Counting
from isthmus_cloud.oip.counted import Asker, item_done
from isthmus_cloud.security import Caller, DeniedError, Identity, OpenDoor
from isthmus_cloud.security.identity import Role
from isthmus_cloud.serving import Door
from isthmus_cloud.telemetry import FrameDone, Happening, Observer
from isthmus_cloud.telemetry.observed import observed


class Counter(OpenDoor):
    """Lets in who says a word, as a device; counts frames."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.frames = 0
        self.streams = 0
        self.seen = 0

    def admit(self, caller: Caller, role: Role) -> Identity:
        if caller.metadata.get("authorization") != "Bearer word":
            raise DeniedError("say the word", "token")
        if role == "operator":
            raise DeniedError("not for devices", "role")
        return Identity(name=caller.metadata.get("who", "one"))

    def frame(self, identity: Identity) -> None:
        if self.frames >= self.most:
            raise DeniedError("too many frames at once", "in_flight", retry_after_s=0.5)
        self.frames += 1
        self.seen += 1

    def frame_ended(self, identity: Identity) -> None:
        self.frames -= 1

    def stream(self, identity: Identity) -> None:
        self.streams += 1

    def stream_ended(self, identity: Identity) -> None:
        self.streams -= 1


WORD = {"authorization": "Bearer word"}


@pytest.fixture
def guard() -> Counter:
    return Counter()


@pytest.fixture
async def guarded(
    config: ServiceConfig, bundle: Bundle, answerer: Answers, guard: Counter
) -> AsyncIterator[RunningService]:
    async with listening_for(config, bundle, answerer, guard) as service:
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
    held_back = asyncio.create_task(anext(coming))
    await settled()
    assert not held_back.done()
    await counting.write("answer to 1")
    assert await asyncio.wait_for(held_back, GUARD_S) == 3
    await counting.end()
    counting.release()
    assert (guard.frames, written) == (0, ["answer to 0", "answer to 1"])


async def test_a_stream_whose_caller_is_shut_out_is_not_held_back_but_ended() -> None:
    class Gone(Counter):
        def frame(self, identity: Identity) -> None:
            raise DeniedError("taken back", "token")

    async def requests() -> AsyncIterator[int]:
        yield 1

    counting = _Counting(cast("Any", SimpleNamespace()), Gone(), Identity(name="one"))
    with pytest.raises(DeniedError, match="taken back"):
        await asyncio.wait_for(anext(counting.requests(requests())), GUARD_S)


async def test_a_stream_beyond_its_callers_limit_is_answered_to_its_end(
    client: triton.InferenceServerClient, gate: GatedTail, guard: Counter, head: Head
) -> None:
    guard.most = 1
    gate.open_for_good()

    async def requests() -> AsyncIterator[dict[str, object]]:
        for number in range(5):
            picture = asked(head.pictures[0])
            yield {"model_name": "tiny", "inputs": picture, "request_id": str(number)}

    got = []
    async with asyncio.timeout(GUARD_S):
        async for result, error in client.stream_infer(requests(), headers=WORD):
            assert error is None
            got.append(result.get_response().id)
    assert got == ["0", "1", "2", "3", "4"]
    assert (guard.seen, guard.frames) == (5, 0)


async def test_a_stream_that_says_nothing_is_ended(
    config: ServiceConfig, bundle: Bundle, answerer: Answers
) -> None:
    async with (
        listening_for(replace(config, idle_s=1.0), bundle, answerer, Counter()) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        call = stream(channel, "one")
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(grpc.aio.AioRpcError, match="no request came"):
                await call.read()
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_streams_of_one_identity_take_at_most_half_of_the_places(
    config: ServiceConfig, bundle: Bundle, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    request = service_pb2.ModelInferRequest(model_name="tiny")
    picture = head.pictures[0]
    request.inputs.add(name="picture", datatype="UINT8", shape=picture.shape)
    request.raw_input_contents.append(picture.tobytes())
    async with (
        listening_for(replace(config, max_waiting=2), bundle, answerer, Counter()) as service,
        grpc.aio.insecure_channel(service.address) as channel,
        asyncio.timeout(GUARD_S),
    ):
        greedy = [stream(channel, "greedy") for _ in range(2)]
        modest = stream(channel, "modest")
        await greedy[0].write(request)
        await gate.begun()
        await greedy[1].write(request)
        assert "on your streams, at most 1" in (await greedy[1].read()).error_message
        await modest.write(request)
        await until(lambda: service.core.desk.waiting == 1)
        gate.open_for_good()
        for call in (greedy[0], modest):
            assert not (await call.read()).error_message
        for call in (*greedy, modest):
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF


@asynccontextmanager
async def listening_for(
    config: ServiceConfig, bundle: Bundle, answerer: Answers, guard: Counter
) -> AsyncIterator[RunningService]:
    async with Core(config, desk=answerer.desk) as core:
        core.deployments.activate(deployment_of(bundle, answerer))
        async with listening(config, core, Door(guard=guard)) as service:
            yield service


def stream(channel: grpc.aio.Channel, who: str) -> Any:
    """An open stream of an identity."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    return stub.ModelStreamInfer(metadata=tuple({**WORD, "who": who}.items()))


async def test_turns_are_taken_between_identities_not_between_requests(
    guarded: RunningService, client: triton.InferenceServerClient, gate: GatedTail, head: Head
) -> None:
    """One that asks much waits behind its own requests; over one connection or several."""
    asks = partial(client.infer, "tiny", asked(head.pictures[0]))
    order: list[str] = []

    async def ask(who: str, number: int) -> None:
        waiting = guarded.core.desk.waiting
        task = asyncio.create_task(asks(headers={**WORD, "who": who}))
        task.add_done_callback(lambda _: order.append(who))
        tasks.append(task)
        if number:
            await until(lambda: guarded.core.desk.waiting == waiting + 1)
        else:
            await gate.begun()

    tasks: list[asyncio.Task[Any]] = []
    for number in range(4):
        await ask("greedy", number)
    await ask("modest", 4)
    for done in range(1, 6):
        gate.let_pass()
        await until(lambda done=done: len(order) == done)  # type: ignore[misc]
    assert order == ["greedy", "modest", "greedy", "greedy", "greedy"]


async def test_an_item_is_of_the_trace_that_its_call_says(
    config: ServiceConfig, bundle: Bundle, answerer: Answers, gate: GatedTail, head: Head
) -> None:
    """Of each call by itself; what is no trace context is none."""
    gate.open_for_good()
    heard: list[Happening] = []
    notes = cast("Observer", SimpleNamespace(note=heard.append))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with Core(config, notes, answerer.desk) as core:
        core.deployments.activate(deployment_of(bundle, answerer))
        async with (
            listening(config, core, Door(guard=Counter())) as service,
            triton.InferenceServerClient(service.address) as client,
        ):
            for text in (trace, "00-no-trace-01"):
                headers = {**WORD, "traceparent": text}
                await client.infer("tiny", asked(head.pictures[0]), headers=headers)
            await client.infer("tiny", asked(head.pictures[0]), headers=WORD)
    assert [each.traceparent for each in heard if isinstance(each, FrameDone)] == [trace, "", ""]


async def test_items_are_counted_as_frames_are(
    config: ServiceConfig, bundle: Bundle, tails: dict[str, Tail], guard: Counter, head: Head
) -> None:
    """By how they ended, under a word of their own, with their part in batches."""
    async with observed() as seen:
        with answering(bundle.manifest, tails) as answers:
            async with Core(config, seen.observer, answers.desk) as core:
                core.deployments.activate(deployment_of(bundle, answers))
                async with (
                    listening(config, core, Door(guard=guard)) as service,
                    triton.InferenceServerClient(service.address) as client,
                ):
                    three = asked(np.concatenate(head.pictures[:3]))
                    await client.infer("tiny", three, headers=WORD)
                    broken = triton.InferInput("picture", [1], "BYTES")
                    broken.set_data_from_numpy(np.array([b"no picture"], np.object_))
                    with pytest.raises(InferenceServerException):
                        await client.infer("tiny", [broken], headers=WORD)
        text = seen.metrics.text()[1].decode()
    labels = 'candidate="oip",model="tiny"'
    assert f'isthmus_frames_total{{{labels},outcome="answered",version="1"}} 3.0' in text
    assert f'isthmus_frames_total{{{labels},outcome="bad_frame",version="1"}} 1.0' in text
    assert f'isthmus_frame_up_bytes_sum{{{labels},version="1"}} {3 * 3072 + 10}.0' in text
    assert f'isthmus_frame_down_bytes_sum{{{labels},version="1"}} {3 * 40}.0' in text


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OverloadedError("full"), "overloaded"),
        (TooLateError("late"), "too_late"),
        (asyncio.CancelledError(), "cancelled"),
        (ModelError("broken"), "internal"),
    ],
)
async def test_an_item_that_is_not_answered_is_counted_by_why(
    bundle: Bundle, answerer: Answers, error: BaseException, word: str
) -> None:
    deployment = deployment_of(bundle, answerer)
    done = item_done(deployment, Asker("", "peer"), {"picture": b"1234"}, 0, error)
    assert (done.outcome, done.payload_bytes, done.batch) == (word, 4, 0)
    assert item_done(deployment, None, {}, 0, error).identity == ""
