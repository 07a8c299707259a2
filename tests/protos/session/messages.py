"""The messages of a stream, made in one line."""

from collections.abc import Sequence

from isthmus.session import DeviceSession, Identity, ServiceLimits, ServiceSession, error_message
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb

FINGERPRINT = "f" * 64
WINDOW = 3
IDENTITY = Identity("one", FINGERPRINT)
SILENCE_S = 1.5
LIMITS = ServiceLimits(keep_bytes=100, padding_bytes=64, stream_padding_bytes=160)


def terms(window: int = WINDOW, fingerprint: str = FINGERPRINT) -> pb.Welcome:
    return pb.Welcome(protocol=PROTOCOL, bundle_fingerprint=fingerprint, window=window)


def welcome(window: int = WINDOW, held: Sequence[int] = ()) -> pb.CloudMessage:
    message = pb.CloudMessage(welcome=terms(window))
    message.welcome.held.extend(held)
    return message


def result(sequence: int, payload_bytes: int = 0) -> pb.CloudMessage:
    outputs = [pb.Tensor(payload=bytes(payload_bytes))] if payload_bytes else []
    return pb.CloudMessage(result=pb.Result(sequence=sequence, outputs=outputs))


def key_needed(sequence: int) -> pb.CloudMessage:
    return error_message(sequence, pb.ERROR_CODE_KEY_FRAME_NEEDED, "not held")


def echo(beat: int) -> pb.CloudMessage:
    return pb.CloudMessage(heartbeat=pb.Heartbeat(id=beat, received_ns=5, answered_ns=8))


def hello(unanswered: Sequence[int] = (), session_id: str = "one") -> pb.EdgeMessage:
    return pb.EdgeMessage(
        hello=pb.Hello(
            protocol=PROTOCOL,
            session_id=session_id,
            bundle_fingerprint=FINGERPRINT,
            unanswered=unanswered,
        )
    )


def frame(sequence: int, *, again: bool = False, settled_through: int = 0) -> pb.EdgeMessage:
    return pb.EdgeMessage(
        frame=pb.Frame(sequence=sequence, again=again, settled_through=settled_through)
    )


def cancel(*sequences: int) -> pb.EdgeMessage:
    return pb.EdgeMessage(cancel=pb.Cancel(sequences=sequences))


def beat(number: int = 1, settled_through: int = 0, answer_bytes: int = 0) -> pb.EdgeMessage:
    return pb.EdgeMessage(
        heartbeat=pb.Heartbeat(
            id=number, settled_through=settled_through, answer_bytes=answer_bytes
        )
    )


def audit(sequence: int) -> pb.EdgeMessage:
    return pb.EdgeMessage(audit=pb.Audit(sequence=sequence))


def sent_out(events: Sequence[object]) -> list[pb.CloudMessage]:
    """The messages among a service's events, in their order."""
    return [event.message for event in events if hasattr(event, "message")]


def device(state: str = "open", window: int = WINDOW) -> DeviceSession:
    """A session in this state at time 0, with nothing unanswered."""
    session = DeviceSession(IDENTITY, SILENCE_S)
    if state in {"greeting", "open", "draining", "refused"}:
        session.connect(0.0)
    if state in {"open", "draining", "refused"}:
        session.received(welcome(window), 0.0)
    match state:
        case "draining":
            session.received(pb.CloudMessage(drain=pb.Drain()), 0.0)
        case "refused":
            session.received(error_message(0, pb.ERROR_CODE_PROTOCOL, ""), 0.0)
        case "closed":
            session.close()
    assert session.state == state
    return session


def service(state: str = "open", limits: ServiceLimits = LIMITS) -> ServiceSession:
    """A session in this state at time 0; if it is parked, frame 1 is in flight."""
    session = ServiceSession(terms(), limits, 0.0)
    if state in {"open", "draining", "parked"}:
        session.received(hello(), 0.0, 0)
    match state:
        case "draining":
            session.drain(1.0)
        case "parked":
            session.received(frame(1), 0.0, 0)
            session.lost(0.0)
        case "ended":
            session.close()
    assert session.state == state
    return session
