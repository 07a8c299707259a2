"""The service's side of a session: which frames are to be answered, and what is kept for a resume.

A session outlives its stream for a while. Frames that were in flight when the stream broke go on
being answered; their results are kept, in bounded memory, until the device has said that it needs
them no more, or for `resume_s`. A device that comes back names what it still waits for: results
that are kept are sent at once, those under way follow, the others it has to send again. So no frame
is computed twice because a link broke, and none is answered twice on one stream.

The session belongs to the present stream: once `resume` was called, messages and the end of the
older stream must not be given to it. Without a stream messages are dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.errors import SessionError
from isthmus.session.kept import KeptResults
from isthmus.session.messages import error_message
from isthmus.session.service_events import (
    Answer,
    Check,
    Close,
    GiveUp,
    Greet,
    Reply,
    ServiceEvent,
)
from isthmus.session.table import SERVICE_TABLE, ServiceInput, ServiceState
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb

SHORT = 12  # digits of an id or a fingerprint that people compare
MOST_NAMED = 1024  # frames that one Hello or Cancel may name
MOST_ID_CHARACTERS = 64
KEPT_WINDOWS = 2  # of results; no device misses more than one

__all__ = ["MOST_NAMED", "ServiceLimits", "ServiceSession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLimits:
    """Times in seconds. A stream on which nothing is heard for `idle_s` ends; something is said on
    it every `beat_s`; a session without a stream is kept for `resume_s`, with up to `keep_bytes` of
    results whose arrival is not known, which are never more than two windows. A heartbeat is
    answered with up to `padding_bytes` of padding if the device asks for it, but all of a stream
    with no more than `stream_padding_bytes`.
    """

    hello_s: float = 10.0
    idle_s: float = 60.0
    beat_s: float = 0.5
    resume_s: float = 10.0
    keep_bytes: int = 1024 * 1024
    padding_bytes: int = 64 * 1024
    stream_padding_bytes: int = 1024 * 1024


class ServiceSession:
    """One device's session. `terms` is the Welcome: fingerprint, window and the rest.

    `count_bytes` hears of every change of `kept_bytes`, for a sum over several sessions.
    """

    def __init__(
        self,
        terms: pb.Welcome,
        limits: ServiceLimits,
        now: float,
        count_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._terms = terms
        self._limits = limits
        self._state: ServiceState = "waiting"
        self._in_flight: dict[int, int] = {}  # when each arrived, by the service's clock in ns
        most = min(KEPT_WINDOWS * terms.window, MOST_NAMED)
        self._kept = KeptResults(most, limits.keep_bytes, count_bytes)
        self._settled_through = 0
        self._padding_left = limits.stream_padding_bytes
        self._auditing = False
        self._heard_at = self._said_at = self._parked_at = now
        self._stream = 0
        self.id = ""
        self.top_k = 0
        self.duplicates = 0
        self._heed: dict[str, Callable[[pb.EdgeMessage, int], list[ServiceEvent]]] = {
            "hello": lambda message, _: self._on_hello(message.hello),
            "frame": lambda message, received_ns: self._on_frame(message.frame, received_ns),
            "heartbeat": lambda message, received_ns: [self._echo(message.heartbeat, received_ns)],
            "cancel": lambda message, _: self._on_cancel(message.cancel),
            "audit": lambda message, _: self._on_audit(message.audit),
        }

    @property
    def state(self) -> ServiceState:
        """Where the session stands."""
        return self._state

    @property
    def name(self) -> str:
        """For the log; empty before Hello."""
        return self.id[:SHORT]

    @property
    def in_flight(self) -> frozenset[int]:
        """Frames that are to be answered."""
        return frozenset(self._in_flight)

    @property
    def kept_bytes(self) -> int:
        """Memory of the results that are kept for a resume."""
        return self._kept.size_bytes

    @property
    def is_drained(self) -> bool:
        """The service is ending, and nothing of this session is in flight."""
        return self._state == "draining" and not self._in_flight

    def received(self, message: pb.EdgeMessage, now: float, received_ns: int) -> list[ServiceEvent]:
        """What follows from a message; `received_ns` is the time stamp that the device gets."""
        if self._state in {"parked", "ended"}:
            return []  # of a stream that is over
        self._heard_at = now
        kind = message.WhichOneof("kind")
        following = SERVICE_TABLE.get((self._state, kind)) if kind else None
        if following is None:
            expected = "Hello first" if self._state == "waiting" else "a frame or a heartbeat"
            return self._out_of_order(f"{kind or 'an empty message'} came, expected {expected}")
        return self._heed[str(kind)](message, received_ns)

    def was_overtaken(self, hello: pb.Hello) -> bool:
        """Whether a newer Hello of this session's device came before this one."""
        return hello.stream < self._stream

    def resume(self, hello: pb.Hello, now: float) -> list[ServiceEvent]:
        """The device of this session said Hello on a new stream; the old one is over.

        The caller has seen that protocol and bundle are the same. Frames that the device does not
        name are given up. Raises SessionError unless the session is open or parked.
        """
        self._go("resume")
        self._stream = hello.stream
        self._padding_left = self._limits.stream_padding_bytes
        self._heard_at = self._said_at = now
        self.top_k = hello.answer_top_k
        wanted = set(hello.unanswered[:MOST_NAMED])
        forgotten = self._in_flight.keys() - wanted
        for sequence in forgotten:
            del self._in_flight[sequence]
        self._kept.drop(self._kept.sequences - wanted)
        for message in self._kept.messages:
            message.result.ClearField("load")  # what it was then says nothing of now
        return [
            *(GiveUp(sequence) for sequence in sorted(forgotten)),
            self._greeting(sorted(self._in_flight.keys() | self._kept.sequences)),
            *map(Reply, self._kept.messages),
        ]

    def finished(self, outcome: pb.CloudMessage) -> list[ServiceEvent]:
        """A frame ended in this Result or Error; nothing is sent if nobody waits for it."""
        is_result = outcome.WhichOneof("kind") == "result"
        sequence = outcome.result.sequence if is_result else outcome.error.sequence
        if sequence not in self._in_flight:
            return []
        received_ns = self._in_flight.pop(sequence)
        if not is_result:
            outcome.error.received_ns = received_ns
        if is_result and self._state != "draining" and sequence > self._settled_through:
            self._kept.keep(sequence, outcome)
        return [Reply(outcome)] if self._state in {"open", "draining"} else []

    def forget(self, count: int) -> None:
        """Free `count` bytes of results that are kept, the oldest first: a resume misses them."""
        self._kept.shrink(self._kept.size_bytes - count)

    def checked(self, verdict: pb.Verdict) -> list[ServiceEvent]:
        """An audited frame was compared."""
        self._auditing = False
        connected = self._state in {"open", "draining"}
        return [Reply(pb.CloudMessage(verdict=verdict))] if connected else []

    def drain(self, grace_s: float) -> list[ServiceEvent]:
        """Take nothing new from now on; the message tells the device."""
        was = self._state
        self._go("drain")
        if was == "waiting":
            return [Close(error_message(0, pb.ERROR_CODE_DRAINING, _DRAINING))]
        if self._state == "ended":
            return self._give_all_up()
        self._kept.clear()  # a stream that breaks now is not resumed
        return [Reply(pb.CloudMessage(drain=pb.Drain(grace_ms=int(grace_s * 1e3))))]

    def lost(self, now: float) -> list[ServiceEvent]:
        """The stream is over. What is in flight goes on while the session is parked; in a drain
        it is given up, for no resume can come."""
        self._go("lost")
        self._parked_at = now
        if self._state == "parked" and not (self._in_flight or self._kept):
            self._go("expired")
        return self._give_all_up() if self._state == "ended" else []

    def close(self) -> None:
        """Nothing will come of this session any more; the caller gives up what was in flight."""
        self._go("close")
        self._give_all_up()

    def refuse(self, text: str) -> list[ServiceEvent]:
        """What came is no message at all: the stream and its session end."""
        return self._out_of_order(text)

    def said(self, now: float) -> None:
        """Something was sent on the stream."""
        self._said_at = now

    def wakes_at(self) -> float:
        """When `tick` has to be called, at the latest; infinite for a session that has ended."""
        match self._state:
            case "waiting":
                return self._heard_at + self._limits.hello_s
            case "open" | "draining":
                return min(
                    self._said_at + self._limits.beat_s, self._heard_at + self._limits.idle_s
                )
            case "parked":
                return self._parked_at + self._limits.resume_s
            case _:
                return float("inf")

    def tick(self, now: float) -> list[ServiceEvent]:
        """Whatever has run out by `now`: a silent device, a parked session; else a sign of life."""
        # A clock that was set back must not put off what runs out.
        self._heard_at = min(self._heard_at, now)
        self._said_at = min(self._said_at, now)
        self._parked_at = min(self._parked_at, now)
        if now < self.wakes_at():
            return []
        match self._state:
            case "waiting":
                return self._out_of_order(f"no Hello within {self._limits.hello_s:g} s")
            case "parked":
                self._go("expired")
                return self._give_all_up()
        if now >= self._heard_at + self._limits.idle_s:
            text = f"nothing was heard for {self._limits.idle_s:g} s; connect again"
            return [Close(error_message(0, pb.ERROR_CODE_IDLE, text), resumable=True)]
        self._said_at = now
        return [Reply(pb.CloudMessage(heartbeat=pb.Heartbeat()))]

    def _go(self, what: ServiceInput) -> None:
        following = SERVICE_TABLE.get((self._state, what))
        if following is None:
            raise SessionError(f"{what}: not allowed while the session is {self._state}")
        self._state = following

    def _on_hello(self, hello: pb.Hello) -> list[ServiceEvent]:
        if hello.protocol != PROTOCOL:
            return self._out_of_order(
                f"the device speaks protocol {hello.protocol}, this service {PROTOCOL}; "
                "install the same version of Isthmus on both sides"
            )
        if hello.bundle_fingerprint != self._terms.bundle_fingerprint:
            terms, theirs = self._terms, hello.bundle_fingerprint[:SHORT] or "none"
            title = f" ({terms.model} {terms.version})" if terms.model else ""
            text = (
                f"the device holds bundle {theirs}, this service another bundle, "
                f"{terms.bundle_fingerprint[:SHORT]}{title}: model, plan or weights differ"
            )
            self.close()
            return [Close(error_message(0, pb.ERROR_CODE_BUNDLE_MISMATCH, text))]
        count = len(hello.session_id)
        if not 1 <= count <= MOST_ID_CHARACTERS:
            text = f"the session id has {count} characters; allowed are 1 to {MOST_ID_CHARACTERS}"
            return self._out_of_order(text)
        self._go("hello")
        self.id = hello.session_id
        self._stream = hello.stream
        self.top_k = hello.answer_top_k
        return [self._greeting(())]

    def _on_frame(self, frame: pb.Frame, received_ns: int) -> list[ServiceEvent]:
        sequence = frame.sequence
        self._settle(frame.settled_through)
        known = sequence in self._in_flight or sequence in self._kept
        if known and frame.again:
            self.duplicates += 1  # its result was sent on this stream, or will be
            return []
        # An error could not say which frame it means, and one frame would get two answers.
        if known or sequence <= self._settled_through:
            text = f"frame {sequence}: sequences count from 1 and are not repeated"
            return self._out_of_order(text)
        if self._state == "draining":
            refusal = error_message(sequence, pb.ERROR_CODE_DRAINING, _DRAINING, received_ns)
            return [Reply(refusal)]
        if len(self._in_flight) >= self._terms.window:
            text = f"{len(self._in_flight)} frames are in flight, which is the window; wait"
            refusal = error_message(sequence, pb.ERROR_CODE_OVERLOADED, text, received_ns)
            return [Reply(refusal)]
        self._in_flight[sequence] = received_ns
        return [Answer(frame)]

    def _echo(self, beat: pb.Heartbeat, received_ns: int) -> Reply:
        """Less padding than was asked for is no error: a measurement must not cost a session."""
        self._settle(beat.settled_through)
        given = min(beat.answer_bytes, self._limits.padding_bytes, self._padding_left)
        self._padding_left -= given
        echo = pb.Heartbeat(id=beat.id, received_ns=received_ns, answer_bytes=given)
        return Reply(pb.CloudMessage(heartbeat=echo))

    def _on_cancel(self, cancel: pb.Cancel) -> list[ServiceEvent]:
        count = len(cancel.sequences)
        if count > MOST_NAMED:
            text = f"a Cancel names {count} frames; allowed are {MOST_NAMED}"
            return self._out_of_order(text)
        events: list[ServiceEvent] = []
        for sequence in cancel.sequences:
            received_ns = self._in_flight.pop(sequence, None)
            if received_ns is not None:
                code = pb.ERROR_CODE_CANCELLED
                events.append(GiveUp(sequence))
                events.append(Reply(error_message(sequence, code, _CANCELLED, received_ns)))
        return events

    def _on_audit(self, audit: pb.Audit) -> list[ServiceEvent]:
        if self._auditing:
            verdict = pb.Verdict(sequence=audit.sequence, reason="another audit is not done yet")
            return [Reply(pb.CloudMessage(verdict=verdict))]
        self._auditing = True
        return [Check(audit)]

    def _greeting(self, held: Sequence[int]) -> Greet:
        welcome = pb.Welcome()
        welcome.CopyFrom(self._terms)
        welcome.held.extend(held)
        welcome.beat_ms = int(self._limits.beat_s * 1e3)
        return Greet(pb.CloudMessage(welcome=welcome))

    def _settle(self, through: int) -> None:
        """The device needs nothing up to this frame any more."""
        if through > self._settled_through:
            self._settled_through = through
            self._kept.settle(through)

    def _give_all_up(self) -> list[ServiceEvent]:
        given_up = sorted(self._in_flight)
        self._in_flight.clear()
        self._kept.clear()
        return [GiveUp(sequence) for sequence in given_up]

    def _out_of_order(self, text: str) -> list[ServiceEvent]:
        self.close()
        return [Close(error_message(0, pb.ERROR_CODE_PROTOCOL, text))]


_DRAINING = "the service is ending; send frames to another one"
_CANCELLED = "the device asked for it"
