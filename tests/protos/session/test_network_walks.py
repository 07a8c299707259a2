"""Long random lives of a device and a service: each frame ends once, and nothing stays behind."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from tests.protos.session import messages as say
from tests.protos.session.network import Break, Network

from isthmus.session import ServiceLimits, ServiceSession, error_message
from isthmus.v1 import split_pb2 as pb

STEPS = 600
BREAKS: tuple[Break, ...] = ("known to both", "known to the device", "known to the service")
ERRORS = (
    pb.ERROR_CODE_KEY_FRAME_NEEDED,
    pb.ERROR_CODE_KEY_FRAME_NEEDED,
    pb.ERROR_CODE_TOO_LATE,
    pb.ERROR_CODE_INTERNAL,
)


class Walk:
    """One life. What happens next is drawn by weight, so that streams live for a while."""

    def __init__(self, seed: int, limits: ServiceLimits) -> None:
        self.random = Random(seed)
        self.network = Network(limits)
        self.device, self.cloud = self.network.device, self.network.cloud
        self.steps: dict[Callable[[], None], int] = {
            self.connect: 60,
            self.send: 80,
            self.carry_up: 120,
            self.carry_down: 80,
            self.answer: 60,
            self.fail: 8,
            self.network.send_what_is_wanted: 20,
            self.give_up: 20,
            self.wait: 20,
            self.cut: 12,
            self.network.overtake_a_hello: 8,
            self.cloud.drain: 1,
            self.network.restart: 1,
        }

    def go(self, steps: int) -> None:
        for step in self.random.choices([*self.steps], [*self.steps.values()], k=steps):
            step()
            assert self.twice() <= self.cloud.excused

    def twice(self) -> set[int]:
        return {sequence for sequence, times in self.cloud.computed.items() if times > 1}

    def connect(self) -> None:
        """Only the Hello is on its way then, and may be overtaken by a later one."""
        if self.device.session.state == "down":
            self.device.connect()

    def send(self) -> None:
        if self.device.session.state == "down":
            self.network.open_stream()
        if self.device.session.credits > 0:
            self.device.send(max(self.device.sent, default=0) + 1)

    def carry_up(self) -> None:
        streams = [stream for stream in self.device.streams if stream.up]
        if streams:
            self.cloud.deliver(self.random.choice(streams))

    def carry_down(self) -> None:
        if self.device.stream is not None and self.device.stream.down:
            self.device.deliver()

    def answer(self) -> None:
        if self.cloud.engine:
            sequence = self.random.choice(self.cloud.engine)
            self.cloud.finish(sequence, say.result(sequence, self.random.choice((0, 30, 300))))

    def fail(self) -> None:
        if self.cloud.engine:
            sequence = self.random.choice(self.cloud.engine)
            self.cloud.finish(sequence, error_message(sequence, self.random.choice(ERRORS), ""))

    def give_up(self) -> None:
        if self.device.session.unanswered:
            self.device.cancel(self.random.choice(self.device.session.unanswered))

    def wait(self) -> None:
        self.network.pass_time(self.random.choice((0.125, 0.125, 0.5, 0.5, 1.5, 10.0)))

    def cut(self) -> None:
        if self.device.stream is not None:
            how = self.random.choice(BREAKS)
            self.network.break_stream(how, late=self.random.random() < 0.5)


def lives(limits: ServiceLimits, seeds: range) -> list[Walk]:
    """Each walked to its end: after it the network is well, and every frame has ended once."""
    walks = [Walk(seed, limits) for seed in seeds]
    for walk in walks:
        walk.go(STEPS)
        walk.network.heal()
        walk.network.settle()
        walk.network.assert_all_is_over()
    return walks


def test_with_memory_for_all_results_nothing_is_computed_twice_without_a_reason() -> None:
    walks = lives(ServiceLimits(keep_bytes=100_000), range(60))
    assert all(walk.twice() <= walk.cloud.excused for walk in walks)
    ends = Counter(how for walk in walks for how in walk.device.ended.values())
    assert set(ends) == {"answered", "failed", "given up", "missing twice"}
    assert ends["answered"] > 500  # the walks are no idle ones
    assert sum(walk.cloud.overtaken for walk in walks) > 50


def test_with_memory_for_little_each_frame_still_ends_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Walk, "twice", lambda _: set())  # it is all a reason
    walks = lives(ServiceLimits(keep_bytes=50), range(12))
    assert any(times > 1 for walk in walks for times in walk.cloud.computed.values())


def test_the_walks_resume_both_parked_and_superseded_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resumed: Counter[str] = Counter()
    resume = ServiceSession.resume

    def counted(session: ServiceSession, hello: pb.Hello, now: float) -> object:
        kept = session.kept_bytes > 0
        resumed[f"{session.state}, {'something' if kept else 'nothing'} kept"] += 1
        return resume(session, hello, now)

    monkeypatch.setattr(ServiceSession, "resume", counted)
    lives(ServiceLimits(keep_bytes=100_000), range(12))
    assert len(resumed) == 4
    assert min(resumed.values()) >= 3
