"""The main stories of the service's side."""

from dataclasses import replace

import pytest
from tests.protos.session import messages as say

from isthmus.session import (
    Answer,
    Check,
    Close,
    GiveUp,
    Greet,
    Reply,
    ServiceEvent,
    ServiceLimits,
    ServiceSession,
    error_message,
)
from isthmus.session.service import KEPT_WINDOWS, MOST_ID_CHARACTERS, MOST_NAMED
from isthmus.v1 import split_pb2 as pb


def with_frames(*sequences: int, session: ServiceSession | None = None) -> ServiceSession:
    session = session or say.service()
    for sequence in sequences:
        events = session.received(say.frame(sequence), 0.0, 0)
        assert events == [Answer(say.frame(sequence).frame)]
    return session


def code_of(event: ServiceEvent) -> str:
    assert isinstance(event, Reply | Close)
    return pb.ErrorCode.Name(event.message.error.code).removeprefix("ERROR_CODE_")


def held(events: list[ServiceEvent]) -> list[int]:
    (greeting,) = (event for event in events if isinstance(event, Greet))
    return list(greeting.message.welcome.held)


def replies(events: list[ServiceEvent]) -> list[pb.CloudMessage]:
    return [event.message for event in events if isinstance(event, Reply)]


def first_answer(message: pb.EdgeMessage) -> list[ServiceEvent]:
    """To a device that is sent away."""
    session = ServiceSession(say.terms(), say.LIMITS, 0.0)
    events = session.received(message, 0.0, 0)
    assert session.state == "ended"
    return events


def test_hello_is_answered_with_the_terms() -> None:
    session = ServiceSession(say.terms(), say.LIMITS, 0.0)
    (event,) = session.received(say.hello(), 0.0, 0)
    assert isinstance(event, Greet)
    assert (event.message.welcome.window, event.message.welcome.beat_ms) == (say.WINDOW, 500)
    assert (session.state, session.id, session.name) == ("open", "one", "one")


def test_a_stranger_is_told_what_to_do() -> None:
    older, stranger = say.hello(), say.hello()
    older.hello.protocol -= 1
    stranger.hello.bundle_fingerprint = ""
    codes = []
    for message in (older, stranger, say.frame(1)):
        (event,) = first_answer(message)
        codes.append(code_of(event))
    assert codes == ["PROTOCOL", "BUNDLE_MISMATCH", "PROTOCOL"]


@pytest.mark.parametrize("count", [0, MOST_ID_CHARACTERS + 1])
def test_an_id_that_nobody_would_choose_is_refused(count: int) -> None:
    (event,) = first_answer(say.hello(session_id="x" * count))
    assert isinstance(event, Close)
    assert code_of(event) == "PROTOCOL"
    assert f"has {count} characters; allowed are 1 to 64" in event.message.error.message


def test_a_device_of_another_protocol_hears_of_that_before_all_else() -> None:
    older = say.hello(session_id="")
    older.hello.protocol -= 1
    (event,) = first_answer(older)
    assert isinstance(event, Close)
    assert "install the same version" in event.message.error.message


def test_results_go_out_in_the_order_in_which_they_are_done() -> None:
    session = with_frames(1, 2)
    assert session.finished(say.result(2)) == [Reply(say.result(2))]
    assert session.finished(say.result(1)) == [Reply(say.result(1))]
    assert session.finished(say.result(1)) == []
    assert session.in_flight == frozenset()


def test_more_frames_than_the_window_are_refused_one_by_one() -> None:
    session = with_frames(1, 2, 3)
    (event,) = session.received(say.frame(4), 0.0, 0)
    assert code_of(event) == "OVERLOADED"
    assert (session.state, len(session.in_flight)) == ("open", say.WINDOW)


def test_a_repeated_sequence_ends_the_stream_because_no_error_could_name_it() -> None:
    for repeated in (say.frame(1), say.frame(0), say.frame(5, settled_through=5)):
        session = with_frames(1)
        (event,) = session.received(repeated, 0.0, 0)
        assert (type(event), code_of(event), session.state) == (Close, "PROTOCOL", "ended")


def test_a_frame_that_is_sent_again_and_held_is_a_duplicate() -> None:
    session = with_frames(1, 2)
    session.finished(say.result(1))
    assert session.received(say.frame(1, again=True), 0.0, 0) == []
    assert session.received(say.frame(2, again=True), 0.0, 0) == []
    assert session.duplicates == 2


def test_an_error_too_late_frees_the_place_and_is_not_kept() -> None:
    session = with_frames(1, 2, 3)
    outcome = error_message(1, pb.ERROR_CODE_TOO_LATE, "its deadline has passed")
    assert session.finished(outcome) == [Reply(outcome)]
    assert session.kept_bytes == 0
    with_frames(4, session=session)


def test_a_key_frame_comes_under_the_same_number() -> None:
    session = with_frames(1)
    session.finished(say.key_needed(1))
    with_frames(1, session=session)
    assert session.finished(say.result(1)) == [Reply(say.result(1))]


def test_a_cancelled_frame_is_given_up_and_frees_its_place() -> None:
    session = with_frames(1, 2, 3)
    give_up, reply = session.received(say.cancel(2, 9), 0.0, 0)
    assert (give_up, code_of(reply)) == (GiveUp(2), "CANCELLED")
    assert session.finished(say.result(2)) == []
    with_frames(4, session=session)


def test_one_cancel_names_a_bounded_number_of_frames() -> None:
    session = with_frames(1)
    within = session.received(say.cancel(*range(2, 2 + MOST_NAMED)), 0.0, 0)
    assert (within, session.state) == ([], "open")
    (event,) = session.received(say.cancel(*range(2, 3 + MOST_NAMED)), 0.0, 0)
    assert (type(event), code_of(event), session.state) == (Close, "PROTOCOL", "ended")


def test_resume_sends_what_is_kept_and_names_what_is_held() -> None:
    session = with_frames(1, 2, 3)
    session.finished(say.result(1))
    session.lost(0.0)
    assert session.finished(say.result(2)) == []
    events = session.resume(say.hello([1, 2, 3, 4]).hello, 1.0)
    assert held(events) == [1, 2, 3]
    assert isinstance(events[0], Greet)
    assert replies(events) == [say.result(1), say.result(2)]
    assert session.finished(say.result(3)) == [Reply(say.result(3))]


def test_resume_gives_up_what_the_device_does_not_name() -> None:
    session = with_frames(1, 2, 3)
    session.finished(say.result(1))
    session.lost(0.0)
    events = session.resume(say.hello([3]).hello, 1.0)
    assert events[0] == GiveUp(2)
    assert (held(events), session.kept_bytes, session.in_flight) == ([3], 0, frozenset({3}))


def test_a_superseded_stream_loses_nothing_of_its_session() -> None:
    """The device came back before the service had noticed that the old stream is dead."""
    session = with_frames(1, 2)
    session.finished(say.result(1))
    events = session.resume(say.hello([1, 2]).hello, 1.0)
    assert (session.state, held(events)) == ("open", [1, 2])
    assert replies(events) == [say.result(1)]


def test_a_kept_result_does_not_tell_an_old_load() -> None:
    session = with_frames(1)
    outcome = say.result(1)
    outcome.result.load.queue_ms = 500.0
    session.finished(outcome)
    (reply,) = replies(session.resume(say.hello([1]).hello, 1.0))
    assert not reply.result.HasField("load")


def test_one_hello_names_a_bounded_number_of_frames() -> None:
    session = with_frames(1)
    events = session.resume(say.hello([*range(2, 2 + MOST_NAMED), 1]).hello, 1.0)
    assert (events[0], held(events)) == (GiveUp(1), [])


@pytest.mark.parametrize("teller", [say.beat(1, 2), say.frame(4, settled_through=2)])
def test_what_the_device_has_settled_is_not_kept(teller: pb.EdgeMessage) -> None:
    session = with_frames(1, 2, 3)
    session.finished(say.result(1))
    session.finished(say.result(2))
    one = session.kept_bytes // 2
    session.finished(say.result(3))
    session.received(teller, 0.0, 0)
    assert session.kept_bytes == one


def test_memory_for_results_is_bounded_and_the_oldest_goes_first() -> None:
    session = with_frames(1, 2, 3)
    for sequence in (2, 1, 3):
        session.finished(say.result(sequence, 40))
    session.lost(0.0)
    assert 0 < session.kept_bytes <= say.LIMITS.keep_bytes
    assert held(session.resume(say.hello([1, 2, 3]).hello, 1.0)) == [1, 3]


def test_results_that_nobody_settles_are_kept_for_two_windows_whatever_their_size() -> None:
    session = ServiceSession(say.terms(), ServiceLimits(), 0.0)
    session.received(say.hello(), 0.0, 0)
    for sequence in range(1, 1001):
        with_frames(sequence, session=session)
        session.finished(say.result(sequence))
    session.lost(0.0)
    latest = [*range(1001 - KEPT_WINDOWS * say.WINDOW, 1001)]
    assert held(session.resume(say.hello(range(1, 1001)).hello, 1.0)) == latest


def test_what_is_kept_can_be_forgotten_the_oldest_first() -> None:
    counted: list[int] = []
    session = ServiceSession(say.terms(), say.LIMITS, 0.0, counted.append)
    session.received(say.hello(), 0.0, 0)
    with_frames(1, 2, 3, session=session)
    for sequence in (2, 1):
        session.finished(say.result(sequence))
    session.forget(1)
    assert session.kept_bytes == sum(counted) == say.result(1).ByteSize()
    assert held(session.resume(say.hello([1, 2, 3]).hello, 1.0)) == [1, 3]
    session.close()
    assert sum(counted) == 0


def test_a_result_that_is_too_large_to_be_kept_drives_no_other_out() -> None:
    session = with_frames(1, 2)
    session.finished(say.result(1, 10))
    session.finished(say.result(2, 1000))
    session.lost(0.0)
    assert held(session.resume(say.hello([1, 2]).hello, 1.0)) == [1]


def test_a_result_that_is_stamped_while_it_is_sent_is_counted_right() -> None:
    session = with_frames(1)
    (reply,) = replies(session.finished(say.result(1)))
    reply.result.timing.total_ms = 1.0
    session.received(say.beat(1, 1), 0.0, 0)
    assert session.kept_bytes == 0


def test_a_parked_session_expires_and_gives_up_its_frames() -> None:
    session = with_frames(1, 2)
    session.finished(say.result(1))
    session.lost(5.0)
    assert session.wakes_at() == 15.0
    assert session.tick(14.9) == []
    assert session.tick(15.0) == [GiveUp(2)]
    assert (session.state, session.kept_bytes, session.in_flight) == ("ended", 0, frozenset())


def test_a_session_without_anything_to_give_is_not_parked() -> None:
    session = say.service()
    assert (session.lost(0.0), session.state) == ([], "ended")


def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    session = with_frames(1, 2)
    session.finished(say.result(1))
    (reply,) = replies(session.drain(2.0))
    assert (reply.drain.grace_ms, session.is_drained, session.kept_bytes) == (2000, False, 0)
    assert code_of(session.received(say.frame(3), 0.0, 0)[0]) == "DRAINING"
    assert session.finished(say.result(2)) == [Reply(say.result(2))]
    assert (session.is_drained, session.kept_bytes) == (True, 0)


def test_a_stream_that_breaks_in_a_drain_gives_everything_up() -> None:
    session = with_frames(1)
    session.drain(2.0)
    assert session.lost(0.0) == [GiveUp(1)]
    assert (session.state, session.in_flight) == ("ended", frozenset())


def test_a_parked_session_is_given_up_in_a_drain() -> None:
    session = with_frames(1)
    session.lost(0.0)
    assert session.drain(2.0) == [GiveUp(1)]
    assert session.state == "ended"


def test_a_device_that_has_not_said_hello_is_sent_away_in_a_drain() -> None:
    session = ServiceSession(say.terms(), say.LIMITS, 0.0)
    (event,) = session.drain(2.0)
    assert (type(event), code_of(event)) == (Close, "DRAINING")


def test_a_heartbeat_is_echoed_with_the_time_of_its_arrival() -> None:
    (reply,) = replies(say.service().received(say.beat(3), 0.0, 77))
    assert (reply.heartbeat.id, reply.heartbeat.received_ns) == (3, 77)


def test_a_service_with_nothing_to_say_gives_a_sign_of_life() -> None:
    session = say.service()
    session.said(1.0)
    assert session.tick(1.4) == []
    assert replies(session.tick(1.5)) == [pb.CloudMessage(heartbeat=pb.Heartbeat())]
    assert session.wakes_at() == 2.0


def test_a_silent_device_is_sent_away_and_may_come_back() -> None:
    session = with_frames(1)
    session.said(60.0)
    (event,) = session.tick(60.0)
    assert isinstance(event, Close)
    assert (code_of(event), event.resumable) == ("IDLE", True)
    assert session.lost(60.0) == []
    assert held(session.resume(say.hello([1]).hello, 61.0)) == [1]


def test_a_stream_without_hello_ends() -> None:
    session = ServiceSession(say.terms(), replace(say.LIMITS, hello_s=3.0), 0.0)
    assert session.wakes_at() == 3.0
    (event,) = session.tick(3.0)
    assert (type(event), code_of(event)) == (Close, "PROTOCOL")


def test_a_resumed_stream_has_all_its_time() -> None:
    session = with_frames(1)
    session.lost(50.0)
    session.resume(say.hello([1]).hello, 59.0)
    assert session.wakes_at() == 59.5


def test_a_clock_that_was_set_back_puts_nothing_off() -> None:
    session = say.service()
    session.received(say.frame(1), 1000.0, 0)
    session.said(1000.0)
    assert session.tick(10.0) == []
    assert session.wakes_at() == 10.5
    parked = say.service("parked")
    parked.resume(say.hello([1]).hello, 1000.0)
    parked.lost(1000.0)
    parked.tick(10.0)
    assert parked.wakes_at() == 20.0
    (event,) = session.tick(10.0 + say.LIMITS.idle_s)
    assert code_of(event) == "IDLE"


def test_one_audit_at_a_time() -> None:
    session = say.service()
    assert session.received(say.audit(1), 0.0, 0) == [Check(say.audit(1).audit)]
    (busy,) = replies(session.received(say.audit(2), 0.0, 0))
    assert (busy.verdict.sequence, busy.verdict.compared) == (2, False)
    verdict = pb.Verdict(sequence=1, compared=True)
    assert session.checked(verdict) == [Reply(pb.CloudMessage(verdict=verdict))]
    assert session.received(say.audit(3), 0.0, 0) == [Check(say.audit(3).audit)]


def test_a_verdict_for_a_device_that_is_away_is_dropped() -> None:
    session = say.service("parked")
    assert session.checked(pb.Verdict()) == []


def test_a_closed_session_holds_nothing() -> None:
    session = with_frames(1, 2)
    session.finished(say.result(1))
    session.close()
    assert (session.kept_bytes, session.in_flight, session.wakes_at()) == (
        0,
        frozenset(),
        float("inf"),
    )


def test_a_hello_that_was_overtaken_is_known_by_its_number() -> None:
    session, newer, older = with_frames(1), say.hello(), say.hello()
    newer.hello.stream, older.hello.stream = 3, 2
    session.resume(newer.hello, 0.0)
    assert session.was_overtaken(older.hello)
    assert not session.was_overtaken(newer.hello)
