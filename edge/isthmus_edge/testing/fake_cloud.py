"""`FakeCloud`: a service in the same process that answers, fails and comes back on demand.

    with FakeCloud(bundle, answer=probabilities) as cloud, Agent(bundle, cloud=cloud) as agent:
        agent.infer(picture)   # answered by the cloud
        cloud.disconnect()
        agent.infer(picture)   # answered by the device

It drives the rules that the real service drives (`isthmus.session`), has no network, no clock of
its own and no tails. It judges no audits, and a device that comes back begins a new session.
"""

import logging
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

from isthmus import ConfigError, KeyFrameNeededError, LinkError, WireError
from isthmus.bundle import read_manifest
from isthmus.session import (
    Answer,
    Check,
    Close,
    GiveUp,
    Greet,
    Reply,
    ServiceEvent,
    complete_echo,
    error_message,
)
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.stream.transport import Connection, OnEnd, OnMessage
from isthmus_edge.testing.line import Line, Task
from isthmus_edge.testing.received import AnswerWith, Received, encoded, zeros

Refusal = Literal["OVERLOADED", "INTERNAL", "BAD_FRAME", "TOO_LATE", "DRAINING"]
Mood = Literal["well", "silent", "gone"]

_CODES: dict[str, pb.ErrorCode] = {
    "OVERLOADED": pb.ERROR_CODE_OVERLOADED,
    "INTERNAL": pb.ERROR_CODE_INTERNAL,
    "BAD_FRAME": pb.ERROR_CODE_BAD_FRAME,
    "TOO_LATE": pb.ERROR_CODE_TOO_LATE,
    "DRAINING": pb.ERROR_CODE_DRAINING,
    "KEY_FRAME_NEEDED": pb.ERROR_CODE_KEY_FRAME_NEEDED,
}

log = logging.getLogger("isthmus.edge")

__all__ = ["FakeCloud"]


class FakeCloud:
    """A transport for `Agent(bundle, cloud=…)`; all may be called from any thread.

    `answer` is what it answers with: the model's outputs, or a function of what was received, which
    is called on the cloud's own thread. An output is [*shape] of its `TensorSpec`; a model with one
    output takes the bare array. Without it all outputs are zero. `delay_ms` passes before a frame
    is answered. Both may be changed at any time.

    `bandwidth_bps` is what the time stamps tell the agent of the link; nothing waits for it.
    Raises BundleError where there is no bundle, ConfigError for outputs that are not the model's.
    What a function of yours raises, the agent hears of as INTERNAL, and the end of the `with` block
    raises it.
    """

    address = "localhost:1"  # what the agent's messages call it

    def __init__(
        self,
        bundle: Path | str,
        answer: AnswerWith | None = None,
        *,
        delay_ms: float = 0.0,
        bandwidth_bps: float = 1e8,
    ) -> None:
        self.manifest, fingerprint = read_manifest(Path(bundle))
        self.answer: AnswerWith = zeros(self.manifest.outputs) if answer is None else answer
        if not callable(self.answer):
            encoded(self.manifest, self.manifest.local.id, self.answer, 0)
        self.delay_ms = delay_ms
        self._terms = pb.Welcome(
            protocol=PROTOCOL, bundle_fingerprint=fingerprint, window=4, provider="fake"
        )
        self._bandwidth_bps = bandwidth_bps
        self._link_free_s = 0.0
        self._changed = threading.Condition(threading.RLock())
        self._lines: list[Line] = []
        self._tasks: deque[Task] = deque()
        self._received: list[Received] = []
        self._answered = 0
        self._refusal: Refusal | None = None
        self._mood: Mood = "well"
        self._is_held = self._is_closed = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._serve, name="isthmus-fake-cloud", daemon=True)
        self._thread.start()

    @property
    def received(self) -> tuple[Received, ...]:
        """All frames that came, in order."""
        with self._changed:
            return tuple(self._received)

    @property
    def answered(self) -> int:
        """Frames that an answer was sent for."""
        return self._answered

    @property
    def connects(self) -> int:
        """Streams that were opened, or tried to be."""
        return len(self._lines)

    def hold(self) -> None:
        """Answer nothing more until `release`; heartbeats go on, so the link stays up."""
        with self._changed:
            self._is_held = True

    def release(self) -> None:
        """Answer what was held back, and go on."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def refuse(self, code: Refusal = "OVERLOADED") -> None:
        """End every frame that comes with this error; the link stays up.

        ConfigError for a code that no service has.
        """
        if code not in get_args(Refusal):
            raise ConfigError(f"refuse({code!r}): there are {', '.join(get_args(Refusal))}")
        with self._changed:
            self._refusal = code

    def go_silent(self) -> None:
        """Say nothing more, not even a sign of life: a link that hangs."""
        with self._changed:
            self._mood = "silent"

    def disconnect(self) -> None:
        """Break every stream, and let no new one come."""
        with self._changed:
            self._mood = "gone"
            self._break("UNAVAILABLE: the fake cloud was disconnected")

    def come_back(self) -> None:
        """Be as at the beginning; the agent connects again within some 1.5 s."""
        with self._changed:
            self._mood, self._refusal = "well", None
            self.release()

    def wait_for_device(self, timeout_s: float = 20.0) -> None:
        """Return when a device is connected and welcome; LinkError after this time."""
        with self._changed:
            if not self._changed.wait_for(self._has_device, timeout_s):
                raise LinkError(
                    f"no device was connected to the fake cloud within {timeout_s:g} s; open an "
                    "agent with cloud=… this one, and let the cloud `come_back` after an outage"
                )

    def close(self) -> None:
        """Break every stream and end; idempotent."""
        with self._changed:
            self._is_closed, self._mood = True, "gone"
            self._break("UNAVAILABLE: the fake cloud was closed")
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None and self._failure is not None:
            raise self._failure

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """See `isthmus_edge.Transport`."""
        with self._changed:
            line = Line(self.manifest, self._terms, self._heard, on_message, on_end)
            self._lines.append(line)
            if self._mood == "gone":
                line.hang_up("UNAVAILABLE: the fake cloud is not there")
            return line

    def _has_device(self) -> bool:
        is_well = self._mood == "well"
        return is_well and any(line.is_welcome and not line.is_over for line in self._lines)

    def _break(self, reason: str) -> None:
        self._tasks.clear()
        for line in self._lines:
            line.hang_up(reason)

    def _heard(self, line: Line, message: pb.EdgeMessage) -> None:
        with self._changed:
            if not line.is_over:
                now = time.monotonic()
                travel_s = message.ByteSize() * 8 / self._bandwidth_bps
                self._link_free_s = max(self._link_free_s, now) + travel_s
                received_ns = int(self._link_free_s * 1e9)
                self._heed(line, line.session.received(message, now, received_ns), received_ns)

    def _heed(self, line: Line, events: list[ServiceEvent], received_ns: int) -> None:
        for event in events:
            match event:
                case Answer(frame):
                    self._take(line, frame, received_ns)
                case GiveUp(sequence):
                    self._give_up(line, sequence)
                case Check(audit):
                    verdict = pb.Verdict(sequence=audit.sequence, reason="a fake judges nothing")
                    self._heed(line, line.session.checked(verdict), received_ns)
                case Greet(message):
                    line.is_welcome = self._mood == "well"
                    self._say(line, message)
                    self._changed.notify_all()
                case Reply(message):
                    self._say(line, message)
                case Close(message):
                    self._say(line, message)
                    line.hang_up("the fake cloud ended the stream")

    def _take(self, line: Line, frame: pb.Frame, received_ns: int) -> None:
        refusal: str | None = self._refusal
        text = "the fake cloud was told to refuse"
        try:
            received = line.receiver.received(frame)
            self._received.append(received)
        except WireError as error:
            is_difference = isinstance(error, KeyFrameNeededError)
            refusal, text = "KEY_FRAME_NEEDED" if is_difference else "BAD_FRAME", str(error)
        if refusal is not None:
            outcome = error_message(frame.sequence, _CODES[refusal], text)
            self._heed(line, line.session.finished(outcome), received_ns)
            return
        due_s = time.monotonic() + self.delay_ms / 1e3
        self._tasks.append(Task(line, received, received_ns, due_s))
        self._changed.notify_all()

    def _give_up(self, line: Line, sequence: int) -> None:
        kept = [t for t in self._tasks if (t.line, t.received.sequence) != (line, sequence)]
        self._tasks = deque(kept)

    def _say(self, line: Line, message: pb.CloudMessage) -> None:
        if self._mood == "well":
            self._answered += message.HasField("result")
            if message.HasField("heartbeat"):
                complete_echo(message.heartbeat, time.monotonic_ns())
            line.say(message)

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            if task.line.is_over:
                continue
            outcome = self._outcome(task)
            with self._changed:
                if not task.line.is_over:
                    events = task.line.session.finished(outcome)
                    self._heed(task.line, events, task.received_ns)

    def _next(self) -> Task | None:
        """The next frame when it is due; None at the end."""
        with self._changed:
            while not self._is_closed:
                if self._is_held or not self._tasks:
                    self._changed.wait()
                elif (left_s := self._tasks[0].due_s - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                else:
                    return self._tasks.popleft()
        return None

    def _outcome(self, task: Task) -> pb.CloudMessage:
        received, begun_ns = task.received, time.monotonic_ns()
        try:
            outputs = self.answer(received) if callable(self.answer) else self.answer
            top_k = task.line.session.top_k
            tensors = encoded(self.manifest, received.candidate, outputs, top_k)
        except Exception as error:
            log.exception("the fake cloud failed on frame %d", received.sequence)
            self._failure = self._failure or error
            text = f"the fake cloud's answer failed: {error!r}"
            return error_message(received.sequence, pb.ERROR_CODE_INTERNAL, text, task.received_ns)
        run_ms = (time.monotonic_ns() - begun_ns) / 1e6
        queue_ms = max(begun_ns - task.received_ns, 0) / 1e6
        timing = pb.Timing(
            received_ns=task.received_ns,
            queue_ms=queue_ms,
            run_ms=run_ms,
            total_ms=queue_ms + run_ms,
        )
        result = pb.Result(sequence=received.sequence, outputs=tensors, timing=timing)
        return pb.CloudMessage(result=result)
