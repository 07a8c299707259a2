"""The life of a frame on the device, one loop that reads like the design:

    accepted -> policy -> head (device thread) -> encode -> sent -> answer of the cloud
                                                             \\-> late, lost or refused:
                                                                 the device finishes the frame
                                                                 from the cut tensor it holds

The head of frame n+1 runs while n travels and n-1 is in the cloud. All methods run on one event
loop; everything that computes runs on one device thread, in order.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus import (
    Bundle,
    Candidate,
    IsthmusError,
    LinkError,
    PeerError,
    SymbolCoder,
    TensorEncoder,
    WireError,
    decode_answer,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.answer import Answer, Switch
from isthmus_edge.chain import Chain
from isthmus_edge.config import AgentConfig, Objective
from isthmus_edge.ledger import Ledger
from isthmus_edge.outlook import Outlook
from isthmus_edge.pace import Pace
from isthmus_edge.policy import Decision
from isthmus_edge.uplink import Uplink

RECONSIDER_S = 0.05
SWITCHES_KEPT = 256

Result = TypeVar("Result")
log = logging.getLogger("isthmus.edge")

__all__ = ["Frame", "Pipeline"]


@dataclass(slots=True, eq=False)
class Frame:
    """One accepted frame on its way; `tensor` is the cut tensor the device still holds."""

    sequence: int
    tensor: NDArray[np.generic]
    future: asyncio.Future[Answer]
    deadline_ms: float | None
    pinned: Candidate | None = None
    accepted_at: float = field(default_factory=time.monotonic)
    depth: int = 0
    payload_bytes: int = 0

    @property
    def age_ms(self) -> float:
        """Time since acceptance."""
        return (time.monotonic() - self.accepted_at) * 1e3


class Pipeline:
    """Takes accepted frames in, brings every one of them to exactly one end."""

    def __init__(
        self, bundle: Bundle, config: AgentConfig, pace: Pace, device: Executor, ledger: Ledger
    ) -> None:
        self._bundle = bundle
        self._pace = pace
        self._device = device
        self._ledger = ledger
        self._chain = Chain(bundle, config.threads)
        self._encoders = _encoders(bundle)
        self._outlook = Outlook(bundle.manifest, config)
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._window_open = asyncio.Event()
        self._travelling: set[asyncio.Task[None]] = set()
        self._opened_at = time.monotonic()
        self.on_begin: Callable[[], None] = lambda: None  # a frame has left the queue
        self.uplink: Uplink | None = None
        self.in_use: str | None = None
        self.switches: deque[Switch] = deque(maxlen=SWITCHES_KEPT)

    @property
    def device_scale(self) -> float:
        """Live device time over planned device time."""
        return self._outlook.device_scale

    def accept(self, frame: Frame) -> None:
        """Queue a frame; the caller has bounded how many may be pending."""
        self._frames.put_nowait(frame)

    def wake(self) -> None:
        """The link's state changed: let waiting decisions be made again."""
        self._window_open.set()

    async def run(self) -> None:
        """Compute heads, frame by frame, until cancelled."""
        while True:
            frame = await self._frames.get()
            await self._to_an_end(frame, self._begin(frame))

    def decide(self, objective: Objective) -> Decision:
        """What the policy would choose for a frame right now."""
        return self._outlook.decide(self.uplink, self.in_use, objective)

    async def _begin(self, frame: Frame) -> None:
        try:
            decision = await self._admit(frame)
        finally:
            self.on_begin()
        if frame.pinned is None:
            self._note_use(decision)
        await self._compute(frame, decision)

    async def _admit(self, frame: Frame) -> Decision:
        """Decide, and wait while the chosen candidate has enough frames under way.

        Silence lowers the belief in the link, so the decision is made anew while waiting.
        """
        while True:
            self._window_open.clear()
            decision = self._outlook.decision_for(frame.pinned, self.uplink, self.in_use)
            if decision.candidate.encoding is None or self.uplink is None:
                return decision
            allowed = self.uplink.window
            if frame.pinned is None:
                allowed = min(allowed, max(2, decision.prediction.in_flight))
            if self.uplink.state != "up" or self.uplink.in_flight < allowed:
                return decision
            with suppress(TimeoutError):
                async with asyncio.timeout(RECONSIDER_S):
                    await self._window_open.wait()

    async def _compute(self, frame: Frame, decision: Decision) -> None:
        candidate = decision.candidate
        if candidate.encoding is None:
            await self._finish_here(frame, candidate)
            return
        message = await self._head(frame, candidate)
        assert self.uplink is not None  # without one, `local` is the only choice
        answer = self.uplink.send(message)
        waiting = self._to_an_end(frame, self._await_answer(frame, decision, answer))
        task = asyncio.create_task(waiting)
        self._travelling.add(task)
        task.add_done_callback(self._travelling.discard)

    async def _to_an_end(self, frame: Frame, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong with a frame, it ends, and the frames behind it go on."""
        try:
            await work
        except IsthmusError as error:
            self._end_in_error(frame, error)
        except Exception as error:
            log.exception("frame %d failed inside the agent", frame.sequence)
            self._end_in_error(frame, IsthmusError(f"the agent failed on this frame: {error!r}"))

    async def _head(self, frame: Frame, candidate: Candidate) -> pb.Frame:
        cut = self._bundle.manifest.cut_of(candidate)

        def work() -> tuple[NDArray[np.generic], pb.Tensor]:
            tensor = self._chain.head(frame.tensor, cut.depth)
            return tensor, self._encoders[candidate.id].encode(tensor.astype(np.uint8, copy=False))

        (frame.tensor, message), took_ms = await self._on_thread(candidate.id, work)
        frame.depth, frame.payload_bytes = cut.depth, len(message.payload)
        self._outlook.note_device(candidate, took_ms)
        return pb.Frame(sequence=frame.sequence, candidate=candidate.id, tensors=[message])

    async def _await_answer(
        self, frame: Frame, decision: Decision, answer: asyncio.Future[pb.Result]
    ) -> None:
        candidate = decision.candidate
        try:
            async with asyncio.timeout(self._patience_s(frame, decision)):
                result = await answer
            outputs = self._decode(result)
        except TimeoutError:
            log.info("frame %d is late: the device finishes it", frame.sequence)
        except (LinkError, PeerError, WireError) as error:
            log.info("frame %d: %s: the device finishes it", frame.sequence, error)
        else:
            timing = result.timing
            self._outlook.note_cloud(candidate, timing.decode_ms + timing.run_ms)
            self._end(frame, candidate, "cloud", outputs)
            return
        finally:
            if self.uplink is not None:
                self.uplink.forget(frame.sequence)
            self._window_open.set()
        await self._finish_here(frame, candidate)

    async def _finish_here(self, frame: Frame, candidate: Candidate) -> None:
        """Run the rest of the chain from the tensor in hand."""
        whole = frame.depth == 0
        outputs, took_ms = await self._on_thread(
            f"rest from {frame.depth}", lambda: self._chain.finish(frame.tensor, frame.depth)
        )
        if whole:
            self._outlook.note_device(self._bundle.manifest.local, took_ms)
        self._end(frame, candidate, "device", outputs)

    async def _on_thread(self, kind: str, work: Callable[[], Result]) -> tuple[Result, float]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._device, self._pace.run, kind, work)

    def _decode(self, result: pb.Result) -> tuple[NDArray[np.generic], ...]:
        specs = self._bundle.manifest.outputs
        if len(result.outputs) != len(specs):
            raise WireError(f"{len(result.outputs)} outputs came, the plan says {len(specs)}")
        return tuple(decode_answer(o, s) for o, s in zip(result.outputs, specs, strict=True))

    def _end(
        self,
        frame: Frame,
        candidate: Candidate,
        place: str,
        outputs: tuple[NDArray[np.generic], ...],
    ) -> None:
        on_device = place == "device"
        if not self._ledger.settle(frame.sequence, "device" if on_device else "cloud"):
            return
        names = [spec.name for spec in self._bundle.manifest.outputs]
        answer = Answer(
            sequence=frame.sequence,
            outputs=dict(zip(names, outputs, strict=True)),
            candidate=candidate.id,
            place="device" if on_device else "cloud",
            latency_ms=frame.age_ms,
            payload_bytes=frame.payload_bytes,
            labels=self._bundle.labels,
        )
        if not frame.future.done():
            frame.future.set_result(answer)

    def _end_in_error(self, frame: Frame, error: IsthmusError) -> None:
        if self._ledger.settle(frame.sequence, "error") and not frame.future.done():
            frame.future.set_exception(error)

    def _patience_s(self, frame: Frame, decision: Decision) -> float:
        left_ms = None if frame.deadline_ms is None else frame.deadline_ms - frame.age_ms
        return self._outlook.patience_ms(decision, frame.depth, left_ms) / 1e3

    def _note_use(self, decision: Decision) -> None:
        chosen = decision.candidate.id
        if chosen == self.in_use:
            return
        at_s = time.monotonic() - self._opened_at
        self.switches.append(Switch(at_s, self.in_use, chosen, decision.reason))
        log.info("%s -> %s (%s)", self.in_use, chosen, decision.reason)
        self.in_use = chosen


def _encoders(bundle: Bundle) -> dict[str, TensorEncoder]:
    coder = SymbolCoder()  # all encoding happens on the one device thread
    encoders: dict[str, TensorEncoder] = {}
    for candidate in bundle.manifest.candidates:
        cut = bundle.manifest.cut_of(candidate)
        if candidate.encoding is not None and cut.tensor is not None:
            encoders[candidate.id] = TensorEncoder(
                cut.tensor, candidate.encoding, cut.quantisation, coder
            )
    return encoders
