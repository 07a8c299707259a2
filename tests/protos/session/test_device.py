"""The main stories of the device's side."""

import pytest
from tests.protos.session import messages as say

from isthmus import SessionError
from isthmus.session import (
    Answered,
    DeviceSession,
    Draining,
    Echoed,
    Failed,
    Identity,
    LoadTold,
    Lost,
    Missing,
    Refused,
    Told,
    UpdateOffered,
    Welcomed,
    error_message,
)
from isthmus.session.device import BEAT_S, GREETING_S
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb


def with_frames(*sequences: int) -> DeviceSession:
    session = say.device()
    for sequence in sequences:
        session.send(pb.Frame(sequence=sequence))
    return session


def reconnected(session: DeviceSession, *held: int) -> list[object]:
    """What comes of a broken stream and another Welcome."""
    session.lost("cut")
    session.connect(1.0)
    return [
        event
        for event in session.received(say.welcome(held=held), 1.0)
        if not isinstance(event, LoadTold)
    ]


def named_error(sequence: int, code: str) -> pb.CloudMessage:
    error = pb.Error(sequence=sequence, code=f"ERROR_CODE_{code}", message="why")
    return pb.CloudMessage(error=error)


def test_the_device_says_hello_with_all_that_the_service_must_know() -> None:
    session = DeviceSession(Identity("one", say.FINGERPRINT, answer_top_k=5), say.SILENCE_S)
    hello = session.connect(0.0).hello
    assert (hello.protocol, hello.session_id, hello.answer_top_k) == (PROTOCOL, "one", 5)
    assert (hello.bundle_fingerprint, list(hello.unanswered)) == (say.FINGERPRINT, [])


def test_a_welcome_gives_the_credits() -> None:
    session = say.device("greeting")
    assert session.credits == 0
    message = say.welcome(window=2)
    message.welcome.provider = "cpu"
    message.welcome.load.queue_ms = 4.0
    assert session.received(message, 0.0) == [Welcomed("cpu", resumed=False), LoadTold(4.0)]
    assert session.credits == 2


def test_a_frame_takes_a_credit_and_its_answer_returns_it() -> None:
    session = with_frames(1, 2, 3)
    with pytest.raises(SessionError, match="frame 4: all 3 places are taken; wait"):
        session.send(pb.Frame(sequence=4))
    assert session.received(say.result(2), 0.0) == [Answered(2, say.result(2).result)]
    assert (session.credits, session.unanswered) == (1, (1, 3))


def test_answers_come_in_any_order_and_count_once() -> None:
    session = with_frames(1, 2)
    events = [session.received(say.result(sequence), 0.0) for sequence in (2, 1, 2, 7)]
    assert [len(told) for told in events] == [1, 1, 0, 0]
    assert session.duplicates == 2


def test_new_frames_count_upwards() -> None:
    session = with_frames(1, 3)
    with pytest.raises(SessionError, match=r"frame 2: .* new frames count upwards from 4"):
        session.send(pb.Frame(sequence=2))


def test_every_frame_says_what_is_settled() -> None:
    session = with_frames(1, 2)
    session.received(say.result(2), 0.0)
    assert session.send(pb.Frame(sequence=3)).frame.settled_through == 0
    session.received(say.result(1), 0.0)
    assert session.beat(0.0).heartbeat.settled_through == 2
    session.received(say.result(3), 0.0)
    assert session.beat(0.0).heartbeat.settled_through == 3


def test_cancel_returns_the_credit_at_once() -> None:
    session = with_frames(1, 2, 3)
    message = session.cancel(2)
    assert message is not None
    assert list(message.cancel.sequences) == [2]
    assert session.credits == 1
    assert session.received(error_message(2, pb.ERROR_CODE_CANCELLED, ""), 0.0) == []
    assert session.cancel(2) is None


def test_what_is_cancelled_while_down_is_not_named_again() -> None:
    session = with_frames(1, 2)
    session.lost("cut")
    assert session.cancel(1) is None
    assert list(session.connect(1.0).hello.unanswered) == [2]


def test_a_cancel_during_the_greeting_is_sent_for_the_hello_has_named_the_frame() -> None:
    session = with_frames(1, 2)
    session.lost("cut")
    session.connect(1.0)
    message = session.cancel(1)
    assert message is not None
    assert list(message.cancel.sequences) == [1]


def test_a_resumed_frame_keeps_its_place_and_a_missing_one_may_be_sent_again() -> None:
    session = with_frames(1, 2)
    assert reconnected(session, 1) == [Welcomed("", resumed=True), Missing(2, True)]
    assert session.credits == say.WINDOW - 1
    assert session.send(pb.Frame(sequence=2)).frame.again
    assert session.credits == say.WINDOW - 2


def test_a_frame_that_was_sent_twice_is_not_sent_a_third_time() -> None:
    session = with_frames(1)
    reconnected(session)
    session.send(pb.Frame(sequence=1))
    assert reconnected(session) == [Welcomed("", resumed=False), Missing(1, False)]
    assert session.unanswered == ()


def test_a_frame_is_not_sent_again_while_it_is_under_way() -> None:
    session = with_frames(1)
    with pytest.raises(SessionError, match="frame 1: it is under way"):
        session.send(pb.Frame(sequence=1))


def test_sending_again_needs_a_credit_too() -> None:
    session = with_frames(1, 2)
    reconnected(session)
    for sequence in (3, 4, 5):
        session.send(pb.Frame(sequence=sequence))
    with pytest.raises(SessionError, match="frame 1: all 3 places are taken; wait"):
        session.send(pb.Frame(sequence=1))


def test_a_key_frame_is_sent_once_in_the_place_that_the_frame_holds() -> None:
    session = with_frames(1, 2, 3)
    assert session.received(say.key_needed(1), 0.0) == [Failed(1, "KEY_FRAME_NEEDED", "not held")]
    assert session.credits == 0
    assert not session.send(pb.Frame(sequence=1)).frame.again
    session.received(say.key_needed(1), 0.0)
    assert session.unanswered == (2, 3)


def test_a_key_frame_is_not_waited_for_in_a_drain() -> None:
    session = with_frames(1)
    session.received(pb.CloudMessage(drain=pb.Drain()), 0.0)
    session.received(say.key_needed(1), 0.0)
    assert session.unanswered == ()


def test_an_error_about_a_frame_that_the_service_does_not_hold_means_nothing() -> None:
    """It would be sent as a key frame without a credit."""
    session = with_frames(1)
    reconnected(session)
    assert session.received(say.key_needed(1), 0.0) == []
    assert session.unanswered == (1,)


@pytest.mark.parametrize("code", ["TOO_LATE", "BAD_FRAME", "OVERLOADED", "DRAINING", "INTERNAL"])
def test_an_error_ends_its_frame_and_nothing_else(code: str) -> None:
    session = with_frames(1, 2)
    assert session.received(named_error(1, code), 0.0) == [Failed(1, code, "why")]
    assert (session.state, session.unanswered, session.credits) == ("open", (2,), 2)


def test_a_code_of_a_newer_contract_is_told_by_its_number() -> None:
    session = with_frames(1)
    message = pb.CloudMessage.FromString(b"\x22\x04\x08\x01\x10\x63")  # error: sequence 1, code 99
    assert session.received(message, 0.0) == [Failed(1, "CODE_99", "")]


@pytest.mark.parametrize("code", ["SUPERSEDED", "IDLE", "DRAINING", "OVERLOADED"])
def test_the_end_of_a_stream_is_no_end_of_the_session(code: str) -> None:
    session = with_frames(1)
    events = session.received(named_error(0, code), 0.0)
    assert events == [Lost("the service ended the stream: why", code)]
    assert (session.state, session.unanswered) == ("down", (1,))


@pytest.mark.parametrize("code", ["BUNDLE_MISMATCH", "PROTOCOL"])
def test_a_service_that_can_never_take_the_device_ends_the_session(code: str) -> None:
    session = say.device("greeting")
    assert session.received(named_error(0, code), 0.0) == [Refused(code, "why")]
    assert session.state == "refused"


def test_what_a_service_says_is_cut_and_cannot_move_a_terminals_cursor() -> None:
    evil = f"one\n\x1b[2J\u202etwo{'!' * 5000}"
    clean = f"one??[2J?two{'!' * 5000}"[:500]
    assert with_frames(1).received(error_message(1, pb.ERROR_CODE_BAD_FRAME, evil), 0.0) == [
        Failed(1, "BAD_FRAME", clean)
    ]
    assert with_frames(1).received(error_message(0, pb.ERROR_CODE_IDLE, evil), 0.0) == [
        Lost(f"the service ended the stream: {clean}", "IDLE")
    ]
    assert say.device("greeting").received(error_message(0, pb.ERROR_CODE_PROTOCOL, evil), 0.0) == [
        Refused("PROTOCOL", clean)
    ]
    welcome = say.welcome()
    welcome.welcome.provider = evil
    (welcomed, *_) = say.device("greeting").received(welcome, 0.0)
    assert isinstance(welcomed, Welcomed)
    assert welcomed.provider == clean[:64]


def test_a_service_of_another_protocol_or_bundle_is_refused() -> None:
    older, stranger = say.welcome(), say.welcome()
    older.welcome.protocol = PROTOCOL - 1
    stranger.welcome.bundle_fingerprint = "0" * 64
    refused = [say.device("greeting").received(message, 0.0) for message in (older, stranger)]
    assert [[event.code for event in events if isinstance(event, Refused)] for events in refused]
    assert [type(event) for events in refused for event in events] == [Refused, Refused]


def test_a_window_of_nothing_would_be_silence_for_ever_so_it_is_one() -> None:
    assert say.device(window=0).credits == 1
    assert say.device(window=2**32 - 1).credits == 2**32 - 1


def test_a_drain_takes_all_credits_and_lets_answers_through() -> None:
    session = with_frames(1)
    assert session.received(pb.CloudMessage(drain=pb.Drain(grace_ms=9)), 0.0) == [Draining(9)]
    assert session.credits == 0
    assert session.received(say.result(1), 0.0) == [Answered(1, say.result(1).result)]


def test_silence_is_a_dead_link_and_nothing_else_is() -> None:
    session = say.device()
    session.received(pb.CloudMessage(heartbeat=pb.Heartbeat()), 1.0)
    assert session.tick(2.25) == []
    assert session.tick(2.5) == [Lost("the link to the cloud is dead: silent for 1.5 s")]
    assert session.tick(9.0) == []


def test_an_answer_that_may_be_on_its_way_is_waited_for_as_well() -> None:
    session = say.device("open")
    session.allow_for_answers(2.0)
    assert session.tick(say.SILENCE_S + 1.9) == []
    (lost,) = session.tick(say.SILENCE_S + 2.0)
    assert isinstance(lost, Lost)
    assert f"{say.SILENCE_S + 2:g} s" in lost.reason


def test_a_welcome_is_heard_too() -> None:
    session = say.device("greeting")
    session.received(say.welcome(), 1.0)
    session.beat(100.0)
    assert session.wakes_at() == 1.0 + say.SILENCE_S


def test_talk_without_a_welcome_does_not_keep_a_greeting_alive() -> None:
    session = say.device("greeting")
    assert session.received(pb.CloudMessage(), GREETING_S - 0.5) == []
    assert session.wakes_at() == GREETING_S
    assert len(session.received(pb.CloudMessage(), GREETING_S)) == 1
    assert session.state == "down"


def test_it_wakes_exactly_when_something_runs_out() -> None:
    """Also at times that floats cannot add: else a loop would spin until the clock moved."""
    session = say.device()
    for tenth in range(40):
        now = 0.1 * tenth
        session.received(say.result(99), now)
        session.beat(now)
        session.beat(now + 100)  # put off
        silent_at = session.wakes_at()
        assert session.tick(silent_at), now
        session.connect(now)
        session.received(say.welcome(), now)


def test_a_beat_is_due_at_once_and_then_at_its_pace() -> None:
    session = say.device()
    assert session.wants_beat(0.0)
    assert len(session.beat(0.0, padding_bytes=10).heartbeat.padding) == 10
    assert not session.wants_beat(BEAT_S - 0.1)
    assert session.wants_beat(BEAT_S)


def test_a_clock_that_was_set_back_puts_nothing_off() -> None:
    session = say.device()
    session.beat(1000.0)
    session.received(say.result(9), 1000.0)
    assert session.tick(10.0) == []
    assert session.wakes_at() == 10.0 + BEAT_S
    assert len(session.tick(11.5)) == 1


def test_an_echo_is_told_once_and_only_if_it_was_asked_for() -> None:
    session = say.device()
    session.beat(0.0)
    session.beat(0.4)
    told = [session.received(say.echo(number), 1.0) for number in (1, 1, 0, 3, 2)]
    assert told == [[Echoed(1, 5e-9, 3e-9)], [], [], [], [Echoed(2, 5e-9, 3e-9)]]


def test_an_echo_of_an_older_stream_is_not_told() -> None:
    session = say.device()
    session.beat(0.0)
    reconnected(session)
    assert session.received(say.echo(1), 1.0) == []


@pytest.mark.parametrize("queue_ms", [-1.0, float("inf"), float("nan")])
def test_a_load_that_is_no_time_is_not_told(queue_ms: float) -> None:
    session = with_frames(1)
    message = say.result(1)
    message.result.load.queue_ms = queue_ms
    assert [type(event) for event in session.received(message, 0.0)] == [Answered]
    load = pb.CloudMessage(load=pb.Load(queue_ms=queue_ms))
    assert session.received(load, 0.0) == []


def test_verdicts_and_loads_are_told() -> None:
    session = say.device()
    verdict = pb.Verdict(sequence=1, compared=True, agrees=True)
    assert session.audit(1, pb.Frame(candidate="input")).audit.input.candidate == "input"
    assert session.received(pb.CloudMessage(verdict=verdict), 0.0) == [Told(verdict)]
    load = pb.CloudMessage(load=pb.Load(queue_ms=2.0))
    assert session.received(load, 0.0) == [LoadTold(2.0)]


def test_heartbeats_tell_the_load_too_and_how_many_devices_there_are() -> None:
    session = say.device()
    session.beat(0.0)
    echo = say.echo(1)
    echo.heartbeat.load.CopyFrom(pb.Load(queue_ms=2.0, streams=5))
    assert session.received(echo, 0.0) == [LoadTold(2.0, 5), Echoed(1, 5e-9, 3e-9)]
    sign_of_life = pb.CloudMessage(heartbeat=pb.Heartbeat(load=pb.Load(streams=6)))
    assert session.received(sign_of_life, 0.0) == [LoadTold(0.0, 6)]
    assert session.received(pb.CloudMessage(heartbeat=pb.Heartbeat()), 0.0) == []  # an older one's


@pytest.mark.parametrize("state", ["open", "draining"])
def test_an_update_is_offered_and_the_stream_goes_on(state: str) -> None:
    session = say.device(state)
    offer = pb.Update(model="lite0", version="7", bundle_fingerprint="a" * 64)
    told = session.received(pb.CloudMessage(update=offer), 0.0)
    assert told == [UpdateOffered("lite0", "7", "a" * 64)]
    assert session.state == state


def test_a_welcome_says_what_the_bundle_is_called_there() -> None:
    message = say.welcome()
    message.welcome.model, message.welcome.version = "lite0", "6"
    welcomed, _ = say.device("greeting").received(message, 0.0)
    assert welcomed == Welcomed("", resumed=False, model="lite0", version="6")


def test_an_error_says_for_how_long_the_service_wants_to_be_left_alone() -> None:
    session = with_frames(1)
    about_a_frame, about_all = named_error(1, "OVERLOADED"), named_error(0, "OVERLOADED")
    about_a_frame.error.retry_after_ms, about_all.error.retry_after_ms = 250, 1500
    assert session.received(about_a_frame, 0.0) == [Failed(1, "OVERLOADED", "why", 0.25)]
    reason = "the service ended the stream: why"
    assert session.received(about_all, 0.0) == [Lost(reason, "OVERLOADED", 1.5)]


def test_a_heartbeat_says_what_is_believed_of_the_link() -> None:
    session = say.device()
    report = pb.LinkReport(bandwidth_bps=2e6, rtt_ms=30.0)
    assert session.beat(0.0, link=report).heartbeat.link == report
    assert not session.beat(0.0).heartbeat.HasField("link")


def test_after_close_nothing_is_unanswered() -> None:
    session = with_frames(1)
    session.close()
    assert session.unanswered == ()
    assert session.received(say.result(1), 0.0) == []
    assert session.wakes_at() == float("inf")


def test_each_hello_has_a_greater_number_than_the_one_before() -> None:
    session = say.device("down")
    numbers = []
    for _ in range(3):
        numbers.append(session.connect(0.0).hello.stream)
        session.lost("flap")
    assert numbers == [1, 2, 3]
