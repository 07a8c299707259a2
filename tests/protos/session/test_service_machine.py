"""A service's session against a device that says anything, in any order, at any time."""

from collections import Counter
from collections.abc import Sequence
from math import inf
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.protos.session import messages as say
from tests.protos.session.walks import Move, walk

from isthmus import SessionError
from isthmus.session import (
    Answer,
    Check,
    Close,
    GiveUp,
    Greet,
    Reply,
    ServiceEvent,
    ServiceSession,
    error_message,
)
from isthmus.v1 import split_pb2 as pb

SEQUENCES = st.integers(1, 8) | st.sampled_from([0, 9999, 2**64 - 1])
SETTLED = st.integers(0, 4) | st.sampled_from([0, 0, 2**64 - 1])
STEPS_S = st.sampled_from([0.0, 0.125, 0.5, 1.0, 10.0, 60.0])


class AnyDevice(RuleBasedStateMachine):
    """Beside the session: what an engine would hold, and what the device was told."""

    @initialize()
    def begin(self) -> None:
        self.session = ServiceSession(say.terms(), say.LIMITS, 64.0)
        self.now = self.heard_at = self.parked_at = 64.0
        self.engine: set[int] = set()
        self.asked: Counter[int] = Counter()  # frames of this stream, and those held for it
        self.told: Counter[int] = Counter()  # their Results and Errors
        self.padded = 0  # bytes of answers, on this stream
        self.checking = False
        self.newest = 8
        self.settled = 0

    @property
    def connected(self) -> bool:
        return self.session.state in {"open", "draining"}

    def heed(self, events: Sequence[ServiceEvent]) -> None:
        for event in events:
            match event:
                case Answer(frame):
                    assert frame.sequence not in self.engine
                    self.engine.add(frame.sequence)
                case GiveUp(sequence):
                    self.engine.remove(sequence)
                case Greet(message):
                    self.asked = Counter(message.welcome.held)
                    self.told.clear()
                    self.padded = 0
                case Reply(message):
                    assert self.connected
                    self.tell(message)
                case Close(_, resumable):
                    if resumable:
                        self.lose()
                        continue
                    assert self.session.state == "ended"
                    self.engine.clear()
                case Check():
                    assert not self.checking
                    self.checking = True

    def tell(self, message: pb.CloudMessage) -> None:
        match message.WhichOneof("kind"):
            case "result":
                self.told[message.result.sequence] += 1
            case "error":
                self.told[message.error.sequence] += 1

    def receive(self, message: pb.EdgeMessage) -> list[ServiceEvent]:
        if self.connected or self.session.state == "waiting":
            self.heard_at = self.now
        state = self.session.state
        through = max(message.heartbeat.settled_through, message.frame.settled_through)
        self.settled = max(self.settled, through)
        events = self.session.received(message, self.now, 7)
        if message.WhichOneof("kind") == "frame" and self.session.state == state:
            self.asked[message.frame.sequence] += 1
        self.heed(events)
        return events

    @precondition(lambda self: self.session.state == "ended")
    @rule()
    def start_over(self) -> None:
        self.begin()

    @precondition(lambda self: self.session.state == "waiting")
    @rule(session_id=st.sampled_from(["one", "one", "one", "", "x" * 65]))
    def say_hello(self, session_id: str) -> None:
        self.receive(say.hello((1, 2), session_id))
        assert self.session.state == ("open" if 1 <= len(session_id) <= 64 else "ended")

    @rule(unanswered=st.lists(SEQUENCES, max_size=8))
    def come_back(self, unanswered: list[int]) -> None:
        may = self.session.state in {"open", "parked"}
        try:
            events = self.session.resume(say.hello(unanswered).hello, self.now)
        except SessionError:
            assert not may
            return
        assert may
        self.heard_at = self.now
        self.heed(events)
        held = next(event.message.welcome.held for event in events if isinstance(event, Greet))
        assert set(held) <= set(unanswered)
        assert set(held) == self.engine | set(self.told)

    @rule(sequence=SEQUENCES, again=st.booleans(), settled=SETTLED)
    def send(self, sequence: int, again: bool, settled: int) -> None:
        self.receive(say.frame(sequence, again=again, settled_through=settled))

    @rule(frames=st.integers(1, 4), repeats=st.booleans())
    def send_well(self, frames: int, repeats: bool) -> None:
        """On an open stream, whatever was before: there is little to see without one."""
        self.open_a_stream()
        for _ in range(frames):
            self.newest += 1
            room = len(self.engine) < say.WINDOW
            (event,) = self.receive(say.frame(self.newest, again=repeats))
            assert isinstance(event, Answer) == room
            if repeats and room:
                assert self.receive(say.frame(self.newest, again=True)) == []

    def open_a_stream(self) -> None:
        if self.session.state in {"ended", "draining"} or self.settled > self.newest:
            self.begin()
        if self.session.state == "waiting":
            self.say_hello("one")
        if self.session.state == "parked":
            self.come_back([*self.engine, self.newest])

    @rule(sequences=st.lists(SEQUENCES, max_size=4))
    def cancel(self, sequences: list[int]) -> None:
        self.receive(say.cancel(*sequences))
        assert not self.connected or not self.engine & set(sequences)

    @rule(settled=SETTLED, asked=st.integers(0, 99) | st.just(2**32 - 1))
    def beat(self, settled: int, asked: int = 0) -> None:
        for event in self.receive(say.beat(4, settled, asked)):
            if isinstance(event, Reply):
                given = event.message.heartbeat.answer_bytes
                left = say.LIMITS.stream_padding_bytes - self.padded
                assert given == min(asked, say.LIMITS.padding_bytes, left)
                self.padded += given

    @rule()
    def ask_for_an_audit(self) -> None:
        self.receive(say.audit(1))

    @rule(message=st.sampled_from([pb.EdgeMessage(), say.hello()]))
    def talk_out_of_turn(self, message: pb.EdgeMessage) -> None:
        if self.session.state == "waiting" and message.WhichOneof("kind") == "hello":
            return
        events = self.receive(message)
        assert not self.connected
        assert all(isinstance(event, Close) for event in events)

    @precondition(lambda self: self.engine)
    @rule(data=st.data(), payload_bytes=st.sampled_from([0, 20, 60, 200]))
    def answer(self, data: st.DataObject, payload_bytes: int) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.engine)))
        self.finish(sequence, say.result(sequence, payload_bytes))

    @precondition(lambda self: self.engine)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.engine)))
        self.finish(sequence, error_message(sequence, pb.ERROR_CODE_TOO_LATE, ""))

    def finish(self, sequence: int, outcome: pb.CloudMessage) -> None:
        kept_bytes = self.session.kept_bytes
        self.engine.remove(sequence)
        events = self.session.finished(outcome)
        assert [type(event) for event in events] == [Reply] * self.connected
        self.heed(events)
        fits = outcome.ByteSize() <= say.LIMITS.keep_bytes
        assert fits or self.session.kept_bytes == kept_bytes

    @rule(sequence=SEQUENCES)
    def answer_what_was_given_up(self, sequence: int) -> None:
        if sequence not in self.engine:
            assert self.session.finished(say.result(sequence)) == []

    @precondition(lambda self: self.checking)
    @rule()
    def tell_the_verdict(self) -> None:
        self.checking = False
        assert len(self.session.checked(pb.Verdict())) == self.connected

    @precondition(lambda self: self.session.state != "parked")
    @rule()
    def lose(self) -> None:
        self.parked_at = self.now
        self.heed(self.session.lost(self.now))
        assert not self.connected

    @rule()
    def drain(self) -> None:
        self.heed(self.session.drain(1.0))
        assert self.session.state in {"draining", "ended"}

    @rule()
    def close(self) -> None:
        self.session.close()
        self.engine.clear()

    @rule(step_s=STEPS_S)
    def wait(self, step_s: float) -> None:
        self.now += step_s
        wakes_at, state = self.session.wakes_at(), self.session.state
        patience = {"waiting": 10.0, "open": 60.0, "draining": 60.0, "parked": 10.0, "ended": inf}
        since = self.parked_at if state == "parked" else self.heard_at
        over = self.now - since >= patience[state]
        events = self.session.tick(self.now)
        assert events == [] or self.now >= wakes_at
        self.heed(events)
        assert over == (self.session.state != state)
        assert self.session.wakes_at() > self.now

    @rule(step_s=st.sampled_from([0.125, 1e9]))
    def set_the_clock_back(self, step_s: float) -> None:
        self.now -= step_s
        self.heard_at = min(self.heard_at, self.now)
        self.parked_at = min(self.parked_at, self.now)
        state = self.session.state
        self.heed(self.session.tick(self.now))
        assert self.session.state == state
        assert self.session.wakes_at() <= self.now + 10 or self.session.wakes_at() == inf

    @invariant()
    def in_flight_is_what_the_engine_holds(self) -> None:
        assert self.session.in_flight == self.engine
        assert len(self.engine) <= say.WINDOW

    @invariant()
    def memory_is_bounded(self) -> None:
        assert 0 <= self.session.kept_bytes <= say.LIMITS.keep_bytes

    @invariant()
    def a_frame_is_not_answered_more_often_than_it_was_asked(self) -> None:
        assert self.told <= self.asked

    @invariant()
    def the_end_is_empty(self) -> None:
        if self.session.state == "ended" or self.session.is_drained:
            assert (self.session.kept_bytes, self.session.in_flight) == (0, frozenset())


def check(machine: AnyDevice) -> None:
    machine.in_flight_is_what_the_engine_holds()
    machine.memory_is_bounded()
    machine.a_frame_is_not_answered_more_often_than_it_was_asked()
    machine.the_end_is_empty()


def finish_one(machine: AnyDevice, random: Random) -> None:
    if machine.engine:
        sequence = random.choice(sorted(machine.engine))
        machine.finish(sequence, say.result(sequence, random.choice((0, 20, 60, 200))))


def fail_one(machine: AnyDevice, random: Random) -> None:
    if machine.engine:
        sequence = random.choice(sorted(machine.engine))
        machine.finish(sequence, error_message(sequence, pb.ERROR_CODE_TOO_LATE, ""))


def some(machine: AnyDevice, random: Random) -> list[int]:
    """Frames of late, most of which the session knows."""
    return [machine.newest - random.randint(0, 8) for _ in range(random.randint(0, 5))]


MOVES: dict[Move[AnyDevice], int] = {
    lambda machine, random: machine.send_well(random.randint(1, 4), random.random() < 0.3): 20,
    finish_one: 20,
    fail_one: 4,
    lambda machine, random: machine.come_back(some(machine, random)): 6,
    lambda machine, random: machine.cancel(some(machine, random)): 3,
    lambda machine, random: machine.beat(
        machine.newest - random.randint(0, 8), random.choice((0, 1, 50, 2**32 - 1))
    ): 3,
    lambda machine, random: machine.answer_what_was_given_up(random.randint(0, 8)): 1,
    lambda machine, _: machine.ask_for_an_audit(): 2,
    lambda machine, _: machine.checking and machine.tell_the_verdict(): 2,
    lambda machine, _: machine.session.state != "parked" and machine.lose(): 4,
    lambda machine, _: machine.drain(): 1,
    lambda machine, _: machine.close(): 1,
    lambda machine, random: machine.wait(random.choice((0.125, 0.5, 1.0, 10.0, 60.0))): 4,
    lambda machine, random: machine.set_the_clock_back(random.choice((0.125, 1e6))): 1,
    lambda machine, random: machine.send(random.randint(0, 8), True, random.randint(0, 8)): 1,
}


@pytest.mark.parametrize("seed", range(20))
def test_a_long_life_with_a_device_that_does_anything(seed: int) -> None:
    machine = AnyDevice()
    machine.begin()
    walk(machine, MOVES, check, seed=seed, steps=300)


TestAnyDevice = AnyDevice.TestCase
TestAnyDevice.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, derandomize=True
)
