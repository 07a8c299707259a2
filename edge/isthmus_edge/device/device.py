"""All that the device computes: heads, wire symbols, payloads, rests. One thread.

The encoder remembers the frame before (a video is sent as differences), so frames must be encoded
in the order in which they are sent. One thread, and one caller that sends what it was given before
it asks for the next head, see to that.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from isthmus import Bundle, Candidate, Cut, FrameEncoder, Manifest
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.config import AgentConfig
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.device.chain import Chain
from isthmus_edge.device.chains import Chains
from isthmus_edge.device.desk import REST_WAITS_S, Desk
from isthmus_edge.device.lineage import Lineage
from isthmus_edge.device.pace import Pace
from isthmus_edge.device.stages import Stages
from isthmus_edge.runtimes import AnyArray, Runtimes, departures, refusals, without_chains
from isthmus_edge.stream.frame import Frame

Result = TypeVar("Result")
Outputs = Mapping[str, AnyArray]
Begin = Callable[[str, Callable[[], Any], float, CallOff], "Future[tuple[Any, float]]"]

__all__ = ["Device", "Rest"]


class Rest:
    """The rest of one frame, segment by segment: other work has its turn in between.

    `done` gives the model's outputs and the ms that they took.
    """

    def __init__(self, begin: Begin, held: Outputs, cut: Cut, chain: Chain) -> None:
        self._begin = begin
        self._step: Future[tuple[Any, float]] | None = None  # what the thread has, or comes to
        self._call_off = CallOff()
        self.done = asyncio.ensure_future(self._through(held, cut, chain))
        self.done.add_done_callback(_heard)

    @property
    def has_begun(self) -> bool:
        """Whether the thread has come to it."""
        return self._step is not None and (self._step.running() or self._step.done())

    def give_up(self) -> None:
        """Nobody wants it any more: it stops, or never begins."""
        self.done.cancel()
        self._call_off.now()

    async def _through(self, held: Outputs, cut: Cut, chain: Chain) -> tuple[Outputs, float]:
        took_ms, due_s = 0.0, time.monotonic() + REST_WAITS_S
        for depth in range(cut.depth, chain.segments):
            step = partial(chain.step, held, depth, self._call_off)
            kind = f"segment {depth} of {cut.chain}"
            self._step = self._begin(kind, step, due_s, self._call_off)
            held, step_ms = await asyncio.wrap_future(self._step)
            took_ms += step_ms
        return chain.outputs(held), took_ms


class Device:
    """The computing half of an agent; its methods are called on the agent's event loop.

    The rung of a frame is its candidate's `chosen`. `refused` says by chain why it cannot run here.
    `tell` is given what people should know of chains that are loaded later; `notes` has what there
    is to tell at the opening: candidates that cannot run here or for which there is no memory, and
    chains that run otherwise than the plan has it.
    """

    def __init__(
        self, bundle: Bundle, config: AgentConfig, pace: Pace, tell: Callable[[str], None]
    ) -> None:
        runtimes = Runtimes(config.runtime)
        self.refused = refusals(bundle.manifest, bundle.path, runtimes)
        able = without_chains(bundle.manifest, self.refused)
        self._chains = Chains(
            replace(bundle, manifest=able), config.threads, runtimes, config.max_memory_bytes
        )
        self._manifest = without_chains(able, self._chains.left_out)
        self.notes = (
            *_left_out(bundle.manifest, self._manifest),
            *departures(self._manifest, bundle.path, runtimes),
            *self._chains.news(),
        )
        self._tell = tell
        self._stages = Stages(bundle)
        self._encoder = FrameEncoder(video=config.video == "auto")
        self._lone_encoder = FrameEncoder()  # for frames that no other one refers to
        self._lineage = Lineage()
        self._pace = pace
        self._desk = Desk("isthmus-device")
        self._rests: set[Rest] = set()

    @property
    def manifest(self) -> Manifest:
        """The plan, without candidates that cannot run here or for which there is no memory."""
        return self._manifest

    @property
    def memory_bytes(self) -> int:
        """What the networks that are loaded take."""
        return self._chains.memory_bytes

    @property
    def rests_waiting(self) -> int:
        """Frames whose rest the thread has not done yet."""
        return len(self._rests)

    async def head(
        self, frame: Frame, candidate: Candidate, *, fast_link: bool
    ) -> tuple[pb.Frame, float]:
        """Take a frame up to its candidate's cut: the message for it, and the ms it took.

        It is a key frame where the cloud turns out, meanwhile, to lack what it would refer to.
        """
        cut = self._manifest.cut_of(candidate)
        chain = await self._chain(cut)
        boundary = [tensor.boundary.name for tensor in cut.tensors]

        def work() -> tuple[Mapping[str, AnyArray], pb.Frame, float]:
            began = time.perf_counter()
            tensors = chain.head(frame.tensors, cut.depth, boundary)
            head_s = time.perf_counter() - began
            message = self._encode(self._encoder, tensors, candidate, fast_link=fast_link)
            return tensors, message, head_s / max(time.perf_counter() - began, 1e-9)

        kind, breaks = f"{candidate.id}@{candidate.chosen}", self._lineage.breaks
        (tensors, message, head_share), took_ms = await self._on_thread(kind, work)
        message.sequence = frame.sequence
        frame.tensors, frame.cut = tensors, cut
        frame.head_ms, frame.encode_ms = took_ms * head_share, took_ms * (1 - head_share)
        if message.reference and breaks != self._lineage.breaks:
            return await self.key_frame(frame, candidate, fast_link=fast_link), took_ms
        self._lineage.extend(message)
        return message, took_ms

    async def key_frame(self, frame: Frame, candidate: Candidate, *, fast_link: bool) -> pb.Frame:
        """The same frame from the tensors in hand, so that it needs no other one."""
        message, _ = await self._on_thread(
            f"{candidate.id}@{candidate.chosen} again",
            lambda: self._encode(self._lone_encoder, frame.tensors, candidate, fast_link=fast_link),
        )
        message.sequence = frame.sequence
        return message

    async def whole(self, frame: Frame) -> tuple[Outputs, float]:
        """The model's outputs for a frame that nothing was computed of, and the ms they took."""
        chain = await self._chain(self._manifest.cut_of(self._manifest.local))
        return await self._on_thread("whole", lambda: chain.finish(frame.tensors, 0))

    async def finish(self, frame: Frame) -> Rest:
        """Begin the rest of the chain that has begun the frame, as soon as its turn comes."""
        assert frame.cut is not None  # its head has run
        chain = await self._chain(frame.cut)
        rest = Rest(self._begin, frame.tensors, frame.cut, chain)
        self._rests.add(rest)
        rest.done.add_done_callback(lambda _: self._rests.discard(rest))
        return rest

    def forget(self) -> None:
        """Begin anew with a key frame: another connection, whose other end holds nothing."""
        self._lineage.end()
        self._desk.submit(self._encoder.forget)

    def not_held(self, mark: int) -> None:
        """The cloud did not get, or did not decode, what has this mark (0: none): begin anew if the
        next difference would rest on it."""
        if self._lineage.holds(mark):
            self.forget()

    def close(self) -> None:
        """Wait for the work in hand."""
        self._desk.close()

    def _encode(
        self,
        encoder: FrameEncoder,
        tensors: Mapping[str, AnyArray],
        candidate: Candidate,
        *,
        fast_link: bool,
    ) -> pb.Frame:
        cut, rung = self._manifest.cut_of(candidate), candidate.chosen
        held = encoder.held(candidate, rung)
        boundary = [tensors[tensor.boundary.name] for tensor in cut.tensors]
        wire = self._stages.wire(cut, boundary, candidate.encodings, held)
        return encoder.encode(candidate, cut, rung, wire, fast_link=fast_link)

    async def _chain(self, cut: Cut) -> Chain:
        """Loading one is not a frame's work: it is not timed."""
        loaded = self._chains.loaded(cut)
        if loaded is not None:
            return loaded
        try:
            return await asyncio.wrap_future(self._desk.submit(partial(self._chains.of, cut)))
        finally:
            for text in self._chains.news():
                self._tell(text)

    async def _on_thread(self, kind: str, work: Callable[[], Result]) -> tuple[Result, float]:
        return await asyncio.wrap_future(self._begin(kind, work))

    def _begin(
        self,
        kind: str,
        work: Callable[[], Result],
        due_s: float | None = None,
        call_off: CallOff | None = None,
    ) -> "Future[tuple[Result, float]]":
        """Its result, and the ms that it took, when its turn has come."""
        return self._desk.submit(partial(self._pace.run, kind, work, call_off), due_s)


def _left_out(whole: Manifest, able: Manifest) -> Iterator[str]:
    names = defaultdict[str, list[str]](list)
    for candidate, found in zip(whole.candidates, able.candidates, strict=True):
        if candidate.kept and not found.kept:
            names[found.reason].append(candidate.id)
    for reason, lost in names.items():
        yield f"left out of the plan here: {', '.join(lost)}: {reason}"


def _heard(done: "asyncio.Future[Any]") -> None:
    """A failure that nobody waits for any more is no news."""
    if not done.cancelled():
        done.exception()
