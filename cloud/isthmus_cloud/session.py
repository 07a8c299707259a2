"""The order of messages on one stream, without any I/O: a message in, what to do about it out.

    waiting --Hello--> open --drain--> draining
       |                 |                |
       +-----------------+----------------+---- a message out of order --> Close

A frame in `open` is to be answered, if the window has room; in `draining` it is refused. Errors
about one frame leave the stream alive, errors about the order of messages end it.
"""

from dataclasses import dataclass

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb

SHORT = 12  # digits of a fingerprint that people compare

__all__ = ["SHORT", "Answer", "Close", "Event", "Greet", "Reply", "Session", "error_message"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer this frame, then call `Session.finished`."""

    frame: pb.Frame


@dataclass(frozen=True, slots=True)
class Greet:
    """Send this Welcome, with the present load."""

    message: pb.CloudMessage


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message."""

    message: pb.CloudMessage


@dataclass(frozen=True, slots=True)
class Close:
    """Send this message, give up what is in flight and end the stream."""

    message: pb.CloudMessage


Event = Answer | Greet | Reply | Close


class Session:
    """One device's stream. `terms` is the Welcome: fingerprint, window and the rest."""

    def __init__(self, terms: pb.Welcome) -> None:
        self._terms = terms
        self._in_flight: set[int] = set()
        self._open = False
        self._draining = False
        self.name = ""
        self.top_k = 0

    @property
    def is_drained(self) -> bool:
        """The service is ending, and nothing of this stream is in flight."""
        return self._draining and not self._in_flight

    def received(self, message: pb.EdgeMessage, received_ns: int) -> Event:
        """What follows from a message that arrived at `received_ns` (monotonic)."""
        match message.WhichOneof("kind"):
            case "hello" if not self._open:
                return self._hello(message.hello)
            case "frame" if self._open:
                return self._frame(message.frame)
            case "heartbeat" if self._open:
                echo = pb.Heartbeat(id=message.heartbeat.id, received_ns=received_ns)
                return Reply(pb.CloudMessage(heartbeat=echo))
            case kind:
                expected = "a frame or a heartbeat" if self._open else "Hello first"
                return _out_of_order(f"{kind or 'an empty message'} came, expected {expected}")

    def finished(self, sequence: int) -> None:
        """A frame's result or error is about to be sent: its place in the window is free."""
        self._in_flight.discard(sequence)

    def drain(self, grace_s: float) -> pb.CloudMessage:
        """Take nothing new from now on; the message tells the device."""
        self._draining = True
        return pb.CloudMessage(drain=pb.Drain(grace_ms=int(grace_s * 1e3)))

    def _hello(self, hello: pb.Hello) -> Event:
        if self._draining:
            return Close(error_message(0, pb.ERROR_CODE_DRAINING, _DRAINING))
        if hello.protocol != PROTOCOL:
            return _out_of_order(
                f"the device speaks protocol {hello.protocol}, this service {PROTOCOL}; "
                "install the same version of Isthmus on both sides"
            )
        ours = self._terms.bundle_fingerprint
        if hello.bundle_fingerprint != ours:
            theirs = hello.bundle_fingerprint[:SHORT] or "none"
            text = (
                f"the device holds bundle {theirs}, this service {ours[:SHORT]}: their weights "
                "differ; copy the same bundle to both sides"
            )
            return Close(error_message(0, pb.ERROR_CODE_BUNDLE_MISMATCH, text))
        self._open = True
        self.name = hello.session_id[:SHORT]
        self.top_k = hello.answer_top_k
        return Greet(pb.CloudMessage(welcome=self._terms))

    def _frame(self, frame: pb.Frame) -> Event:
        sequence = frame.sequence
        # An error could not say which frame it means, and one frame would get two answers.
        if sequence == 0 or sequence in self._in_flight:
            return _out_of_order(f"frame {sequence}: sequences count from 1 and are not repeated")
        if self._draining:
            return Reply(error_message(sequence, pb.ERROR_CODE_DRAINING, _DRAINING))
        if len(self._in_flight) >= self._terms.window:
            text = f"{len(self._in_flight)} frames are in flight, which is the window; wait"
            return Reply(error_message(sequence, pb.ERROR_CODE_OVERLOADED, text))
        self._in_flight.add(sequence)
        return Answer(frame)


def error_message(sequence: int, code: pb.ErrorCode, text: str) -> pb.CloudMessage:
    """An error about one frame, or with sequence 0 about the stream."""
    return pb.CloudMessage(error=pb.Error(sequence=sequence, code=code, message=text))


_DRAINING = "the service is ending; send frames to another one"


def _out_of_order(text: str) -> Close:
    return Close(error_message(0, pb.ERROR_CODE_PROTOCOL, text))
