"""A stream without a network: the test says what the device sends and when it reads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from tests.cloud.device import GUARD_S
from tests.cloud.serving import Answers, deployment_of

from isthmus import Bundle, IsthmusError, LinkError
from isthmus.session import ServiceLimits
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Auditor
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.sessions.sessions import Sessions
from isthmus_cloud.sessions.stream import Stream
from isthmus_cloud.sessions.visitor import Visitor

WINDOW = 4
PATIENT = ServiceLimits(hello_s=GUARD_S, idle_s=GUARD_S, beat_s=GUARD_S, resume_s=GUARD_S)


def new_sessions(
    bundle: Bundle,
    answerer: Answers,
    limits: ServiceLimits = PATIENT,
    max_parked: int = 8,
    auditor: Auditor | None = None,
) -> Sessions:
    deployments = Deployments()
    deployments.activate(deployment_of(bundle, answerer, auditor, WINDOW))
    return Sessions(deployments, answerer.desk, limits, max_parked)


def hello(bundle: Bundle, session_id: str = "one", unanswered: Sequence[int] = ()) -> pb.Hello:
    return pb.Hello(
        protocol=PROTOCOL,
        session_id=session_id,
        bundle_fingerprint=bundle.fingerprint,
        unanswered=unanswered,
    )


class Wire:
    """Both ends of one stream; a device that `stalls` does not read."""

    def __init__(self, sessions: Sessions, stalls: bool, visitor: Visitor | None = None) -> None:
        self._up: asyncio.Queue[pb.EdgeMessage | IsthmusError | None] = asyncio.Queue()
        self._down: asyncio.Queue[pb.CloudMessage] = asyncio.Queue()
        self._reads = asyncio.Event()
        if not stalls:
            self._reads.set()
        self.taken = 0
        self.stream = Stream(sessions, self._write, visitor)
        self.serving = asyncio.create_task(self.stream.serve(self._messages()))

    def say(self, **kind: Any) -> None:
        """Send EdgeMessage(frame=…), (hello=…), …"""
        self._up.put_nowait(pb.EdgeMessage(**kind))

    def half_close(self) -> None:
        self._up.put_nowait(None)

    def stall(self) -> None:
        """Read nothing from now on."""
        self._reads.clear()

    def read(self) -> None:
        """Read again."""
        self._reads.set()

    async def receive(self) -> pb.CloudMessage:
        """The service's next message."""
        async with asyncio.timeout(GUARD_S):
            return await self._down.get()

    async def receive_kinds(self, count: int) -> list[str]:
        return [str((await self.receive()).WhichOneof("kind")) for _ in range(count)]

    async def result(self) -> pb.Result:
        message = await self.receive()
        assert message.HasField("result"), message
        return message.result

    async def error(self) -> pb.Error:
        message = await self.receive()
        assert message.HasField("error"), message
        return message.error

    async def greet(self, hello: pb.Hello) -> pb.Welcome:
        """Say Hello and be welcomed."""
        self.say(hello=hello)
        message = await self.receive()
        assert message.HasField("welcome"), message
        return message.welcome

    async def roundtrip(self) -> None:
        """All that was said before has been taken when this returns."""
        self.say(heartbeat=pb.Heartbeat(id=1))
        assert await self.receive_kinds(1) == ["heartbeat"]

    async def ended(self) -> None:
        """Wait for the end of the stream; all that was written was received."""
        async with asyncio.timeout(GUARD_S):
            await self.serving
        assert self._down.empty()

    async def break_off(self, error: IsthmusError | None = None) -> None:
        """The link is gone, or what came is this error, and the service knows it."""
        self._up.put_nowait(error or LinkError("the test cut the link"))
        with suppress(BaseExceptionGroup):
            async with asyncio.timeout(GUARD_S):
                await self.serving

    async def _messages(self) -> AsyncIterator[pb.EdgeMessage]:
        while (message := await self._up.get()) is not None:
            if isinstance(message, IsthmusError):
                raise message
            self.taken += 1
            yield message

    async def _write(self, message: pb.CloudMessage) -> None:
        await self._reads.wait()
        self._down.put_nowait(message)


@asynccontextmanager
async def wired(sessions: Sessions, stalls: bool = False) -> AsyncIterator[Wire]:
    """A stream that is served until the context ends."""
    wire = Wire(sessions, stalls)
    try:
        yield wire
    finally:
        wire.serving.cancel()
        await asyncio.wait({wire.serving})


async def until(holds: Callable[[], bool]) -> None:
    """Let every task go on until it holds."""
    async with asyncio.timeout(GUARD_S):
        while not holds():  # noqa: ASYNC110 - what it asks has no event
            await asyncio.sleep(0.001)


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(100):
        await asyncio.sleep(0)


async def begin(
    wire: Wire, bundle: Bundle, frames: list[pb.Frame], session_id: str = "one"
) -> None:
    """A welcomed device has sent its frames, and the service has them."""
    await wire.greet(hello(bundle, session_id))
    for frame in frames:
        wire.say(frame=frame)
    await wire.roundtrip()


async def broken(
    sessions: Sessions, bundle: Bundle, frames: list[pb.Frame], session_id: str = "one"
) -> None:
    """A stream that broke with these frames in flight."""
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames, session_id)
        await wire.break_off()


def bytes_of(frame: pb.Frame) -> int:
    """What a frame of the cut takes: its payload, the symbols that it decodes to, its answer."""
    return len(frame.payloads[0].data) + 8 * 16 * 16 + 10 * 4


class Call:
    """A call of the transport; a `dead` one fails at the first write."""

    def __init__(self, dead: bool) -> None:
        self._dead = dead
        self.written: asyncio.Queue[pb.CloudMessage] = asyncio.Queue()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def write(self, message: pb.CloudMessage) -> None:
        if self._dead:
            raise grpc.aio.InternalError("the call is dead")
        await self.written.put(message)
