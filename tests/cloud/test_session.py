"""The order of messages, without a network."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.session import Answer, Close, Event, Greet, Reply, Session

FINGERPRINT = "f" * 64
WINDOW = 2


def new_session() -> Session:
    return Session(
        pb.Welcome(protocol=PROTOCOL, bundle_fingerprint=FINGERPRINT, window=WINDOW, provider="cpu")
    )


def hello(fingerprint: str = FINGERPRINT, top_k: int = 0) -> pb.EdgeMessage:
    return pb.EdgeMessage(
        hello=pb.Hello(
            protocol=PROTOCOL, bundle_fingerprint=fingerprint, answer_top_k=top_k, session_id="s"
        )
    )


def frame(sequence: int) -> pb.EdgeMessage:
    return pb.EdgeMessage(frame=pb.Frame(sequence=sequence))


def heartbeat() -> pb.EdgeMessage:
    return pb.EdgeMessage(heartbeat=pb.Heartbeat(id=3, padding=b"xx"))


def open_session() -> Session:
    session = new_session()
    session.received(hello(), 1)
    return session


def code_of(event: Event) -> pb.ErrorCode:
    assert isinstance(event, Reply | Close)
    return event.message.error.code


def test_hello_is_greeted_with_the_terms() -> None:
    session = new_session()
    event = session.received(hello(top_k=5), 1)
    assert isinstance(event, Greet)
    assert event.message.welcome.window == WINDOW
    assert session.top_k == 5


def test_a_second_hello_ends_the_stream() -> None:
    event = open_session().received(hello(), 2)
    assert isinstance(event, Close)
    assert code_of(event) == pb.ERROR_CODE_PROTOCOL


def test_a_stranger_without_a_fingerprint_is_refused() -> None:
    event = new_session().received(hello(fingerprint=""), 1)
    assert isinstance(event, Close)
    assert code_of(event) == pb.ERROR_CODE_BUNDLE_MISMATCH


def test_a_fingerprint_that_only_begins_alike_is_refused() -> None:
    event = new_session().received(hello(fingerprint=FINGERPRINT[:12]), 1)
    assert isinstance(event, Close)


def test_a_heartbeat_says_when_it_came() -> None:
    event = open_session().received(heartbeat(), 12345)
    assert isinstance(event, Reply)
    assert event.message.heartbeat == pb.Heartbeat(id=3, received_ns=12345)


def test_a_finished_frame_gives_its_place_back() -> None:
    session = open_session()
    assert isinstance(session.received(frame(1), 2), Answer)
    assert isinstance(session.received(frame(2), 2), Answer)
    assert code_of(session.received(frame(3), 2)) == pb.ERROR_CODE_OVERLOADED
    session.finished(1)
    assert isinstance(session.received(frame(4), 2), Answer)


def test_a_sequence_may_come_again_once_its_error_is_sent() -> None:
    """A difference whose reference was lost is sent again as a key frame, under its own number."""
    session = open_session()
    session.received(frame(1), 2)
    assert isinstance(session.received(frame(2), 2), Answer)
    session.finished(1)
    assert isinstance(session.received(frame(1), 2), Answer)


def test_a_frame_without_a_sequence_ends_the_stream() -> None:
    event = open_session().received(frame(0), 2)
    assert isinstance(event, Close)
    assert code_of(event) == pb.ERROR_CODE_PROTOCOL


def test_a_draining_session_takes_nothing_new_and_knows_when_it_is_done() -> None:
    session = open_session()
    session.received(frame(1), 2)
    assert session.drain(1.5).drain.grace_ms == 1500
    assert code_of(session.received(frame(2), 2)) == pb.ERROR_CODE_DRAINING
    assert isinstance(session.received(heartbeat(), 2), Reply)
    assert not session.is_drained
    session.finished(1)
    assert session.is_drained


def test_hello_to_a_draining_service_is_refused() -> None:
    session = new_session()
    session.drain(1)
    event = session.received(hello(), 1)
    assert isinstance(event, Close)
    assert code_of(event) == pb.ERROR_CODE_DRAINING


STEPS = st.one_of(
    st.builds(hello),
    st.builds(frame, st.integers(0, 6)),
    st.builds(heartbeat),
    st.just(pb.EdgeMessage()),
    st.integers(1, 6),  # this frame is answered
    st.just("drain"),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_comes_the_window_holds_and_no_frame_is_answered_twice_at_once(
    steps: list[pb.EdgeMessage | int | str],
) -> None:
    session = new_session()
    in_flight: set[int] = set()
    greeted = draining = False
    for step in steps:
        if isinstance(step, int):
            session.finished(step)
            in_flight.discard(step)
        elif isinstance(step, str):
            session.drain(1)
            draining = True
        else:
            event = session.received(step, 1)
            if isinstance(event, Close):
                assert event.message.error.sequence == 0
                return
            if isinstance(event, Greet):
                assert not greeted
                greeted = True
            if isinstance(event, Answer):
                assert greeted
                assert not draining
                assert event.frame.sequence not in in_flight
                in_flight.add(event.frame.sequence)
                assert len(in_flight) <= WINDOW
        assert session.is_drained == (draining and not in_flight)
