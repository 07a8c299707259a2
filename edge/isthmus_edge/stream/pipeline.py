"""The life of a frame on the device, one loop that reads like the design:

    accepted -> policy, rate control -> head, stages, encoder (device thread) -> sent -> answer
        \\-> what becomes of a frame that was sent: `underway.py`

The head of frame n+1 runs while n travels and n-1 is in the cloud. All methods run on one event
loop; everything that computes runs on one device thread, in order.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from isthmus import (
    Bundle,
    Candidate,
    Cut,
    IsthmusError,
    LinkError,
    SessionError,
    StaleFrameError,
    WireError,
    decode_answer,
    left_to_answer,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.answer import Answer, Switch
from isthmus_edge.audit.audits import Audits
from isthmus_edge.config import AgentConfig, Objective
from isthmus_edge.device.device import Device, Rest
from isthmus_edge.events import Events
from isthmus_edge.ledger import Ledger, Outcome
from isthmus_edge.policy.choice import Decision, window
from isthmus_edge.policy.outlook import Outlook, Sent
from isthmus_edge.policy.vitals import Vitals
from isthmus_edge.runtimes import AnyArray
from isthmus_edge.stream.flight import Flight
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.timed import timings_of
from isthmus_edge.stream.underway import Ending, Underway
from isthmus_edge.stream.uplink import Uplink
from isthmus_edge.stream.waiting import Waiting
from isthmus_edge.tracing import tracing_of

RECONSIDER_S = 0.05
RESCUES_AT_ONCE = 2  # pinned frames whose heads have run while the link is down
SWITCHES_KEPT = 256
MOST_MS = 2**32 - 1  # that a message can say
FAST_LINK_BPS = 0.5e9  # above, entropy coding takes longer than the bytes it saves

log = logging.getLogger("isthmus.edge")

__all__ = ["FAST_LINK_BPS", "Pipeline"]


class Pipeline:
    """Takes accepted frames in, brings every one of them to exactly one end."""

    def __init__(
        self,
        bundle: Bundle,
        config: AgentConfig,
        device: Device,
        ledger: Ledger,
        events: Events,
    ) -> None:
        self._bundle = bundle
        self._config = config
        self._device = device
        self._ledger = ledger
        self._outlook = Outlook(bundle.manifest, config)
        self.audits = Audits(bundle.manifest, config, self._outlook.distrust, events)
        drops_oldest = config.when_full == "drop-oldest"
        self._waiting = Waiting(config.max_queued, drops_oldest=drops_oldest)
        self._room = asyncio.Event()  # a frame has ended, or the link has changed
        self._travelling: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._held_bytes = 0
        self._opened_at = time.monotonic()
        self._tracing = tracing_of(config.traces, config.trace_share)
        self.on_begin: Callable[[], None] = lambda: None  # a frame has left the queue
        self.uplink: Uplink | None = None
        self.in_use: str | None = None
        self.rung: int | None = None
        self.sent_again = 0
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
        """Queue a frame; unless the stalest may be dropped, the caller has bounded how many."""
        self._tracing.begin(frame)
        stale = self._waiting.put(frame)
        if stale is not None:
            newer = self._config.max_queued
            text = f"frame {stale.sequence} was not begun before {newer} newer ones came"
            self._end_in_error(stale, StaleFrameError(text), "stale")

    def cancel(self, sequence: int) -> None:
        """Its caller wants no answer any more: a frame that is not begun ends here."""
        frame = self._waiting.remove(sequence)
        if frame is not None:
            self.on_begin()
            self._room.set()
            if self._ledger.settle(sequence, "cancelled"):
                frame.future.cancel()
                self._tracing.failed(frame, "cancelled")

    def link_changed(self) -> None:
        """Let waiting decisions be made again; what the other end held counts no more."""
        self.audits.lost()
        self._device.forget()
        self._room.set()

    async def run(self) -> None:
        """Compute heads, frame by frame, until cancelled."""
        while True:
            frame = await self._waiting.first()
            await self._to_an_end(frame, self._step(frame))

    async def close(self) -> None:
        """Call off whatever is still under way; the futures of its frames are settled already."""
        for task in self._travelling:
            task.cancel()
        await asyncio.gather(*self._travelling, return_exceptions=True)
        await self.audits.close()
        await self._tracing.close()

    def note_vitals(self, vitals: Vitals) -> None:
        """How the device says it is."""
        self._outlook.note_vitals(vitals)

    def decide(self, objective: Objective) -> Decision:
        """What the policy would choose for a frame right now."""
        return self._outlook.decide(self.uplink, self.in_use, objective)

    async def _step(self, frame: Frame) -> None:
        """Begin the frame, or wait a little while the link has enough of them.

        Silence lowers the belief in the link, and a stale frame may be dropped: so all is decided
        anew each time.
        """
        self._room.clear()
        try:
            decision = self._decision_for(frame)
        except BaseException:
            self._begun(frame)
            raise
        if self._has_room(frame, decision):
            if self._begun(frame):
                await self._begin(frame, decision)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(RECONSIDER_S):
                await self._room.wait()

    def _decision_for(self, frame: Frame) -> Decision:
        decision = self._outlook.decision_for(frame.pinned, self.uplink, self.in_use, frame.left_ms)
        if self.uplink is not None:
            self.uplink.explore(wanted=decision.explore)
        return decision

    def _has_room(self, frame: Frame, decision: Decision) -> bool:
        """By credits and memory; where the policy chose, also by what keeps the link busy."""
        uplink = self.uplink
        if decision.candidate.is_local or uplink is None:
            return True
        is_up = uplink.state == "up"
        service_window = uplink.window if is_up else RESCUES_AT_ONCE
        wanted = service_window if frame.pinned else decision.prediction.in_flight
        each_bytes = self._held_bytes // max(self._under_way, 1)
        allowed = window(wanted, service_window, each_bytes, self._config.max_held_bytes)
        return (uplink.credits > 0 or not is_up) and self._under_way < allowed

    def _begun(self, frame: Frame) -> bool:
        if not self._waiting.take(frame):
            return False
        frame.begun_at = time.monotonic()
        self.on_begin()
        return True

    async def _begin(self, frame: Frame, decision: Decision) -> None:
        if frame.pinned is None:
            decision = self._outlook.at_best_rung(decision, self.uplink, frame.left_ms)
            self._note_use(decision)
        if decision.candidate.is_local:
            outputs, took_ms = await self._device.whole(frame)
            frame.head_ms, frame.computed_at = took_ms, time.monotonic()
            self._outlook.note_device(decision.candidate, took_ms)
            self._end(frame, decision.candidate, Ending("device", outputs))
        else:
            await self._set_off(frame, decision)

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
        candidate, fast_link = decision.candidate, self._link_is_fast()
        self.audits.begin(frame, candidate)
        message, took_ms = await self._device.head(frame, candidate, fast_link=fast_link)
        frame.computed_at = time.monotonic()
        self._outlook.note_device(candidate, took_ms)
        if not fast_link:
            self._outlook.note_size(message)
        try:
            flight: Flight | None = self._send(frame, message)
        except (LinkError, SessionError) as error:
            log.debug("frame %d: %s: the device finishes it", frame.sequence, error)
            flight = None
            self.not_held(message)
        self._under_way += 1
        self._held_bytes += frame.held_bytes
        seen_through = self._to_an_end(frame, self._see_through(frame, decision, message, flight))
        task = asyncio.create_task(seen_through)
        self._travelling.add(task)
        task.add_done_callback(self._travelling.discard)

    async def _see_through(
        self, frame: Frame, decision: Decision, message: pb.Frame, flight: Flight | None
    ) -> None:
        candidate, held_bytes = decision.candidate, frame.held_bytes
        try:
            if flight is None:
                rest = await self.finish(frame)
                outputs, took_ms = await rest.done
                ending = Ending("device", outputs, rest_ms=took_ms)
            else:
                patience_s = partial(self._patience_s, frame, decision)
                ending = await Underway(frame, candidate, message, self, patience_s).end(flight)
        finally:
            if self.uplink is not None and self.uplink.forget(frame.sequence):
                self.not_held(message)
            self._under_way -= 1
            self._held_bytes -= held_bytes
            self._room.set()
            if self._under_way == 0:
                self.audits.idle()
        self._end(frame, candidate, ending)

    def send_again(self, frame: Frame, message: pb.Frame) -> None:
        """Send a frame once more; LinkError or SessionError if that cannot be now."""
        self._send(frame, message)
        self.sent_again += 1

    async def key_frame(self, frame: Frame, candidate: Candidate) -> pb.Frame:
        """Encode a frame once more, so that it needs no other one."""
        return await self._device.key_frame(frame, candidate, fast_link=self._link_is_fast())

    def not_held(self, message: pb.Frame) -> None:
        """What this message is marked as has not come to be a reference in the cloud."""
        self._device.not_held(message.mark)

    async def finish(self, frame: Frame) -> Rest:
        """Begin the rest of a frame on the device."""
        return await self._device.finish(frame)

    def _patience_s(self, frame: Frame, decision: Decision) -> float:
        """How long from now on a frame that was sent waits for the cloud."""
        sent = Sent(
            waited_ms=(time.monotonic() - frame.sent_at) * 1e3,
            ahead_bytes=frame.ahead_bytes,
            left_ms=frame.left_ms,
            rests_ahead=self._device.rests_waiting,
        )
        return self._outlook.patience_ms(decision, self.uplink, sent) / 1e3

    def merged(self, frame: Frame, cut: Cut, result: pb.Result) -> Mapping[str, AnyArray]:
        """The model's outputs: those that the cloud gave, and those that the head gave before."""
        outputs, answers = self._bundle.manifest.outputs, cut.answers
        specs = left_to_answer(outputs, answers)
        if len(result.outputs) != len(specs):
            raise WireError(f"{len(result.outputs)} outputs came, the plan says {len(specs)}")
        pairs = zip(result.outputs, specs, strict=True)
        given = {spec.name: decode_answer(output, spec) for output, spec in pairs}
        given |= {name: frame.tensors[name] for name in answers}
        return {spec.name: given[spec.name] for spec in outputs}

    def _send(self, frame: Frame, message: pb.Frame) -> Flight:
        if self.uplink is None:
            raise LinkError("this agent has no cloud")
        left_ms = frame.left_ms
        message.deadline_ms = 0 if left_ms is None else int(min(max(left_ms, 1.0), MOST_MS))
        message.traceparent = self._tracing.traceparent(frame)
        self.audits.sending(message)
        frame.ahead_bytes, frame.sent_at = self.uplink.link_queue_bytes, time.monotonic()
        flight = self.uplink.send(message, self._outlook.answer_bytes(message.candidate))
        frame.payload_bytes += sum(len(payload.data) for payload in message.payloads)
        return flight

    def _end(self, frame: Frame, candidate: Candidate, ending: Ending) -> None:
        self._learn(frame, candidate, ending)
        self.audits.ended(frame.sequence, in_cloud=ending.place == "cloud")
        if not self._ledger.settle(frame.sequence, ending.place):
            return
        answer = Answer(
            sequence=frame.sequence,
            outputs=ending.outputs,
            candidate=candidate.id,
            rung=candidate.chosen,
            place=ending.place,
            latency_ms=frame.age_ms,
            payload_bytes=frame.payload_bytes,
            labels=self._bundle.labels,
            timings=timings_of(frame, ending),
        )
        if not frame.future.done():
            frame.future.set_result(answer)
        self._tracing.answered(frame, candidate, ending)

    def _learn(self, frame: Frame, candidate: Candidate, ending: Ending) -> None:
        """What the frame took is what the next ones are expected to take."""
        if ending.result is not None:
            timing = ending.result.timing
            self._outlook.note_cloud(candidate, timing.decode_ms + timing.run_ms)
            return
        if frame.cut is not None:
            self._outlook.note_rest(frame.cut.id, ending.rest_ms)
            manifest = self._bundle.manifest
            if frame.cut.depth == 0 and frame.cut.chain == manifest.cut_of(manifest.local).chain:
                self._outlook.note_device(manifest.local, ending.rest_ms)

    def _end_in_error(self, frame: Frame, error: IsthmusError, outcome: Outcome = "error") -> None:
        self.audits.ended(frame.sequence, in_cloud=False)
        if not self._ledger.settle(frame.sequence, outcome):
            return
        if not frame.future.done():
            frame.future.set_exception(error)
        self._tracing.failed(frame, outcome, error)

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
