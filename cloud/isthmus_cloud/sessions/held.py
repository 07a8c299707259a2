"""A session with its work: frames belong to it, whether a stream carries it or none does.

What a frame ended in waits here until whoever has the session takes it, and has its place in the
window until then. So a device that does not read can never have more than a window of outcomes
here, and none is lost with a stream.
"""

import asyncio
import logging
from typing import Protocol

from isthmus.session import Reply, ServiceEvent, ServiceSession
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.answerer import Answerer
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.audits.audited import Audited
from isthmus_cloud.audits.auditing import Auditor
from isthmus_cloud.sessions.outcomes import outcome_of

__all__ = ["Carrier", "HeldSession"]

_logger = logging.getLogger(__name__)


class Carrier(Protocol):
    """Who has a session: the stream that carries it, or the place where it is parked."""

    def outcome_ready(self, held: "HeldSession") -> None:
        """There is one more for `next_outcome`."""

    def let_go(self, held: "HeldSession") -> None:
        """A stream takes the session up."""


class HeldSession:
    """The rules of one session, and the tasks that they ask for."""

    def __init__(
        self,
        rules: ServiceSession,
        audited: Audited,
        answerer: Answerer,
        auditor: Auditor,
        carrier: Carrier,
    ) -> None:
        self.rules = rules
        self._audited = audited
        self.carrier = carrier
        self._answerer = answerer
        self._auditor = auditor
        self._memory = StreamMemory()
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._outcomes: dict[int, pb.CloudMessage] = {}  # oldest first
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

    def move_to(self, stream: Carrier) -> None:
        """Another stream takes the session up; what its frames refer to has to come on it anew."""
        self.carrier.let_go(self)
        self.carrier = stream
        self._memory = StreamMemory()

    def answer(self, frame: pb.Frame, received_ns: int) -> None:
        """Begin a frame; to be called in order of arrival."""
        self._answering[frame.sequence] = asyncio.create_task(self._answer(frame, received_ns))

    def give_up(self, sequence: int) -> None:
        """Nobody waits for this frame: do not begin it, forget what it ended in."""
        self._outcomes.pop(sequence, None)
        task = self._answering.pop(sequence, None)
        if task is not None:
            task.cancel()

    def check(self, audit: pb.Audit) -> None:
        """Begin an audit."""
        self._checking = asyncio.create_task(self._check(audit))

    def next_outcome(self) -> pb.CloudMessage | None:
        """What is to be told next; its place in the window is free from now on."""
        while self._outcomes:
            outcome = self._outcomes.pop(next(iter(self._outcomes)))
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
        for task in self._answering.values():
            task.cancel()
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

    async def _answer(self, frame: pb.Frame, received_ns: int) -> None:
        sequence, is_audited = frame.sequence, frame.audited
        answer = self._answerer.answer(frame, received_ns, self.rules.top_k, self._memory)
        outcome = await outcome_of(answer, sequence, self.rules.name)
        del self._answering[sequence]
        if is_audited and outcome.HasField("result"):
            self._audited.remember(outcome.result)
        self._outcomes[sequence] = outcome
        self.carrier.outcome_ready(self)

    async def _answered(self, sequence: int) -> pb.Result | None:
        answering = self._answering.get(sequence)
        if answering is not None:
            await asyncio.wait({answering})
        return self._audited.take(sequence)

    async def _check(self, audit: pb.Audit) -> None:
        try:
            verdict = await self._auditor.check(audit, self._answered)
        except Exception:
            _logger.exception("session %s, audit of frame %d", self.rules.name, audit.sequence)
            text = "the service failed on this audit"
            verdict = pb.Verdict(sequence=audit.sequence, reason=text)
        self._verdict = verdict
        self.carrier.outcome_ready(self)


def _only_reply(events: list[ServiceEvent]) -> pb.CloudMessage | None:
    """What an outcome leads to: one message, or none where nobody waits for it."""
    for event in events:
        if isinstance(event, Reply):
            return event.message
    return None
