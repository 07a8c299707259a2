"""A device against a service that says anything, in any order, at any time."""

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
    Answered,
    DeviceEvent,
    DeviceSession,
    Echoed,
    Failed,
    LoadTold,
    Lost,
    Missing,
    Refused,
    UpdateOffered,
    Welcomed,
    error_message,
)
from isthmus.session.device import GREETING_S
from isthmus.v1 import split_pb2 as pb

SEQUENCES = st.integers(1, 8) | st.sampled_from([0, 99, 2**64 - 1])
CODES = (pb.ERROR_CODE_KEY_FRAME_NEEDED, pb.ERROR_CODE_TOO_LATE, pb.ERROR_CODE_CANCELLED)
LOADS = (0.0, 5.0, -1.0, inf, float("nan"))
STEPS_S = st.sampled_from([0.0, 0.125, 0.5, 1.0, 1.375, 2.0])  # sums of them are exact


def talk_about(sequence: int, code: pb.ErrorCode, queue_ms: float) -> list[pb.CloudMessage]:
    """Anything but the end of the stream."""
    return [
        say.result(sequence),
        error_message(sequence or 1, code, "because"),
        pb.CloudMessage(heartbeat=pb.Heartbeat(id=sequence, received_ns=2**64 - 1)),
        pb.CloudMessage(load=pb.Load(queue_ms=queue_ms)),
        pb.CloudMessage(verdict=pb.Verdict(sequence=sequence)),
        pb.CloudMessage(update=pb.Update(model="m", version=str(sequence))),
        pb.CloudMessage(),
    ]


TALK = st.builds(talk_about, SEQUENCES, st.sampled_from(CODES), st.sampled_from(LOADS)).flatmap(
    st.sampled_from
)


class AnyService(RuleBasedStateMachine):
    """What the rules of the session make of it is written down a second time, in plain sets."""

    @initialize()
    def begin(self) -> None:
        self.session = DeviceSession(say.IDENTITY, say.SILENCE_S)
        self.now = self.heard_at = 64.0
        self.sent: dict[int, int] = {}  # how often, as key frames not counted
        self.keys: set[int] = set()  # sent as a key frame on this stream
        self.under_way: set[int] = set()
        self.missing: set[int] = set()
        self.asked: set[int] = set()
        self.over: set[int] = set()
        self.echoed: list[int] = []

    def settle(self, sequence: int) -> None:
        assert sequence in self.sent
        assert sequence not in self.over
        self.over.add(sequence)
        for group in (self.under_way, self.missing, self.asked):
            group.discard(sequence)

    def end_stream(self) -> None:
        for group in (self.under_way, self.missing, self.asked, self.keys):
            group.clear()

    def heed(self, events: list[DeviceEvent]) -> None:
        for event in events:
            match event:
                case Answered() | Failed() | Missing():
                    self.heed_frame(event)
                case Echoed(number):
                    self.echoed.append(number)
                case LoadTold(queue_ms):
                    assert 0 <= queue_ms < inf
                case Lost():
                    assert self.session.state == "down"
                    self.end_stream()
                case Refused():
                    assert self.session.state == "refused"
                    self.over |= self.sent.keys()
                    self.end_stream()

    def heed_frame(self, event: Answered | Failed | Missing) -> None:
        sequence = event.sequence
        match event:
            case Failed(_, "KEY_FRAME_NEEDED") if sequence in self.session.unanswered:
                assert sequence in self.under_way - self.asked - self.keys
                self.asked.add(sequence)
            case Missing(_, may_send_again):
                assert sequence in self.sent.keys() - self.over
                assert may_send_again == (self.sent[sequence] < 2)
                if may_send_again:
                    self.missing.add(sequence)
                else:
                    self.settle(sequence)
            case Failed():
                assert sequence in self.under_way
                self.settle(sequence)
            case _:
                self.settle(sequence)

    def receive(self, message: pb.CloudMessage) -> None:
        connected = self.session.state in {"greeting", "open", "draining"}
        in_talk = self.session.state in {"open", "draining"}
        if in_talk:
            self.heard_at = self.now
        events = self.session.received(message, self.now)
        assert connected or not events
        offers = [event for event in events if isinstance(event, UpdateOffered)]
        assert len(offers) == (in_talk and message.HasField("update"))
        if any(isinstance(event, Welcomed) for event in events):
            self.heard_at = self.now
            self.under_way = set(message.welcome.held) & (self.sent.keys() - self.over)
        self.heed(events)

    def try_to_send(self, sequence: int) -> None:
        """The session agrees with the sets on what may be sent."""
        new = sequence > max(self.sent, default=0)
        room = self.session.credits > 0
        allowed = self.session.state == "open" and (
            sequence in self.asked or (room and (new or sequence in self.missing))
        )
        frame = pb.Frame(sequence=sequence)
        try:
            message = self.session.send(frame)
        except SessionError:
            assert not allowed
            return
        assert allowed
        assert message.frame.again == (sequence in self.missing)
        if sequence in self.asked:
            self.asked.remove(sequence)
            self.keys.add(sequence)
            return
        self.sent[sequence] = self.sent.get(sequence, 0) + 1
        self.missing.discard(sequence)
        self.under_way.add(sequence)
        assert len(self.under_way) <= self.session.window

    @precondition(lambda self: self.session.state in {"refused", "closed"})
    @rule()
    def start_over(self) -> None:
        self.begin()

    @precondition(lambda self: self.session.state == "down")
    @rule()
    def connect(self) -> None:
        hello = self.session.connect(self.now).hello
        self.heard_at = self.now
        assert set(hello.unanswered) == self.sent.keys() - self.over

    @rule(sequence=st.integers(0, 8))
    def send(self, sequence: int) -> None:
        self.try_to_send(sequence)

    @rule(frames=st.integers(1, 4), window=st.integers(1, 3), holds_all=st.booleans())
    def send_well(self, frames: int, window: int, holds_all: bool) -> None:
        """On an open stream, whatever was before: there is little to see without one."""
        if self.session.state in {"refused", "closed"}:
            self.begin()
        if self.session.state == "draining":
            self.lose()
        if self.session.state == "down":
            self.connect()
        if self.session.state == "greeting":
            self.welcome(window, [*self.session.unanswered] if holds_all else [])
        for _ in range(frames):
            self.try_to_send(max(self.sent, default=0) + 1)

    @rule()
    def send_what_is_wanted_again(self) -> None:
        for sequence in sorted(self.missing | self.asked):
            self.try_to_send(sequence)

    @rule(sequence=st.integers(0, 8))
    def cancel(self, sequence: int) -> None:
        state, at_the_service = self.session.state, sequence in self.under_way
        waited_for = sequence in self.session.unanswered
        message = self.session.cancel(sequence)
        named = state == "greeting" and waited_for
        assert (message is not None) == (named or at_the_service)
        if waited_for:
            self.settle(sequence)

    @precondition(lambda self: self.session.state in {"open", "draining"})
    @rule()
    def beat(self) -> None:
        message = self.session.beat(self.now)
        assert not self.session.wants_beat(self.now)
        assert message.heartbeat.settled_through < min(self.session.unanswered, default=inf)

    @precondition(lambda self: self.session.state == "greeting")
    @rule(window=st.sampled_from([0, 1, 3, 2**32 - 1]), held=st.lists(SEQUENCES, max_size=5))
    def welcome(self, window: int, held: list[int]) -> None:
        self.receive(say.welcome(window, held))

    @rule(message=TALK)
    def hear(self, message: pb.CloudMessage) -> None:
        if self.session.state != "greeting" or message.WhichOneof("kind") is None:
            self.receive(message)

    @precondition(lambda self: self.session.state == "open")
    @rule()
    def hear_of_the_drain(self) -> None:
        self.receive(pb.CloudMessage(drain=pb.Drain(grace_ms=1)))

    @precondition(lambda self: self.session.state == "open")
    @rule()
    def want_key_frames_of_everything(self) -> None:
        for sequence in tuple(self.session.unanswered):
            self.receive(say.key_needed(sequence))

    @rule(code=st.sampled_from([pb.ERROR_CODE_SUPERSEDED, pb.ERROR_CODE_IDLE]))
    def hear_of_the_end(self, code: pb.ErrorCode) -> None:
        connected = self.session.state in {"greeting", "open", "draining"}
        self.receive(error_message(0, code, "because"))
        assert not connected or self.session.state == "down"

    @rule()
    def hear_out_of_turn(self) -> None:
        state = self.session.state
        self.receive(say.result(1) if state == "greeting" else say.welcome())
        connected = state in {"greeting", "open", "draining"}
        assert self.session.state == ("refused" if connected else state)

    @rule()
    def lose(self) -> None:
        self.heed(self.session.lost("cut"))

    @rule()
    def close(self) -> None:
        self.session.close()
        self.over |= self.sent.keys()
        self.end_stream()
        assert self.session.unanswered == ()

    @rule(step_s=STEPS_S)
    def wait(self, step_s: float) -> None:
        wakes_at, state = self.session.wakes_at(), self.session.state
        self.now += step_s
        patience_s = GREETING_S if state == "greeting" else say.SILENCE_S
        silent = state not in {"down", "refused", "closed"} and (
            self.now - self.heard_at >= patience_s
        )
        events = self.session.tick(self.now)
        assert [isinstance(event, Lost) for event in events] == [True] * silent
        assert not silent or self.now >= wakes_at
        self.heed(events)

    @rule(step_s=st.sampled_from([0.125, 8.0, 1e9]))
    def set_the_clock_back(self, step_s: float) -> None:
        self.now -= step_s
        self.heard_at = min(self.heard_at, self.now)
        assert self.session.tick(self.now) == []
        assert self.session.wakes_at() <= self.now + GREETING_S or self.session.wakes_at() == inf

    @invariant()
    def the_places_taken_are_the_frames_under_way(self) -> None:
        room = max(0, self.session.window - len(self.under_way))
        assert self.session.credits == (room if self.session.state == "open" else 0)

    @invariant()
    def what_is_not_over_is_unanswered(self) -> None:
        assert set(self.session.unanswered) == self.sent.keys() - self.over

    @invariant()
    def a_frame_is_sent_twice_at_most(self) -> None:
        assert all(times <= 2 for times in self.sent.values())

    @invariant()
    def an_echo_is_told_once(self) -> None:
        assert self.echoed == sorted(set(self.echoed))

    @invariant()
    def something_runs_out_only_on_a_stream(self) -> None:
        connected = self.session.state in {"greeting", "open", "draining"}
        assert (self.session.wakes_at() < inf) == connected


def check(machine: AnyService) -> None:
    machine.the_places_taken_are_the_frames_under_way()
    machine.what_is_not_over_is_unanswered()
    machine.a_frame_is_sent_twice_at_most()
    machine.an_echo_is_told_once()
    machine.something_runs_out_only_on_a_stream()


def late_one(machine: AnyService, random: Random) -> int:
    return random.choice([*machine.session.unanswered, *[*machine.sent][-5:], 0, 1, 99])


def hear_something(machine: AnyService, random: Random) -> None:
    if machine.session.state in {"open", "draining"} or random.random() < 0.2:
        sequence, code = late_one(machine, random), random.choice(CODES)
        machine.hear(random.choice(talk_about(sequence, code, random.choice(LOADS))))


def come_back(machine: AnyService, random: Random) -> None:
    """With some of the frames held; now and then a frame is cancelled before the Welcome."""
    if machine.session.state == "down":
        machine.connect()
        if random.random() < 0.3:
            machine.cancel(late_one(machine, random))
        held = [s for s in machine.session.unanswered if random.random() < 0.4]
        machine.welcome(random.choice((0, 1, 3, 2**32 - 1)), held)


def beat_and_hear(machine: AnyService, random: Random) -> None:
    if machine.session.state == "open":
        machine.beat()
        for number in range(random.randint(0, 3)):
            machine.receive(say.echo(number))


MOVES: dict[Move[AnyService], int] = {
    lambda machine, random: machine.send_well(random.randint(1, 4), 3, random.random() < 0.5): 10,
    lambda machine, random: machine.send(late_one(machine, random)): 10,
    hear_something: 30,
    come_back: 20,
    beat_and_hear: 3,
    lambda machine, _: machine.send_what_is_wanted_again(): 8,
    lambda machine, random: machine.cancel(late_one(machine, random)): 5,
    lambda machine, _: machine.lose(): 5,
    lambda machine, _: machine.session.state == "open" and machine.hear_of_the_drain(): 1,
    lambda machine, _: (
        machine.session.state == "open" and (machine.want_key_frames_of_everything())
    ): 4,
    lambda machine, _: machine.hear_of_the_end(pb.ERROR_CODE_SUPERSEDED): 1,
    lambda machine, _: machine.hear_out_of_turn(): 1,
    lambda machine, _: machine.close(): 1,
    lambda machine, random: machine.wait(random.choice((0.0, 0.125, 0.5, 1.0, 2.0))): 6,
    lambda machine, random: machine.set_the_clock_back(random.choice((0.125, 1e6))): 1,
}


@pytest.mark.parametrize("seed", range(20))
def test_a_long_life_with_a_service_that_does_anything(seed: int) -> None:
    machine = AnyService()
    machine.begin()
    walk(machine, MOVES, check, seed=seed, steps=300)


TestAnyService = AnyService.TestCase
TestAnyService.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, derandomize=True
)
