"""A device, a service and an engine in one thread, joined by streams that break as they like."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.protos.session import messages as say

from isthmus.session import (
    Answer,
    Answered,
    Close,
    DeviceEvent,
    DeviceSession,
    Failed,
    GiveUp,
    Greet,
    Lost,
    Missing,
    Refused,
    Reply,
    ServiceEvent,
    ServiceLimits,
    ServiceSession,
    error_message,
)
from isthmus.v1 import split_pb2 as pb

Break = Literal["known to both", "known to the device", "known to the service"]


@dataclass(eq=False)
class Stream:
    """What is on its way. Nothing overtakes anything within it; `None` is its end."""

    number: int
    up: deque[pb.EdgeMessage | None] = field(default_factory=deque)
    down: deque[pb.CloudMessage] = field(default_factory=deque)


class Cloud:
    """A service for one device: which stream has the session, and a pretend engine."""

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits
        self.now = 0.0
        self.session: ServiceSession | None = None
        self.owner: Stream | None = None
        self.is_draining = False
        self.engine: list[int] = []
        self.computed: Counter[int] = Counter()  # begun and not failed
        self.excused: set[int] = set()  # may be computed twice
        self.overtaken = 0  # Hellos

    def deliver(self, stream: Stream) -> None:
        """The first of the messages that are on their way up."""
        message = stream.up.popleft()
        if message is None:
            self.lose(stream)
        elif message.WhichOneof("kind") == "hello":
            self._greet(stream, message)
        elif stream is self.owner:
            self._heed(self._present.received(message, self.now, 7))

    def lose(self, stream: Stream) -> None:
        if stream is self.owner:
            self.owner = None
            if self._present.state == "draining":
                self._excuse_all()
            self._heed(self._present.lost(self.now))

    def finish(self, sequence: int, outcome: pb.CloudMessage) -> None:
        self.engine.remove(sequence)
        self.computed[sequence] -= outcome.WhichOneof("kind") == "error"
        self._heed(self._present.finished(outcome))

    def pass_time(self, now: float) -> None:
        self.now = now
        if self.session is not None:
            was = self.session.state
            self._heed(self.session.tick(now))
            if self.session.state == "ended" != was:
                self._excuse_all()

    def drain(self) -> None:
        self.is_draining = True
        if self.session is not None and self.session.state != "ended":
            if self.session.state == "parked":
                self._excuse_all()
            self._heed(self.session.drain(1.0))

    def restart(self) -> None:
        """Everything is gone, and nobody was told."""
        self._excuse_all()
        self.session = self.owner = None
        self.is_draining = False
        self.engine.clear()

    @property
    def _present(self) -> ServiceSession:
        assert self.session is not None
        return self.session

    def _greet(self, stream: Stream, hello: pb.EdgeMessage) -> None:
        if self.is_draining:
            stream.down.append(error_message(0, pb.ERROR_CODE_DRAINING, ""))
        elif self.session is not None and self.session.state in {"open", "parked"}:
            self._resume(self.session, stream, hello.hello)
        else:
            self.owner = stream
            self.session = ServiceSession(say.terms(), self._limits, self.now)
            self._heed(self.session.received(hello, self.now, 7))

    def _resume(self, session: ServiceSession, stream: Stream, hello: pb.Hello) -> None:
        is_overtaken = session.was_overtaken(hello)
        self.overtaken += is_overtaken
        superseded = stream if is_overtaken else self.owner
        if superseded is not None:
            superseded.down.append(error_message(0, pb.ERROR_CODE_SUPERSEDED, ""))
        if not is_overtaken:
            self.owner = stream
            self._heed(session.resume(hello, self.now))

    def _heed(self, events: Sequence[ServiceEvent]) -> None:
        for event in events:
            match event:
                case Answer(frame):
                    self.engine.append(frame.sequence)
                    self.computed[frame.sequence] += 1
                case GiveUp(sequence):
                    self.engine.remove(sequence)
                case Greet(message) | Reply(message):
                    assert self.owner is not None
                    self.owner.down.append(message)
                case Close(message, resumable):
                    assert self.owner is not None
                    self.owner.down.append(message)
                    if resumable:
                        self.lose(self.owner)
                    else:
                        self.owner = None
                        self.engine.clear()

    def _excuse_all(self) -> None:
        self.excused |= self.computed.keys() | set(self.engine)


class Device:
    """Sends frames, and writes down how each one ended."""

    def __init__(self) -> None:
        self.session = DeviceSession(say.IDENTITY, say.SILENCE_S)
        self.now = 0.0
        self.stream: Stream | None = None
        self.streams: list[Stream] = []
        self.sent: Counter[int] = Counter()
        self.ended: dict[int, str] = {}
        self.missing: set[int] = set()
        self.keys: set[int] = set()  # wanted as key frames

    def connect(self) -> None:
        self.stream = Stream(len(self.streams))
        self.streams.append(self.stream)
        self._say(self.session.connect(self.now))

    def send(self, sequence: int) -> None:
        self._say(self.session.send(pb.Frame(sequence=sequence)))
        self.sent[sequence] += 1
        self.missing.discard(sequence)
        self.keys.discard(sequence)

    def cancel(self, sequence: int) -> None:
        message = self.session.cancel(sequence)
        self._end(sequence, "given up")
        if message is not None:
            self._say(message)

    def beat(self) -> None:
        self._say(self.session.beat(self.now))

    def deliver(self) -> None:
        """The first of the messages that are on their way down."""
        assert self.stream is not None
        self._heed(self.session.received(self.stream.down.popleft(), self.now))

    def lose(self) -> None:
        self._heed(self.session.lost("cut"))

    def pass_time(self, now: float) -> None:
        self.now = now
        self._heed(self.session.tick(now))
        if self.session.wants_beat(now):
            self.beat()

    def _say(self, message: pb.EdgeMessage) -> None:
        assert self.stream is not None
        copy = pb.EdgeMessage()
        copy.CopyFrom(message)
        self.stream.up.append(copy)

    def _end(self, sequence: int, how: str) -> None:
        assert sequence not in self.ended, f"{self.ended[sequence]}, then {how}"
        self.ended[sequence] = how
        self.missing.discard(sequence)
        self.keys.discard(sequence)

    def _heed(self, events: Sequence[DeviceEvent]) -> None:
        for event in events:
            match event:
                case Answered(sequence):
                    self._end(sequence, "answered")
                case Failed(sequence, code):
                    # Credits and sequences are both sides' to keep: they never disagree.
                    assert code not in {"OVERLOADED", "PROTOCOL", "CANCELLED"}
                    if sequence in self.session.unanswered:
                        self.keys.add(sequence)
                    else:
                        self._end(sequence, "failed")
                case Missing(sequence, True):
                    self.missing.add(sequence)
                case Missing(sequence, False):
                    self._end(sequence, "missing twice")
                case Lost():
                    self.stream = None
                    self.missing.clear()  # the next Welcome says it anew
                    self.keys.clear()
                case Refused(code, text):
                    raise AssertionError(f"a device that keeps to the rules: {code}: {text}")


class Network:
    """Both ends. `steps` are fine-grained, so that anything may happen between any two."""

    def __init__(self, limits: ServiceLimits) -> None:
        self.device = Device()
        self.cloud = Cloud(limits)

    def pass_time(self, step_s: float) -> None:
        now = self.device.now + step_s
        self.device.pass_time(now)
        self.cloud.pass_time(now)

    def break_stream(self, how: Break, *, late: bool) -> None:
        """`late`: what was on its way up still comes, by and by; else it is gone."""
        stream = self.device.stream
        assert stream is not None
        if not late:
            stream.up.clear()
        if how != "known to the device":
            stream.up.append(None)
        if how == "known to the service":
            stream.down = deque(maxlen=0)  # nothing comes down any more
        else:
            self.device.lose()

    def open_stream(self) -> None:
        """Unless there is one; a service that has drained comes back."""
        if self.device.session.state == "down":
            if self.cloud.is_draining:
                self.restart()
            self.device.connect()
        while self.device.stream is not None and self.device.stream.up:
            self.cloud.deliver(self.device.stream)  # what older ones still carry may come later
        while self.device.stream is not None and self.device.stream.down:
            self.device.deliver()

    def overtake_a_hello(self) -> None:
        """One is on its way still when the next one has arrived."""
        if self.device.session.state == "down":
            self.device.connect()
            self.break_stream("known to both", late=True)
            self.open_stream()

    def deliver_all(self) -> None:
        for stream in self.device.streams:
            while stream.up:
                self.cloud.deliver(stream)
        while self.device.stream is not None and self.device.stream.down:
            self.device.deliver()

    def heal(self) -> None:
        """From now on nothing breaks: every frame must end."""
        if self.cloud.is_draining:
            self.restart()
        for _ in range(40):
            if self.device.session.state == "down":
                self.device.connect()
            self.deliver_all()
            for sequence in tuple(self.cloud.engine):
                self.cloud.finish(sequence, say.result(sequence))
            self.deliver_all()
            self.send_what_is_wanted()
            is_open = self.device.session.state == "open"
            if is_open and not (self.device.session.unanswered or self.cloud.engine):
                break
            self.pass_time(0.5)

    def send_what_is_wanted(self) -> None:
        """Key frames have their places; missing frames need one."""
        device = self.device
        for sequence in sorted(device.keys | device.missing):
            has_place = sequence in device.keys or device.session.credits > 0
            if device.session.state == "open" and has_place:
                device.send(sequence)

    def restart(self) -> None:
        self.cloud.restart()
        for stream in self.device.streams:
            stream.up.clear()
        if self.device.stream is not None:
            self.device.lose()

    def settle(self) -> None:
        """Long enough for every timer: beats tell what is settled, parked sessions expire."""
        for _ in range(24):
            self.pass_time(0.5)
            self.deliver_all()

    def assert_all_is_over(self) -> None:
        """Each frame ended once, and nothing is left of it on either side."""
        assert self.device.ended.keys() == self.device.sent.keys()
        assert self.device.session.unanswered == ()
        assert max(self.device.sent.values(), default=0) <= 4  # twice, each with a key frame
        if self.cloud.session is not None:
            assert self.cloud.session.in_flight == frozenset()
            assert self.cloud.session.kept_bytes == 0
