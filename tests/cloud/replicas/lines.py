"""Replicas in this process, and a line to them that loses calls as the test says."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec
from tests.cloud.answering.frames import Jobs

from isthmus import Bundle
from isthmus_cloud.answering.jobs import Job
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.replicas.caller import Caller
from isthmus_cloud.replicas.calls import Call, release
from isthmus_cloud.replicas.line import CallLostError
from isthmus_cloud.replicas.runner import Runner
from isthmus_cloud.replicas.spec import Spec

__all__ = ["FakeLine", "Ran", "Sent", "spec_of"]


def spec_of(bundle: Bundle, cuts: tuple[str, ...] = ()) -> Spec:
    """On ONNX Runtime, in batches of up to eight."""
    return Spec(
        path=str(bundle.path),
        fingerprint=bundle.fingerprint,
        release=release(),
        engine="onnxruntime",
        provider="cpu",
        threads=1,
        max_batch=8,
        hang_s=60.0,
        cuts=cuts,
    )


@dataclass
class Sent:
    """A call: whom it was for ("": anyone), and the candidates of its frames."""

    replica: str
    candidates: list[str]
    call: bytes = field(repr=False)


class FakeLine:
    """To the replicas "a" and "b"; a call for anyone goes to "a" unless that is `gone`.

    `losses` says of each call to come what happens before it is lost, None for one that arrives;
    `replies` what is answered in place of the right reply, `on_send` what happens as it leaves,
    `on_reply` before a replica, by name, is asked.
    """

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self._runner = runner
        self._runners: dict[str, Runner] = {}
        self.sent: list[Sent] = []
        self.gone: set[str] = set()
        self.losses: deque[Callable[[], object] | None] = deque()
        self.replies: deque[bytes] = deque()
        self.on_send: deque[Callable[[], object]] = deque()
        self.on_reply: Callable[[str], object] = lambda _: None

    def send(self, replica: str, call: bytes) -> Sent:
        asked = msgspec.msgpack.decode(call, type=Call).asked
        sent = Sent(replica, [each.packed.candidate for each in asked], call)
        self.sent.append(sent)
        if self.on_send:
            self.on_send.popleft()()
        return sent

    def reply(self, call: Sent, within_s: float) -> bytes:
        before = self.losses.popleft() if self.losses else None
        if before is not None:
            before()
            raise CallLostError("the test has lost it")
        if self.replies:
            return self.replies.popleft()
        living = [name for name in (call.replica, "a", "b") if name and name not in self.gone]
        self.on_reply(living[0])
        runner = self._runners.setdefault(living[0], self._runner())
        begun = runner.begin(msgspec.msgpack.decode(call.call, type=Call))
        try:
            return msgspec.msgpack.encode(runner.run(begun, living[0]))
        finally:
            runner.end(begun)


class Ran:
    """What was run, how the frames of a batch end, and how often others were asked to join."""

    def __init__(self, caller: Caller, jobs: Jobs) -> None:
        self.caller = caller
        self.jobs = jobs
        self.parts: list[tuple[str, int]] = []
        self.joiners: list[Job] = []
        self.asked = 0

    def __call__(self, *batch: Job) -> list[Exception | None]:
        """How each ends, those that have joined behind them; each exactly once."""
        wanted = [*batch, *self.joiners]
        self.caller.begin(batch)
        ends = list(chain(*self.caller.run(batch, self._joining, self._ran)))
        self.caller.end()
        assert len(ends) == len(wanted)
        errors = dict(ends)
        return [errors[job] for job in wanted]

    def _joining(self, rest: Sequence[Part], most: int, own: Tail, most_own: int) -> list[Job]:
        self.asked += 1
        able = [job for job in self.joiners if job.tail.entry_to(rest) is not None][:most]
        self.joiners = [job for job in self.joiners if job not in able]
        return able

    def _ran(self, part: Part, jobs: Sequence[Job], took_ms: float) -> None:
        assert took_ms > 0
        self.parts.append((part.name, len(jobs)))
