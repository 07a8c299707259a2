"""Both ends over a network that breaks: whatever happens, each frame ends once."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.protos.session import messages as say
from tests.protos.session.network import Break, Network

from isthmus.session import ServiceLimits, error_message
from isthmus.v1 import split_pb2 as pb

BREAKS = st.sampled_from(["known to both", "known to the device", "known to the service"])
ERRORS = st.sampled_from(
    [pb.ERROR_CODE_KEY_FRAME_NEEDED, pb.ERROR_CODE_TOO_LATE, pb.ERROR_CODE_INTERNAL]
)


class Pair(RuleBasedStateMachine):
    """Memory for all results: nothing is computed twice without a reason."""

    limits = ServiceLimits(keep_bytes=10_000)

    @initialize()
    def begin(self) -> None:
        self.network = Network(self.limits)
        self.device = self.network.device
        self.cloud = self.network.cloud

    @precondition(lambda self: self.device.session.state == "down")
    @rule()
    def connect(self) -> None:
        self.device.connect()

    @rule(frames=st.integers(1, 3))
    def send(self, frames: int) -> None:
        """On whatever stream can be had: most of the time should be spent on open ones."""
        if self.device.session.credits == 0:
            self.network.open_stream()
        for _ in range(min(frames, self.device.session.credits)):
            self.device.send(max(self.device.sent, default=0) + 1)

    @precondition(lambda self: self.device.session.state == "down")
    @rule()
    def overtake_a_hello(self) -> None:
        self.network.overtake_a_hello()

    @precondition(lambda self: self.device.keys or self.device.missing)
    @rule()
    def send_again(self) -> None:
        self.network.send_what_is_wanted()

    @precondition(lambda self: self.device.session.unanswered)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.device.cancel(data.draw(st.sampled_from(self.device.session.unanswered)))

    @precondition(lambda self: any(stream.up for stream in self.device.streams))
    @rule(data=st.data(), messages=st.integers(1, 3))
    def deliver_up(self, data: st.DataObject, messages: int) -> None:
        streams = [stream for stream in self.device.streams if stream.up]
        stream = data.draw(st.sampled_from(streams))
        for _ in range(min(messages, len(stream.up))):
            self.cloud.deliver(stream)

    @precondition(lambda self: self.device.stream is not None and self.device.stream.down)
    @rule()
    def deliver_down(self) -> None:
        self.device.deliver()

    @rule()
    def deliver_all(self) -> None:
        self.network.deliver_all()

    @precondition(lambda self: self.cloud.engine)
    @rule(data=st.data(), payload_bytes=st.sampled_from([0, 30, 300]))
    def answer(self, data: st.DataObject, payload_bytes: int) -> None:
        sequence = data.draw(st.sampled_from(self.cloud.engine))
        self.cloud.finish(sequence, say.result(sequence, payload_bytes))

    @precondition(lambda self: self.cloud.engine)
    @rule(data=st.data(), code=ERRORS)
    def fail(self, data: st.DataObject, code: pb.ErrorCode) -> None:
        sequence = data.draw(st.sampled_from(self.cloud.engine))
        self.cloud.finish(sequence, error_message(sequence, code, ""))

    @precondition(lambda self: self.device.stream is not None and self.device.session.unanswered)
    @rule(how=BREAKS, late=st.booleans())
    def break_stream(self, how: Break, late: bool) -> None:
        self.network.break_stream(how, late=late)

    @rule(step_s=st.sampled_from([0.125, 0.5, 1.5, 10.0]))
    def wait(self, step_s: float) -> None:
        self.network.pass_time(step_s)

    @precondition(lambda self: self.cloud.engine)
    @rule()
    def drain(self) -> None:
        self.cloud.drain()

    @precondition(lambda self: self.device.session.unanswered)
    @rule()
    def restart(self) -> None:
        self.network.restart()

    @invariant()
    def nothing_is_computed_twice_without_a_reason(self) -> None:
        twice = {sequence for sequence, times in self.cloud.computed.items() if times > 1}
        assert twice <= self.cloud.excused

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        self.network.heal()
        self.network.settle()
        self.network.assert_all_is_over()
        self.nothing_is_computed_twice_without_a_reason()


class ForgetfulPair(Pair):
    """The service has memory for a result or two; others may be computed twice."""

    limits = ServiceLimits(keep_bytes=50)

    @invariant()
    def nothing_is_computed_twice_without_a_reason(self) -> None:
        """A frame is sent on two streams at most."""
        assert max(self.cloud.computed.values(), default=0) <= 2


SETTINGS = settings(max_examples=12, stateful_step_count=30, deadline=None, derandomize=True)
TestPair = Pair.TestCase
TestPair.settings = SETTINGS
TestForgetfulPair = ForgetfulPair.TestCase
TestForgetfulPair.settings = SETTINGS
