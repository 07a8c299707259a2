"""One ModelStreamInfer: many requests under way at once, answered in their order, as Triton does.

    requests --read while there are places--> answered, at the same time --> written, in turn

While `Limits.max_stream_requests` have no answer yet that was written, no more are read, and the
transport holds the client back. What goes wrong with one request is told in its turn. Each has its
place in the service until its answer is written; a client that takes none for `Limits.idle_s`, or
asks nothing for so long, loses its stream.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterable
from contextlib import ExitStack
from typing import Any

import grpc

from isthmus.errors import LinkError
from isthmus.oip.messages import pb
from isthmus.oip.refusal import RefusalError
from isthmus.oip.responses import set_parameter
from isthmus.oip.service import Service
from isthmus.oip.wire import NO_MESSAGE

Context = grpc.aio.ServicerContext[pb.ModelInferRequest | None, pb.ModelStreamInferResponse]

Requests = AsyncIterable[pb.ModelInferRequest | None]  # None: bytes that are none

ROUNDING = 0.01  # gRPC sends timeouts as two or three digits, rounded up: 10 ms from 1 s on

FINAL_WANTED = "triton_enable_empty_final_response"
FINAL = "triton_final_response"

__all__ = ["Context", "Requests", "Stream", "deadline_of"]

log = logging.getLogger("isthmus.oip")


class _Turn:
    """One request of a stream."""

    def __init__(self) -> None:
        self.response: asyncio.Future[pb.ModelStreamInferResponse] = asyncio.Future()
        self.written = asyncio.Event()


class _IdleError(LinkError):
    """The client has the stream and does nothing with it."""


class Stream:
    """The server's side of one call."""

    def __init__(self, service: Service, context: Context) -> None:
        self._service = service
        self._context = context
        self._caller = service.caller()
        self._idle_s = service.limits.idle_s
        self._idle = asyncio.timeout(None)
        self._places = asyncio.Semaphore(service.limits.max_stream_requests)
        self._turns: asyncio.Queue[_Turn | None] = asyncio.Queue()
        self._under_way = 0
        self._is_reading = True

    async def serve(self, requests: Requests) -> None:
        """Until the client has said all and has its answers, or the server drains.

        If the client breaks off or the call is cancelled, nobody waits for what is under way. One
        that does nothing for `Limits.idle_s` is told DEADLINE_EXCEEDED.
        """
        is_idle = False
        try:
            await self._answer_all(requests)
        except* _IdleError as idle:
            # Told by the end of the handler: `abort` would wait until the client listens.
            self._context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED)
            self._context.set_details(str(idle.exceptions[0]))
            is_idle = True
        except* LinkError as broken:
            log.info("a stream of requests: %s", broken.exceptions[0])
        if self._service.draining.is_set() and not is_idle:
            await self._context.abort(
                grpc.StatusCode.UNAVAILABLE, "the server is draining; open the stream elsewhere"
            )

    async def _answer_all(self, requests: Requests) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_all())
            reader = tasks.create_task(self._read(requests, tasks))
            drained = tasks.create_task(self._service.draining.wait())
            await asyncio.wait({reader, drained}, return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            drained.cancel()
            await asyncio.wait({reader})
            self._turns.put_nowait(None)

    async def _read(self, requests: Requests, tasks: asyncio.TaskGroup) -> None:
        """All that comes; _IdleError if nothing does while nothing is under way."""
        try:
            async with self._idle:
                self._wait_for_requests()
                await self._places.acquire()
                async for request in requests:
                    self._begin(request, tasks)
                    await self._places.acquire()
        except TimeoutError as error:
            raise _IdleError(
                f"no request came, or could be let in, for {self._idle_s:g} s; open the stream "
                "again when there is one"
            ) from error
        except grpc.aio.BaseError as error:
            raise LinkError(f"the client broke off: {error}") from error
        finally:
            self._is_reading = False

    def _begin(self, request: pb.ModelInferRequest | None, tasks: asyncio.TaskGroup) -> None:
        turn = _Turn()
        self._under_way += 1
        self._idle.reschedule(None)
        self._turns.put_nowait(turn)
        tasks.create_task(self._answer(request, turn))

    def _wait_for_requests(self) -> None:
        """Nothing is under way."""
        self._idle.reschedule(asyncio.get_running_loop().time() + self._idle_s)

    async def _answer(self, request: pb.ModelInferRequest | None, turn: _Turn) -> None:
        with ExitStack() as place:
            turn.response.set_result(await self._response_to(request, place))
            await turn.written.wait()

    async def _write_all(self) -> None:
        """Until None comes behind the last turn."""
        try:
            while (turn := await self._turns.get()) is not None:
                await self._write(await turn.response)
                turn.written.set()
                self._under_way -= 1
                self._places.release()
                if self._is_reading and not self._under_way:
                    self._wait_for_requests()
        except grpc.aio.BaseError as error:
            raise LinkError(f"the client does not listen any more: {error}") from error

    async def _write(self, response: pb.ModelStreamInferResponse) -> None:
        """_IdleError for a client that does not take it: else it would be kept for ever."""
        try:
            async with asyncio.timeout(self._idle_s):
                await self._context.write(response)
        except TimeoutError as error:
            raise _IdleError(f"no answer was taken for {self._idle_s:g} s") from error

    async def _response_to(
        self, request: pb.ModelInferRequest | None, place: ExitStack
    ) -> pb.ModelStreamInferResponse:
        try:
            if request is None:
                raise RefusalError("INVALID_ARGUMENT", NO_MESSAGE)
            deadline_s = deadline_of(self._context, self._service)
            response = await self._service.infer_in(place, request, deadline_s, self._caller)
        except RefusalError as refusal:
            # Triton's clients find out by the id which of their requests it was.
            return pb.ModelStreamInferResponse(
                error_message=str(refusal),
                infer_response=pb.ModelInferResponse(id=request.id if request else ""),
            )
        if FINAL_WANTED in request.parameters and request.parameters[FINAL_WANTED].bool_param:
            # One request has one response here, so it is the final one, and none is empty.
            set_parameter(response, FINAL, value=True)
        return pb.ModelStreamInferResponse(infer_response=response)


def deadline_of(context: grpc.aio.ServicerContext[Any, Any], service: Service) -> float | None:
    """When the client of a call stops waiting, on the service's clock; None if it never does."""
    left_s: object = context.time_remaining()  # typed as float, but None without a deadline
    if not isinstance(left_s, float) or not math.isfinite(left_s):
        return None
    return service.now_s() + left_s * (1 - ROUNDING)
