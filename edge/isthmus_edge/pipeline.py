"""The life of a frame on the device, one loop that reads like the design:

    accepted -> policy, rate control -> head, stages, encoder (device thread) -> sent -> answer
        \\-> the cloud lacks what the frame is a difference to: sent once more, as a key frame
        \\-> late, lost or refused: the device finishes the frame from the tensors it holds

The head of frame n+1 runs while n travels and n-1 is in the cloud. All methods run on one event
loop; everything that computes runs on one device thread, in order.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Literal

from isthmus import (
    Bundle,
    Candidate,
    IsthmusError,
    LinkError,
    PeerError,
    WireError,
    decode_answer,
    left_to_answer,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.answer import Answer, Switch
from isthmus_edge.config import AgentConfig, Objective
from isthmus_edge.device import Device
from isthmus_edge.frame import Frame
from isthmus_edge.ledger import Ledger
from isthmus_edge.outlook import Outlook
from isthmus_edge.policy import Decision
from isthmus_edge.runtime import AnyArray
from isthmus_edge.uplink import Uplink

RECONSIDER_S = 0.05
SWITCHES_KEPT = 256
FAST_LINK_BPS = 0.5e9  # above, entropy coding takes longer than the bytes it saves

log = logging.getLogger("isthmus.edge")

__all__ = ["FAST_LINK_BPS", "Pipeline"]


class Pipeline:
    """Takes accepted frames in, brings every one of them to exactly one end."""

    def __init__(self, bundle: Bundle, config: AgentConfig, device: Device, ledger: Ledger) -> None:
        self._bundle = bundle
        self._device = device
        self._ledger = ledger
        self._outlook = Outlook(bundle.manifest, config)
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._window_open = asyncio.Event()
        self._travelling: set[asyncio.Task[None]] = set()
        self._link_changes = 0
        self._awaited = 0  # frames that wait for the cloud: a place in its window each
        self._opened_at = time.monotonic()
        self.on_begin: Callable[[], None] = lambda: None  # a frame has left the queue
        self.uplink: Uplink | None = None
        self.in_use: str | None = None
        self.rung: int | None = None
        self.switches: deque[Switch] = deque(maxlen=SWITCHES_KEPT)

    @property
    def device_scale(self) -> float:
        """Live device time over planned device time."""
        return self._outlook.device_scale

    @property
    def rate_advice(self) -> str | None:
        """What would suit the link better, while no allowed rung fits it."""
        return self._outlook.rate_advice

    def accept(self, frame: Frame) -> None:
        """Queue a frame; the caller has bounded how many may be pending."""
        self._frames.put_nowait(frame)

    def link_changed(self) -> None:
        """Let waiting decisions be made again; what the other end held counts no more."""
        self._link_changes += 1
        self._device.forget()
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
            decision = self._outlook.at_best_rung(decision, self.uplink, frame.left_ms)
            self._note_use(decision)
        if decision.candidate.is_local:
            await self._finish_here(frame, decision.candidate)
        else:
            await self._set_off(frame, decision)

    async def _admit(self, frame: Frame) -> Decision:
        """Decide, and wait while the chosen candidate has enough frames under way.

        Silence lowers the belief in the link, so the decision is made anew while waiting.
        """
        while True:
            self._window_open.clear()
            decision = self._outlook.decision_for(frame.pinned, self.uplink, self.in_use)
            if decision.candidate.is_local or self.uplink is None:
                return decision
            allowed = self.uplink.window
            if frame.pinned is None:
                allowed = min(allowed, max(2, decision.prediction.in_flight))
            if self.uplink.state != "up" or self._awaited < allowed:
                return decision
            with suppress(TimeoutError):
                async with asyncio.timeout(RECONSIDER_S):
                    await self._window_open.wait()

    async def _to_an_end(self, frame: Frame, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong with a frame, it ends, and the frames behind it go on."""
        try:
            await work
        except IsthmusError as error:
            self._end_in_error(frame, error)
        except Exception as error:
            log.exception("frame %d failed inside the agent", frame.sequence)
            self._end_in_error(frame, IsthmusError(f"the agent failed on this frame: {error!r}"))

    async def _set_off(self, frame: Frame, decision: Decision) -> None:
        """Compute the head, send the frame, and let its answer be waited for."""
        candidate, fast_link, before = decision.candidate, self._link_is_fast(), self._link_changes
        message, took_ms = await self._device.head(frame, candidate, fast_link=fast_link)
        self._outlook.note_device(candidate, took_ms)
        if not fast_link:
            self._outlook.note_size(message)
        if message.reference and before != self._link_changes:
            # It was made for a stream that has ended, and with it the memory of its other end.
            message = await self._device.key_frame(frame, candidate, fast_link=fast_link)
        answer = self._send(frame, message)
        self._awaited += 1
        waiting = self._to_an_end(frame, self._await_answer(frame, decision, answer))
        task = asyncio.create_task(waiting)
        self._travelling.add(task)
        task.add_done_callback(self._travelling.discard)

    async def _await_answer(
        self, frame: Frame, decision: Decision, answer: asyncio.Future[pb.Result]
    ) -> None:
        candidate = decision.candidate
        try:
            async with asyncio.timeout(self._patience_s(frame, decision)):
                result = await self._result(frame, candidate, answer)
            outputs = self._merged(frame, result)
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
            self._awaited -= 1
            self._window_open.set()
        await self._finish_here(frame, candidate)

    async def _result(
        self, frame: Frame, candidate: Candidate, answer: asyncio.Future[pb.Result]
    ) -> pb.Result:
        """The cloud's result; a frame whose reference it lacks is sent again, once."""
        try:
            return await answer
        except PeerError as error:
            if error.code != "KEY_FRAME_NEEDED":
                raise
            log.debug("frame %d: %s", frame.sequence, error)
        key_frame = await self._device.key_frame(frame, candidate, fast_link=self._link_is_fast())
        return await self._send(frame, key_frame)

    def _send(self, frame: Frame, message: pb.Frame) -> asyncio.Future[pb.Result]:
        assert self.uplink is not None  # without one, `local` is the only choice
        frame.payload_bytes += sum(len(payload.data) for payload in message.payloads)
        return self.uplink.send(message)

    async def _finish_here(self, frame: Frame, candidate: Candidate) -> None:
        """Run the rest of the chain from the tensors in hand."""
        outputs, took_ms = await self._device.finish(frame)
        manifest = self._bundle.manifest
        whole_chain = manifest.cut_of(manifest.local).chain
        if frame.cut is None or (frame.cut.depth, frame.cut.chain) == (0, whole_chain):
            self._outlook.note_device(manifest.local, took_ms)
        self._end(frame, candidate, "device", outputs)

    def _merged(self, frame: Frame, result: pb.Result) -> Mapping[str, AnyArray]:
        """The model's outputs: those that the cloud gave, and those that the head gave before."""
        assert frame.cut is not None  # its head has run
        outputs, answers = self._bundle.manifest.outputs, frame.cut.answers
        specs = left_to_answer(outputs, answers)
        if len(result.outputs) != len(specs):
            raise WireError(f"{len(result.outputs)} outputs came, the plan says {len(specs)}")
        pairs = zip(result.outputs, specs, strict=True)
        given = {spec.name: decode_answer(output, spec) for output, spec in pairs}
        given |= {name: frame.tensors[name] for name in answers}
        return {spec.name: given[spec.name] for spec in outputs}

    def _end(
        self,
        frame: Frame,
        candidate: Candidate,
        place: Literal["cloud", "device"],
        outputs: Mapping[str, AnyArray],
    ) -> None:
        if not self._ledger.settle(frame.sequence, place):
            return
        answer = Answer(
            sequence=frame.sequence,
            outputs=outputs,
            candidate=candidate.id,
            rung=candidate.chosen,
            place=place,
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
        return self._outlook.patience_ms(decision, frame.left_ms) / 1e3

    def _link_is_fast(self) -> bool:
        link = None if self.uplink is None else self.uplink.estimate()
        return link is not None and link.bandwidth_bps > FAST_LINK_BPS

    def _note_use(self, decision: Decision) -> None:
        chosen = decision.candidate.id
        self.rung = decision.candidate.chosen
        if chosen == self.in_use:
            return
        at_s = time.monotonic() - self._opened_at
        self.switches.append(Switch(at_s, self.in_use, chosen, decision.reason))
        log.info("%s -> %s (%s)", self.in_use, chosen, decision.reason)
        self.in_use = chosen
