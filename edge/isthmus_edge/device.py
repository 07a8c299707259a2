"""All that the device computes: heads, wire symbols, payloads, rests. One thread, in order.

The encoder remembers the frame before (a video is sent as differences), so frames must be encoded
in the order in which they are sent. One thread, and one caller that sends what it was given before
it asks for the next head, see to that.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from isthmus import Bundle, Candidate, Cut, FrameEncoder
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.chain import Chain, Chains
from isthmus_edge.config import AgentConfig
from isthmus_edge.frame import Frame
from isthmus_edge.pace import Pace
from isthmus_edge.runtime import AnyArray
from isthmus_edge.stages import Stages

Result = TypeVar("Result")

__all__ = ["Device"]


class Device:
    """The computing half of an agent; its methods are called on the agent's event loop.

    The rung of a frame is its candidate's `chosen`.
    """

    def __init__(self, bundle: Bundle, config: AgentConfig, pace: Pace) -> None:
        self._manifest = bundle.manifest
        self._chains = Chains(bundle, config.threads)
        self._stages = Stages(bundle, config.threads)
        self._encoder = FrameEncoder(video=config.video == "auto")
        self._pace = pace
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="isthmus-device")

    async def head(
        self, frame: Frame, candidate: Candidate, *, fast_link: bool
    ) -> tuple[pb.Frame, float]:
        """Take a frame up to its candidate's cut: the message for it, and the ms it took."""
        cut = self._manifest.cut_of(candidate)
        chain = await self._chain(cut)
        boundary = [tensor.boundary.name for tensor in cut.tensors]

        def work() -> tuple[Mapping[str, AnyArray], pb.Frame]:
            tensors = chain.head(frame.tensors, cut.depth, boundary)
            return tensors, self._encode(tensors, candidate, fast_link=fast_link)

        kind = f"{candidate.id}@{candidate.chosen}"
        (tensors, message), took_ms = await self._on_thread(kind, work)
        message.sequence = frame.sequence
        frame.tensors, frame.cut = tensors, cut
        return message, took_ms

    async def key_frame(self, frame: Frame, candidate: Candidate, *, fast_link: bool) -> pb.Frame:
        """The same frame from the tensors in hand, so that it needs no other one."""
        message, _ = await self._on_thread(
            f"{candidate.id}@{candidate.chosen} again",
            lambda: self._encode(frame.tensors, candidate, alone=True, fast_link=fast_link),
        )
        message.sequence = frame.sequence
        return message

    async def finish(self, frame: Frame) -> tuple[Mapping[str, AnyArray], float]:
        """The model's outputs by the rest of the chain that has begun it, and the ms it took."""
        cut, depth = frame.cut, 0 if frame.cut is None else frame.cut.depth
        chain = await self._chain(cut or self._manifest.cut_of(self._manifest.local))
        kind = f"rest from {depth}" if cut is None else f"rest of {cut.chain} from {depth}"
        return await self._on_thread(kind, lambda: chain.finish(frame.tensors, depth))

    def forget(self) -> None:
        """Begin anew with a key frame: another connection, whose other end holds nothing."""
        self._thread.submit(self._encoder.forget)

    def close(self) -> None:
        """Wait for the work in hand."""
        self._thread.shutdown()

    def _encode(
        self,
        tensors: Mapping[str, AnyArray],
        candidate: Candidate,
        *,
        alone: bool = False,
        fast_link: bool,
    ) -> pb.Frame:
        cut, rung = self._manifest.cut_of(candidate), candidate.chosen
        held = None if alone else self._encoder.held(candidate, rung)
        boundary = [tensors[tensor.boundary.name] for tensor in cut.tensors]
        wire = self._stages.wire(cut, boundary, candidate.encodings, held)
        return self._encoder.encode(candidate, cut, rung, wire, alone=alone, fast_link=fast_link)

    async def _chain(self, cut: Cut) -> Chain:
        """Loading one is not a frame's work: it is not timed."""
        if self._chains.holds(cut):
            return self._chains.of(cut)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._chains.of, cut)

    async def _on_thread(self, kind: str, work: Callable[[], Result]) -> tuple[Result, float]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._pace.run, kind, work)
