"""How simulated devices talk to what serves them: one protocol each, frames in, ends out.

A talker sends the frame of a number and says how it ended; when to send is the camera's business
(`cameras.py`). All are used on one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

import grpc

from isthmus import LinkError
from isthmus.oip.datatypes import datatype_of
from isthmus.oip.messages import pb as oip_pb
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.serve import bare
from isthmus_bench.serve.recorded import Case, Item
from isthmus_bench.serve.tally import ANSWER

OPEN_S = 30.0
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each device
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)
INFER = "/inference.GRPCInferenceService/ModelInfer"

_BareCall: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"

__all__ = ["OPEN_S", "OPTIONS", "BareTalker", "Listener", "OipTalker", "Talker"]


class Listener(Protocol):
    """Whom a talker tells."""

    def ended(self, number: int, kind: str, is_right: bool, timing: pb.Timing | None) -> None:
        """A frame has: `kind` is `ANSWER` or an error's code."""

    def noticed(self) -> None:
        """Something else is new: an echo came, there is room again, or the connection is over."""


class Talker(Protocol):
    """One device's connection; `open` first, `close` at the end."""

    @property
    def credits(self) -> int:
        """How many frames may be sent now; 0 for good when the connection is over."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""

    async def open(self) -> None:
        """Until frames may be sent; LinkError if that does not come about."""

    def send(self, number: int, item: Item) -> None:
        """Send a frame; its end is told with this number."""

    async def close(self) -> None:
        """Hang up."""


class BareTalker:
    """Raw bytes up a stream, raw bytes down it, in order."""

    def __init__(self, address: str, window: int, listener: Listener) -> None:
        self._window, self._listener = window, listener
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._under_way: deque[tuple[int, Item]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self.is_over = False

    @property
    def credits(self) -> int:
        """See `Talker`."""
        return 0 if self.is_over else self._window - len(self._under_way)

    async def open(self) -> None:
        """See `Talker`."""
        await connected(self._channel)
        method = f"/{bare.SERVICE}/{bare.METHOD}"
        call: _BareCall = self._channel.stream_stream(method)()
        self._tasks = [asyncio.create_task(each) for each in (self._write(call), self._read(call))]

    def send(self, number: int, item: Item) -> None:
        """See `Talker`."""
        self._under_way.append((number, item))
        self._outbox.put_nowait(item.raw)

    async def close(self) -> None:
        """See `Talker`."""
        await hang_up(self._tasks, self._channel)

    async def _write(self, call: _BareCall) -> None:
        while (message := await self._outbox.get()) is not None:
            await call.write(message)

    async def _read(self, call: _BareCall) -> None:
        try:
            async for answer in call:
                number, item = self._under_way.popleft()
                is_right = item.is_answer(bytes(answer)[: len(item.answer)])
                self._listener.ended(number, ANSWER, is_right, None)
        except grpc.aio.AioRpcError:
            pass  # what was under way is counted as lost
        finally:
            self.is_over = True
            self._listener.noticed()


class OipTalker:
    """ModelInfer calls of the Open Inference Protocol, with raw tensors."""

    def __init__(
        self, address: str, model: str, case: Case, window: int, listener: Listener
    ) -> None:
        self._window, self._listener = window, listener
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._infer = self._channel.unary_unary(
            INFER,
            request_serializer=oip_pb.ModelInferRequest.SerializeToString,
            response_deserializer=oip_pb.ModelInferResponse.FromString,
        )
        self._model, self._case = model, case
        self._calls: set[asyncio.Task[None]] = set()
        self.is_over = False

    @property
    def credits(self) -> int:
        """See `Talker`."""
        return self._window - len(self._calls)

    async def open(self) -> None:
        """See `Talker`."""
        await connected(self._channel)

    def send(self, number: int, item: Item) -> None:
        """See `Talker`."""
        call = asyncio.create_task(self._ask(number, item))
        self._calls.add(call)

    async def close(self) -> None:
        """See `Talker`."""
        await hang_up(tuple(self._calls), self._channel)

    async def _ask(self, number: int, item: Item) -> None:
        kind, is_right = ANSWER, True
        try:
            response = await self._infer(self._request(item))
            is_right = item.is_answer(response.raw_output_contents[0])
        except grpc.aio.AioRpcError as error:
            kind = error.code().name
        task = asyncio.current_task()
        assert task is not None
        self._calls.discard(task)
        self._listener.ended(number, kind, is_right, None)

    def _request(self, item: Item) -> oip_pb.ModelInferRequest:
        request = oip_pb.ModelInferRequest(model_name=self._model)
        start = 0
        for wire in self._case.wires:
            datatype = datatype_of(wire.data_type).name
            request.inputs.add(name=wire.name, datatype=datatype, shape=wire.graph_shape)
            request.raw_input_contents.append(item.raw[start : start + wire.nbytes])
            start += wire.nbytes
        return request


async def connected(channel: grpc.aio.Channel) -> None:
    """Until the connection stands; LinkError if it does not in time."""
    try:
        await asyncio.wait_for(channel.channel_ready(), OPEN_S)
    except TimeoutError as error:
        raise LinkError(f"no connection within {OPEN_S:g} s; does the server listen?") from error


async def hang_up(tasks: Sequence["asyncio.Task[None]"], channel: grpc.aio.Channel) -> None:
    """End tasks and close the channel."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await task
    await channel.close()
