"""The device's side of a stream, spoken by hand, so that a test can also say what is wrong."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tests.sessions import kept_session
from tests.tinybundle import tiny_pictures

from isthmus import Bundle, FrameEncoder, Kept, SymbolCoder, Symbols, decode_frame
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub

GUARD_S = 30  # a hang becomes a failure; no test waits for it to pass


_numbers = itertools.count(1)


class Device:
    """One stream to a service, with a session of its own if the test does not name one."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.session_id = f"test-{next(_numbers)}"

    async def send(self, **kind: Any) -> None:
        """Send EdgeMessage(frame=…), (hello=…), (heartbeat=…), (cancel=…) or (audit=…)."""
        async with asyncio.timeout(GUARD_S):
            await self.call.write(pb.EdgeMessage(**kind))

    async def receive(self) -> pb.CloudMessage:
        """The service's next message that is more than a sign of life."""
        message = await self._next()
        assert isinstance(message, pb.CloudMessage), "the stream has ended"
        return message

    async def result(self) -> pb.Result:
        """The service's next message, which must be a result."""
        message = await self.receive()
        assert message.WhichOneof("kind") == "result", message
        return message.result

    async def error(self) -> pb.Error:
        """The service's next message, which must be an error."""
        message = await self.receive()
        assert message.WhichOneof("kind") == "error", message
        return message.error

    async def hello(
        self,
        fingerprint: str,
        top_k: int = 0,
        session_id: str | None = None,
        unanswered: Sequence[int] = (),
    ) -> pb.CloudMessage:
        """Say Hello and take the answer to it."""
        self.session_id = self.session_id if session_id is None else session_id
        hello = pb.Hello(
            protocol=PROTOCOL,
            session_id=self.session_id,
            bundle_fingerprint=fingerprint,
            answer_top_k=top_k,
            unanswered=unanswered,
        )
        await self.send(hello=hello)
        return await self.receive()

    async def roundtrip(self) -> None:
        """All that was sent before has been read when this returns."""
        await self.send(heartbeat=pb.Heartbeat(id=1))
        message = await self.receive()
        assert message.WhichOneof("kind") == "heartbeat", message

    async def half_close(self) -> None:
        """Say that nothing more will be sent."""
        async with asyncio.timeout(GUARD_S):
            await self.call.done_writing()

    async def ended(self) -> grpc.StatusCode:
        """Wait for the end of the stream; nothing may come before it."""
        rest = await self._next()
        assert rest is grpc.aio.EOF, rest
        async with asyncio.timeout(GUARD_S):
            code: grpc.StatusCode = await self.call.code()
        return code

    async def broken_off(self) -> grpc.StatusCode:
        """Take whatever comes until the stream ends, for good or ill."""
        async with asyncio.timeout(GUARD_S):
            with suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            code: grpc.StatusCode = await self.call.code()
        return code

    async def _next(self) -> Any:
        async with asyncio.timeout(GUARD_S):
            while True:
                message = await self.call.read()
                if not is_sign_of_life(message):
                    return message


def is_sign_of_life(message: object) -> bool:
    """Whether a service says only that it is there."""
    return (
        isinstance(message, pb.CloudMessage)
        and message.HasField("heartbeat")
        and message.heartbeat.id == 0
    )


@asynccontextmanager
async def connected(
    address: str, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[Device]:
    """A device with a stream of its own; nothing is said yet."""
    if credentials is None:
        channel = grpc.aio.insecure_channel(address)
    else:
        channel = grpc.aio.secure_channel(address, credentials)
    async with channel:
        call = SplitStub(channel).Stream()  # type: ignore[no-untyped-call]
        yield Device(call)
        call.cancel()


class Head:
    """Makes right frames, and knows the answer that belongs to each."""

    def __init__(self, bundle: Bundle) -> None:
        self._manifest = bundle.manifest
        self._segment = kept_session(bundle.file("device/segment-0.onnx"))
        self._whole = [kept_session(bundle.file(f"cloud/tail-{part}.onnx")) for part in (0, 1)]
        self._encoder = FrameEncoder()
        self.pictures = tiny_pictures(8)

    def frame(self, candidate_id: str, sequence: int = 1, picture: int = 0) -> pb.Frame:
        """The frame of one of the pictures; it stands for itself."""
        return self._encoded(self._encoder, candidate_id, sequence, self.pictures[picture])

    def film(self, candidate_id: str, frames: int, seed: int = 0) -> list[pb.Frame]:
        """A video of a small square that jumps about: 1 stands for itself, 2 is kept by the cloud,
        each one after it is a difference to the one before.
        """
        encoder = FrameEncoder(video=True)
        places = np.random.default_rng(seed).integers(0, 24, (frames, 2))
        return [
            self._encoded(encoder, candidate_id, sequence, self._scene(*place))
            for sequence, place in enumerate(places, 1)
        ]

    def _scene(self, row: int, column: int) -> NDArray[np.uint8]:
        pixels = self.pictures[0].copy()
        pixels[:, row : row + 8, column : column + 8] = 255
        return pixels

    def _encoded(
        self, encoder: FrameEncoder, candidate_id: str, sequence: int, pixels: NDArray[np.uint8]
    ) -> pb.Frame:
        candidate = self._manifest.candidate(candidate_id)
        cut = self._manifest.cut_of(candidate)
        tensor = self._segment.run(None, {"picture": pixels})[0] if cut.depth else pixels
        frame = encoder.encode(candidate, cut, candidate.chosen, [tensor])
        frame.sequence = sequence
        return frame

    def unsplit(self, picture: int = 0) -> NDArray[np.float32]:
        """The probabilities [1,10] of the whole network, on the picture itself."""
        held: NDArray[np.generic] = self.pictures[picture]
        for part in self._whole:
            held = part.run(None, {part.get_inputs()[0].name: held})[0]
        return held.astype(np.float32)


class Truth:
    """What one stream's frames are answered, computed one by one without the service's code."""

    def __init__(self, bundle: Bundle) -> None:
        self._manifest = bundle.manifest
        self._tails = {
            cut.id: [kept_session(bundle.file(part)) for part in cut.tail]
            for cut in self._manifest.cuts
        }
        self._coder = SymbolCoder()
        self._kept: Kept | None = None

    def of(self, frame: pb.Frame) -> NDArray[np.float32]:
        """The only output for the stream's next frame, of a cut with one tensor."""
        candidate = self._manifest.candidate(frame.candidate)
        cut = self._manifest.cut_of(candidate)
        (tensor,), self._kept = decode_frame(frame, candidate, cut, self._coder, self._kept)
        encoding = candidate.rungs[frame.rung].encodings[0]
        fed: list[NDArray[np.generic]] = [tensor]
        if isinstance(encoding, Symbols):
            fed += [
                np.full(1, encoding.step, np.float32),
                np.full(1, encoding.zero_point, np.uint8),
            ]
        held = dict(zip(cut.tensors[0].feeds, fed, strict=True))
        for part in self._tails[cut.id]:
            made = part.run(None, {value.name: held[value.name] for value in part.get_inputs()})
            held = {part.get_outputs()[0].name: made[0]}
        answer: NDArray[np.float32] = made[0]
        return answer
