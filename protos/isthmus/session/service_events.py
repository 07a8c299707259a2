"""What a service's session asks of its owner; the owner does it in this order."""

from dataclasses import dataclass

from isthmus.v1 import split_pb2 as pb

__all__ = ["Answer", "Check", "Close", "GiveUp", "Greet", "Reply", "ServiceEvent"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer this frame, then call `ServiceSession.finished`."""

    frame: pb.Frame


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody waits for this frame any more: do not begin it."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Check:
    """Compare the answer of an audited frame, then call `ServiceSession.checked`."""

    audit: pb.Audit


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
    """Send this message and end the stream. What is in flight is given up, unless the session is
    `resumable`: then call `ServiceSession.lost`, as if the stream had broken."""

    message: pb.CloudMessage
    resumable: bool = False


ServiceEvent = Answer | GiveUp | Check | Greet | Reply | Close
