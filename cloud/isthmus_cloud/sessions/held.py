"""A session with its work: frames belong to it, whether a stream carries it or none does.

What a frame ended in waits here until whoever has the session takes it, and has its place in the
window until then. So a device that does not read can never have more than a window of outcomes
here, and none is lost with a stream. One that leaves much unread gets no frames run meanwhile.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from isthmus.session import Reply, ServiceEvent, ServiceSession
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.unread import Unread
from isthmus_cloud.audits.audited import Audited
from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.sessions.outcomes import error_of, outcome_of
from isthmus_cloud.sessions.visitor import Visitor
from isthmus_cloud.telemetry import Audited as AuditDone
from isthmus_cloud.telemetry import FrameDone, Observer

__all__ = ["Carrier", "HeldSession"]

MOST_PAYLOADS = 64  # of a frame that may yet be refused, whose bytes are counted

_logger = logging.getLogger(__name__)

_Answering = asyncio.Future[pb.Result]


class Carrier(Protocol):
    """Who has a session: the stream that carries it, or the place where it is parked."""

    def outcome_ready(self, held: "HeldSession") -> None:
        """There is one more for `next_outcome`."""

    def let_go(self, held: "HeldSession") -> None:
        """A stream takes the session up."""

    def tell(self, message: pb.CloudMessage) -> None:
        """Something for the device, if there is a stream."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is remembered of a frame that is being answered."""

    sequence: int
    candidate: str
    rung: int
    payload_bytes: int
    received_ns: int
    is_audited: bool
    traceparent: str


class HeldSession:
    """The rules of one session, and the work that they ask for.

    Until a Hello was accepted there is no deployment, and no frame comes.
    """

    def __init__(
        self,
        rules: ServiceSession,
        audited: Audited,
        visitor: Visitor,
        carrier: Carrier,
        observer: Observer,
        outcomes: Unread,
    ) -> None:
        self.rules = rules
        self.visitor = visitor
        self.carrier = carrier
        self.deployment: Deployment | None = None
        self._audited = audited
        self._observer = observer
        self._memory = StreamMemory()
        self._answering: dict[int, _Answering] = {}
        self._outcomes = outcomes
        self._checking: asyncio.Task[None] | None = None
        self._verdict: pb.Verdict | None = None

    @property
    def kept_bytes(self) -> int:
        """Results that a resume or an audit may ask for."""
        return self.rules.kept_bytes + self._audited.size_bytes

    def forget(self, count: int) -> None:
        """Free `count` bytes of these, or all: a resume misses them, an audit is not compared."""
        least_bytes = self.kept_bytes - count
        self._audited.clear()
        self.rules.forget(self.kept_bytes - least_bytes)

    def move_to(self, stream: Carrier, visitor: Visitor) -> None:
        """Another stream takes the session up; what its frames refer to has to come on it anew."""
        self.carrier.let_go(self)
        self.carrier = stream
        self.visitor = visitor
        self._memory = StreamMemory()

    def use(self, deployment: Deployment, rules: ServiceSession) -> None:
        """The device has said which bundle it holds; these are the rules from now on."""
        self.deployment = deployment
        self.rules = rules

    def answer(self, frame: pb.Frame, received_ns: int) -> None:
        """Begin a frame; to be called in order of arrival."""
        assert self.deployment is not None
        answerer, visitor = self.deployment.answerer, self.visitor
        asked = _Asked(
            sequence=frame.sequence,
            candidate=frame.candidate if frame.candidate in answerer.candidates else "",
            rung=frame.rung,
            payload_bytes=sum(len(payload.data) for payload in frame.payloads[:MOST_PAYLOADS]),
            received_ns=received_ns,
            is_audited=frame.audited,
            traceparent=frame.traceparent,
        )
        try:
            visitor.guard.frame(visitor.identity)
        except Exception as error:  # noqa: BLE001 - it is the outcome of this frame
            self._ended(asked, error_of(error, asked.sequence, self.rules.name))
            return
        try:
            self._outcomes.check()
            client = visitor.identity.name or self
            done = answerer.begin(frame, received_ns, self.rules.top_k, self._memory, client)
        except Exception as error:  # noqa: BLE001 - it is the outcome of this frame
            visitor.guard.frame_ended(visitor.identity)
            self._ended(asked, error_of(error, asked.sequence, self.rules.name))
            return
        self._answering[asked.sequence] = done
        done.add_done_callback(partial(self._on_done, asked))

    def give_up(self, sequence: int) -> None:
        """Nobody waits for this frame: do not begin it, forget what it ended in."""
        self._outcomes.drop(sequence)
        done = self._answering.pop(sequence, None)
        if done is not None:
            done.cancel()

    def check(self, audit: pb.Audit) -> None:
        """Begin an audit."""
        self._checking = asyncio.create_task(self._check(audit))

    def next_outcome(self) -> pb.CloudMessage | None:
        """What is to be told next; its place in the window is free from now on."""
        while (outcome := self._outcomes.take()) is not None:
            message = _only_reply(self.rules.finished(outcome))
            if message is not None:
                return message
        verdict, self._verdict = self._verdict, None
        return None if verdict is None else _only_reply(self.rules.checked(verdict))

    def keep_outcomes(self) -> None:
        """There is no stream to tell them on: the rules keep what is of use to a later one."""
        while self.next_outcome() is not None:
            pass
        self._audited.clear()
        if not self.rules.in_flight:
            self._memory = StreamMemory()  # else frames that wait may refer to what it keeps

    def stop(self) -> None:
        """Give up all work; outcomes that wait may still be told."""
        for done in self._answering.values():
            done.cancel()
        self._answering.clear()
        if self._checking is not None:
            self._checking.cancel()

    def end(self) -> None:
        """Nothing will come of this session any more."""
        self.stop()
        self.rules.close()
        self._outcomes.clear()
        self._audited.clear()
        self._verdict = None
        self._memory = StreamMemory()  # a stream that cannot end yet still holds this

    def _on_done(self, asked: _Asked, done: _Answering) -> None:
        self.visitor.guard.frame_ended(self.visitor.identity)
        if self._answering.get(asked.sequence) is not done:  # given up
            if not done.cancelled():
                done.exception()  # or asyncio would say that nobody asked for it
            self._note(asked, None)
            return
        del self._answering[asked.sequence]
        outcome = outcome_of(done, asked.sequence, self.rules.name)
        if asked.is_audited and outcome.HasField("result"):
            self._audited.remember(outcome.result)
        self._ended(asked, outcome)

    def _ended(self, asked: _Asked, outcome: pb.CloudMessage) -> None:
        self._outcomes.put(asked.sequence, outcome)
        self.carrier.outcome_ready(self)
        # Behind what tells the device, and behind the runs that it was part of.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._note, asked, outcome)

    def _note(self, asked: _Asked, outcome: pb.CloudMessage | None) -> None:
        """Tell the observer how a frame ended; None for one that was given up."""
        assert self.deployment is not None
        timing = pb.Timing() if outcome is None else outcome.result.timing
        self._observer.note(
            FrameDone(
                identity=self.visitor.identity.name,
                session=self.rules.name,
                model=self.deployment.name,
                version=self.deployment.version,
                sequence=asked.sequence,
                candidate=asked.candidate,
                rung=asked.rung,
                outcome=_outcome_word(outcome),
                payload_bytes=asked.payload_bytes,
                answer_bytes=0 if outcome is None else outcome.result.ByteSize(),
                batch=timing.batch,
                received_ns=asked.received_ns,
                queue_ms=timing.queue_ms,
                decode_ms=timing.decode_ms,
                run_ms=timing.run_ms,
                total_ms=(time.monotonic_ns() - asked.received_ns) / 1e6,
                traceparent=asked.traceparent,
            )
        )

    async def _answered(self, sequence: int) -> pb.Result | None:
        answering = self._answering.get(sequence)
        if answering is not None:
            await asyncio.wait({answering})  # behind `_on_done`, which was there first
        return self._audited.take(sequence)

    async def _check(self, audit: pb.Audit) -> None:
        assert self.deployment is not None
        try:
            verdict = await self.deployment.auditor.check(audit, self._answered)
        except Exception:
            _logger.exception("session %s, audit of frame %d", self.rules.name, audit.sequence)
            text = "the service failed on this audit"
            verdict = pb.Verdict(sequence=audit.sequence, reason=text)
        self._observer.note(
            AuditDone(
                session=self.rules.name,
                model=self.deployment.name,
                version=self.deployment.version,
                compared=verdict.compared,
                agrees=verdict.agrees,
                divergence=verdict.divergence,
            )
        )
        self._verdict = verdict
        self.carrier.outcome_ready(self)


def _only_reply(events: list[ServiceEvent]) -> pb.CloudMessage | None:
    """What an outcome leads to: one message, or none where nobody waits for it."""
    for event in events:
        if isinstance(event, Reply):
            return event.message
    return None


def _outcome_word(outcome: pb.CloudMessage | None) -> str:
    if outcome is None:
        return "cancelled"
    if outcome.HasField("result"):
        return "answered"
    return pb.ErrorCode.Name(outcome.error.code).removeprefix("ERROR_CODE_").lower()
