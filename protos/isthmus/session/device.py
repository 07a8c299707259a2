"""The device's side of a session: which frames are unanswered, and what may be sent now.

A session keeps its id over any number of streams. Frames that were sent and not answered when a
stream broke stay *unanswered*: the next Hello names them, and the Welcome says which of them the
service still holds. The others are reported as `Missing`: they may be sent once more, or given up.
A frame is answered once; whatever else comes for it counts as a duplicate and is dropped.

The session belongs to the present stream: messages that an older one still brings must not be given
to it, and without a stream they are dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

from isthmus.errors import SessionError
from isthmus.session.device_events import (
    Answered,
    DeviceEvent,
    Draining,
    Echoed,
    Failed,
    LoadTold,
    Lost,
    Missing,
    Refused,
    Told,
    UpdateOffered,
    Welcomed,
)
from isthmus.session.messages import cleaned, code_name, is_final
from isthmus.session.table import DEVICE_TABLE, DeviceInput, DeviceState
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb

GREETING_S = 2.0
BEAT_S = 0.4
BUSY_BEAT_S = 0.2  # while answers are awaited: an echo tells a slow service from a dead link
MOST_NAME_CHARACTERS = 64  # of a model, a version, a fingerprint and a provider
SENDS = 2  # of one frame: the first one, and one more on another stream
_CONNECTED = frozenset({"greeting", "open", "draining"})

__all__ = ["DeviceSession", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says of itself: its session's id, its bundle, and how it wants answers."""

    session_id: str
    bundle_fingerprint: str
    answer_top_k: int = 0


@dataclass(slots=True)
class _Unanswered:
    sends: int = 1
    under_way: bool = True  # on the present stream, or held by the service
    key_frame: Literal["", "asked", "sent"] = ""


class DeviceSession:
    """One device's session with one service.

    `silence_s` after the last message the stream counts as lost; before Welcome, `GREETING_S` after
    Hello.
    """

    def __init__(self, identity: Identity, silence_s: float) -> None:
        self._identity = identity
        self._silence_s = silence_s
        self._state: DeviceState = "down"
        self._unanswered: dict[int, _Unanswered] = {}  # in the order of sending
        self._highest = 0
        self._streams = 0
        self._heard_at = 0.0
        self._beat_at = 0.0
        self._answer_s = 0.0
        self._beats = self._echoed = 0  # ids of the last heartbeat, and of the last that came back
        self.window = 0
        self.duplicates = 0
        self._heed: dict[str, Callable[[pb.CloudMessage, float], list[DeviceEvent]]] = {
            "welcome": self._on_welcome,
            "result": self._on_result,
            "error": self._on_error,
            "heartbeat": self._on_heartbeat,
            "load": lambda message, _: _told(message.load),
            "verdict": lambda message, _: [Told(message.verdict)],
            "update": lambda message, _: [_offered(message.update)],
            "drain": lambda message, _: [Draining(message.drain.grace_ms)],
        }

    @property
    def state(self) -> DeviceState:
        """Where the session stands."""
        return self._state

    @property
    def unanswered(self) -> tuple[int, ...]:
        """Frames that were sent and neither answered nor given up."""
        return tuple(self._unanswered)

    @property
    def credits(self) -> int:
        """How many more frames may be sent now."""
        if self._state != "open":
            return 0
        return max(0, self.window - sum(u.under_way for u in self._unanswered.values()))

    def connect(self, now: float) -> pb.EdgeMessage:
        """A stream was opened: the Hello to send on it."""
        self._go("connect")
        self._streams += 1
        self._heard_at = now
        self._echoed = self._beats
        hello = pb.Hello(
            protocol=PROTOCOL,
            session_id=self._identity.session_id,
            bundle_fingerprint=self._identity.bundle_fingerprint,
            answer_top_k=self._identity.answer_top_k,
            unanswered=self._unanswered,
            stream=self._streams,
        )
        return pb.EdgeMessage(hello=hello)

    def send(self, frame: pb.Frame) -> pb.EdgeMessage:
        """The message for a frame: a new one, or one that is `Missing` or asked for as key frame.

        Raises SessionError without a credit, and for a frame that may not be sent (again).
        """
        self._go("frame")
        known = self._unanswered.get(frame.sequence)
        if known is None:
            self._check_new(frame.sequence)
            self._unanswered[frame.sequence] = _Unanswered()
            self._highest = frame.sequence
        elif known.key_frame == "asked":
            known.key_frame = "sent"
        else:
            self._send_again(frame, known)
        frame.settled_through = self._settled_through
        return pb.EdgeMessage(frame=frame)

    def cancel(self, sequence: int) -> pb.EdgeMessage | None:
        """Nobody waits for a frame any more: the message that says so, if anyone is to hear it."""
        self._go("cancel")
        known = self._unanswered.pop(sequence, None)
        # The Hello on its way has named it: without a word the service would hold its place.
        named = self._state == "greeting"
        if known is None or self._state not in _CONNECTED or not (known.under_way or named):
            return None
        return pb.EdgeMessage(cancel=pb.Cancel(sequences=[sequence]))

    def audit(self, sequence: int, raw_input: pb.Frame) -> pb.EdgeMessage:
        """The message that has the answer of a frame compared with the unsplit model's."""
        self._go("audit")
        return pb.EdgeMessage(audit=pb.Audit(sequence=sequence, input=raw_input))

    def beat(
        self,
        now: float,
        padding_bytes: int = 0,
        answer_bytes: int = 0,
        link: pb.LinkReport | None = None,
    ) -> pb.EdgeMessage:
        """A heartbeat with a new id; padded, or with an answer that is, it is a bandwidth probe.

        Of `answer_bytes` the service gives what it likes; one that is older gives nothing. `link`
        tells it what the device believes of the link.
        """
        self._go("beat")
        self._beats += 1
        self._beat_at = now + (BUSY_BEAT_S if self._unanswered else BEAT_S)
        beat = pb.Heartbeat(
            id=self._beats,
            padding=bytes(padding_bytes),
            settled_through=self._settled_through,
            answer_bytes=answer_bytes,
            link=link,
        )
        return pb.EdgeMessage(heartbeat=beat)

    def received(self, message: pb.CloudMessage, now: float) -> list[DeviceEvent]:
        """What a message means. A message that the state does not allow ends the session."""
        if self._state not in _CONNECTED:
            return []  # of a stream that is over
        self._set_clock(now)
        if self._state != "greeting":  # small talk is no Welcome
            self._heard_at = now
        kind = message.WhichOneof("kind")
        if kind is None:
            return self.tick(now)  # of a newer contract: nothing that this side would have to know
        if kind == "error" and message.error.sequence == 0:
            return self._stream_error(message.error)
        following = DEVICE_TABLE.get((self._state, kind))
        if following is None:
            text = f"{kind} came while the session was {self._state}; is it Isthmus?"
            return [self._refused("PROTOCOL", text)]
        self._state = following
        return self._heed[kind](message, now)

    def lost(self, reason: str, code: str = "", retry_after_s: float = 0.0) -> list[DeviceEvent]:
        """The stream broke; nothing happens if there was none.

        `code` and `retry_after_s` are what the other side said of it: see `Lost`.
        """
        if (self._state, "lost") not in DEVICE_TABLE:
            return []
        self._go("lost")
        for unanswered in self._unanswered.values():
            unanswered.under_way = False
        return [Lost(reason, code, retry_after_s)]

    def close(self) -> None:
        """The device ends the session; nothing is unanswered any more."""
        self._go("close")
        self._unanswered.clear()

    def allow_for_answers(self, seconds: float) -> None:
        """A large answer may be on its way, for so long: no sign of life can overtake it."""
        self._answer_s = seconds

    def wakes_at(self) -> float:
        """When `tick` has to be called, at the latest; infinite while nothing can run out."""
        if self._state in {"open", "draining"}:
            return min(self._lost_at, self._beat_at)
        return self._lost_at

    def tick(self, now: float) -> list[DeviceEvent]:
        """Whatever has run out by `now`: a service that is silent for too long is lost."""
        self._set_clock(now)
        if now < self._lost_at:
            return []
        silent_s = self._silence_s + self._answer_s
        if self._state == "greeting":
            silent_s = GREETING_S
        return self.lost(f"the link to the cloud is dead: silent for {silent_s:g} s")

    def wants_beat(self, now: float) -> bool:
        """Whether it is time for the next heartbeat."""
        return self._state in {"open", "draining"} and now >= self._beat_at

    @property
    def _settled_through(self) -> int:
        return min(self._unanswered, default=self._highest + 1) - 1

    @property
    def _lost_at(self) -> float:
        match self._state:
            case "greeting":
                return self._heard_at + GREETING_S
            case "open" | "draining":
                return self._heard_at + self._silence_s + self._answer_s
            case _:
                return inf

    def _set_clock(self, now: float) -> None:
        """A clock that was set back must not put off what runs out."""
        self._heard_at = min(self._heard_at, now)
        self._beat_at = min(self._beat_at, now + BEAT_S)

    def _go(self, what: DeviceInput) -> None:
        following = DEVICE_TABLE.get((self._state, what))
        if following is None:
            raise SessionError(f"{what}: not allowed while the session is {self._state}")
        self._state = following

    def _check_new(self, sequence: int) -> None:
        if sequence <= self._highest:
            raise SessionError(
                f"frame {sequence}: it is not unanswered, and new frames count upwards from "
                f"{self._highest + 1}"
            )
        if self.credits == 0:
            raise SessionError(f"frame {sequence}: all {self.window} places are taken; wait")

    def _send_again(self, frame: pb.Frame, known: _Unanswered) -> None:
        if known.under_way:
            raise SessionError(f"frame {frame.sequence}: it is under way already")
        if self.credits == 0:
            raise SessionError(f"frame {frame.sequence}: all {self.window} places are taken; wait")
        known.sends += 1
        known.under_way = True
        frame.again = True

    def _on_welcome(self, message: pb.CloudMessage, now: float) -> list[DeviceEvent]:
        welcome = message.welcome
        if welcome.protocol != PROTOCOL:
            text = (
                f"the service speaks protocol {welcome.protocol}, this device {PROTOCOL}; install "
                "the same release of Isthmus on both sides"
            )
            return [self._refused("PROTOCOL", text)]
        if welcome.bundle_fingerprint not in {"", self._identity.bundle_fingerprint}:
            return [self._refused("BUNDLE_MISMATCH", "the service holds another bundle")]
        self.window = max(1, welcome.window)
        self._heard_at = self._beat_at = now
        events: list[DeviceEvent] = [
            Welcomed(
                _name(welcome.provider),
                bool(welcome.held),
                _name(welcome.model),
                _name(welcome.version),
            ),
            *_told(welcome.load),
        ]
        held = set(welcome.held)
        for sequence, known in tuple(self._unanswered.items()):
            known.key_frame = ""
            if sequence in held:
                known.under_way = True
                continue
            may_send_again = known.sends < SENDS
            if not may_send_again:
                del self._unanswered[sequence]
            events.append(Missing(sequence, may_send_again))
        return events

    def _on_result(self, message: pb.CloudMessage, _: float) -> list[DeviceEvent]:
        result = message.result
        load = _told(result.load) if result.HasField("load") else []
        if self._unanswered.pop(result.sequence, None) is None:
            self.duplicates += 1
            return load
        return [*load, Answered(result.sequence, result)]

    def _on_error(self, message: pb.CloudMessage, _: float) -> list[DeviceEvent]:
        error = message.error
        known = self._unanswered.get(error.sequence)
        if known is None or not known.under_way:
            return []  # most often the echo of a cancel
        wants_key = error.code == pb.ERROR_CODE_KEY_FRAME_NEEDED and self._state == "open"
        if wants_key and not known.key_frame:
            known.key_frame = "asked"
        else:
            del self._unanswered[error.sequence]
        retry_after_s = error.retry_after_ms / 1e3
        return [Failed(error.sequence, code_name(error), cleaned(error.message), retry_after_s)]

    def _on_heartbeat(self, message: pb.CloudMessage, _: float) -> list[DeviceEvent]:
        beat = message.heartbeat
        load = _told(beat.load) if beat.HasField("load") else []
        if not self._echoed < beat.id <= self._beats:
            return load  # a sign of life, or no question of ours
        self._echoed = beat.id
        held_s = max(beat.answered_ns - beat.received_ns, 0) / 1e9
        return [*load, Echoed(beat.id, beat.received_ns / 1e9, held_s, len(beat.padding))]

    def _stream_error(self, error: pb.Error) -> list[DeviceEvent]:
        if is_final(error):
            return [self._refused(code_name(error), cleaned(error.message))]
        text = f"the service ended the stream: {cleaned(error.message)}"
        return self.lost(text, code_name(error), error.retry_after_ms / 1e3)

    def _refused(self, code: str, message: str) -> Refused:
        self._go("refusal")
        self._unanswered.clear()
        return Refused(code, message)


def _offered(update: pb.Update) -> UpdateOffered:
    fingerprint = _name(update.bundle_fingerprint)
    return UpdateOffered(_name(update.model), _name(update.version), fingerprint)


def _name(text: str) -> str:
    """A name that somebody else gave, as it can be shown."""
    return cleaned(text, MOST_NAME_CHARACTERS)


def _told(load: pb.Load) -> list[DeviceEvent]:
    """Nothing, if it is no time at all."""
    return [LoadTold(load.queue_ms, load.streams)] if 0 <= load.queue_ms < inf else []
