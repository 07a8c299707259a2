"""One stream of requests: what a client that does not listen, or says nothing, may keep."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
from tests.protos.oip.models import FakeModel, Listed, picture_of, raw_request

from isthmus.oip import Limits, RefusalError, Service
from isthmus.oip.counts import Places
from isthmus.oip.messages import pb
from isthmus.oip.streams import Context, Stream

GUARD_S = 30.0


class Call:
    """A context of gRPC's, whose client takes answers while `listens` is set."""

    def __init__(self) -> None:
        self.listens = asyncio.Event()
        self.writing = asyncio.Event()
        self.written: list[pb.ModelStreamInferResponse] = []
        self.code: grpc.StatusCode | None = None
        self.details = ""

    def time_remaining(self) -> None:
        """There is no deadline."""

    async def write(self, response: pb.ModelStreamInferResponse) -> None:
        self.writing.set()
        await self.listens.wait()
        self.written.append(response)

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


async def requests(count: int) -> AsyncIterator[pb.ModelInferRequest]:
    """So many, and then the client says nothing any more, but stays."""
    for _ in range(count):
        yield raw_request(picture=picture_of(1))
    await asyncio.Event().wait()


async def served(service: Service, call: Call, coming: AsyncIterator[Any]) -> None:
    async with asyncio.timeout(GUARD_S):
        await Stream(service, cast("Context", call)).serve(coming)


async def test_a_client_that_takes_no_answer_loses_its_stream_and_its_places() -> None:
    service, call = Service(Listed(FakeModel()), Limits(idle_s=1, max_stream_requests=3)), Call()
    serving = asyncio.create_task(served(service, call, requests(9)))
    async with asyncio.timeout(GUARD_S):
        await call.writing.wait()
        while service.under_way < 3:  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0)
    await serving
    assert call.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (call.details, call.written) == ("no answer was taken for 1 s", [])
    assert service.under_way == 0


async def test_a_request_keeps_its_place_until_its_answer_is_written() -> None:
    service, call = Service(Listed(FakeModel()), Limits(max_requests=1)), Call()
    serving = asyncio.create_task(served(service, call, requests(1)))
    await asyncio.wait_for(call.writing.wait(), GUARD_S)
    with pytest.raises(RefusalError, match="Exceeds maximum queue size"):
        await service.infer(raw_request(picture=picture_of(1)))
    call.listens.set()
    async with asyncio.timeout(GUARD_S):
        while service.under_way:  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0)
    assert await service.infer(raw_request(picture=picture_of(1)))
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@pytest.mark.parametrize("count", [0, 2])
async def test_a_stream_on_which_nothing_is_asked_ends(count: int) -> None:
    service, call = Service(Listed(FakeModel()), Limits(idle_s=1)), Call()
    call.listens.set()
    await served(service, call, requests(count))
    assert call.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no request came, or could be let in, for 1 s" in call.details
    assert len(call.written) == count


async def test_a_stream_whose_request_is_under_way_is_not_idle() -> None:
    """However long that takes; the time begins when its answer is written."""
    model = FakeModel(gate=asyncio.Event())
    call = Call()
    call.listens.set()
    stream = Stream(Service(Listed(model), Limits(idle_s=1)), cast("Context", call))
    serving = asyncio.create_task(stream.serve(requests(1)))
    async with asyncio.timeout(GUARD_S):
        while not model.calls:  # noqa: ASYNC110 - the model tells nobody
            await asyncio.sleep(0)
    assert stream._idle.when() is None
    assert model.gate is not None
    model.gate.set()
    await asyncio.wait_for(serving, GUARD_S)
    assert (len(call.written), call.code) == (1, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_answers_count_with_their_requests() -> None:
    request = raw_request(picture=picture_of(1, 2))
    size, answer = request.ByteSize(), 2 * (4 * 4 + 8)
    for most, fits in ((2 * (size + answer), True), (2 * (size + answer) - 1, False)):
        model = FakeModel(gate=asyncio.Event())
        service = Service(Listed(model), Limits(max_bytes=most, max_message_bytes=most))
        first = asyncio.create_task(service.infer(request))
        second = asyncio.create_task(service.infer(request))
        async with asyncio.timeout(GUARD_S):
            while len(model.calls) < (4 if fits else 2):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert model.gate is not None
        model.gate.set()
        assert await first
        await asyncio.wait({second})
        assert (second.exception() is None) is fits


def test_a_caller_gets_half_of_the_places_and_one_always() -> None:
    places = Places(Limits(max_requests=4, max_bytes=100, max_message_bytes=100))
    with places.one(10, "greedy"), places.one(10, "greedy"):
        with pytest.raises(RefusalError, match=r"2 requests of 20 .* on your streams, at most 2"):
            places.one(1, "greedy").__enter__()
        assert places.taken == 2
        with places.one(30, "modest"):
            pass
    with places.one(80, "large") as take:
        take(10)
        with pytest.raises(RefusalError, match="on your streams, at most 2 of 50 bytes"):
            places.one(1, "large").__enter__()
        with places.one(10, "modest"):
            pass
    with places.one(50, "greedy"):
        pass
    assert (places.taken, dict(places._callers)) == (0, {})
