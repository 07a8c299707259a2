"""Heartbeats that ask for padding in their answers, so that a device can measure the way down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.session import messages as say

from isthmus.session import Echoed, Reply, ServiceLimits, ServiceSession, complete_echo
from isthmus.v1 import split_pb2 as pb

MOST = 2**32 - 1
ANYTHING = st.integers(0, MOST) | st.integers(0, 2 * say.LIMITS.padding_bytes)


def echo_of(session: ServiceSession, answer_bytes: int) -> pb.Heartbeat:
    """The echo of a heartbeat that asks for so much, as it leaves the session."""
    (event,) = session.received(say.beat(3, answer_bytes=answer_bytes), 0.0, 7)
    assert isinstance(event, Reply)
    return event.message.heartbeat


def paddings(session: ServiceSession, *asked: int) -> list[int]:
    """What each answer is padded with once it is written."""
    echoes = [echo_of(session, answer_bytes) for answer_bytes in asked]
    for echo in echoes:
        complete_echo(echo, 9)
    return [len(echo.padding) for echo in echoes]


@pytest.mark.parametrize(
    ("asked", "padded"),
    [
        ([0, 0], [0, 0]),
        ([1, 64], [1, 64]),
        ([65], [64]),
        ([MOST], [64]),
        ([64] * 5, [64, 64, 32, 0, 0]),
        ([MOST] * 4, [64, 64, 32, 0]),
        ([60] * 4, [60, 60, 40, 0]),
    ],
)
def test_an_answer_is_padded_as_asked_for_within_the_bounds(
    asked: list[int], padded: list[int]
) -> None:
    """More is no error: heartbeats are signs of life, and frames are in flight beside them."""
    session = say.service()
    assert paddings(session, *asked) == padded
    assert session.state == "open"


@given(st.lists(st.tuples(ANYTHING, st.booleans()), max_size=12))
def test_whatever_is_asked_for_no_stream_gets_more_than_its_bounds(
    asked: list[tuple[int, bool]],
) -> None:
    """The boolean: the device comes back on another stream before it asks."""
    session = say.service()
    streams: list[list[int]] = [[]]
    for answer_bytes, comes_back in asked:
        if comes_back:
            session.resume(say.hello().hello, 0.0)
            streams.append([])
        (padded,) = paddings(session, answer_bytes)
        left = say.LIMITS.stream_padding_bytes - sum(streams[-1])
        assert padded == min(answer_bytes, say.LIMITS.padding_bytes, left)
        streams[-1].append(padded)
    assert max(map(sum, streams)) <= say.LIMITS.stream_padding_bytes


def test_a_service_gives_64_kib_a_heartbeat_and_1_mib_a_stream() -> None:
    """What docs/session.md says."""
    session = say.service(limits=ServiceLimits())
    assert paddings(session, *[MOST] * 18) == [65_536] * 16 + [0, 0]


def test_an_answer_that_waits_takes_no_memory_for_its_padding() -> None:
    echo = echo_of(say.service(limits=ServiceLimits()), MOST)
    assert echo.ByteSize() < 16
    complete_echo(echo, 9)
    assert (echo.id, echo.received_ns, echo.answered_ns) == (3, 7, 9)
    assert echo.answer_bytes == len(echo.padding) == 65_536


def test_a_heartbeat_that_asks_settles_frames_as_any_other() -> None:
    session = say.service()
    session.received(say.frame(1), 0.0, 0)
    session.finished(say.result(1))
    assert session.kept_bytes > 0
    session.received(say.beat(1, settled_through=1, answer_bytes=MOST), 0.0, 0)
    assert session.kept_bytes == 0


def test_a_service_that_drains_still_pads_its_answers() -> None:
    assert paddings(say.service("draining"), 10) == [10]


def test_a_sign_of_life_is_not_padded() -> None:
    session = say.service()
    (event,) = session.tick(0.5)
    assert isinstance(event, Reply)
    complete_echo(event.message.heartbeat, 9)
    assert event.message.heartbeat.padding == b""


def test_a_device_asks_only_when_it_is_told_to() -> None:
    """An agent does not: its estimate of the link needs small answers."""
    session = say.device()
    assert session.beat(0.0, padding_bytes=5).heartbeat.answer_bytes == 0
    beat = session.beat(0.0, answer_bytes=70).heartbeat
    assert (beat.answer_bytes, beat.padding) == (70, b"")


def test_a_device_hears_how_much_came_and_not_how_much_was_said() -> None:
    session = say.device()
    session.beat(0.0, answer_bytes=70)
    echo = say.echo(1)
    echo.heartbeat.answer_bytes, echo.heartbeat.padding = MOST, bytes(64)
    assert session.received(echo, 1.0) == [Echoed(1, 5e-9, 3e-9, 64)]


def test_both_ends_agree_on_what_was_padded() -> None:
    device, service = say.device(), say.service()
    for asked in (0, 10, 70):
        (event,) = service.received(device.beat(0.0, answer_bytes=asked), 0.0, 5)
        assert isinstance(event, Reply)
        complete_echo(event.message.heartbeat, 8)
        (echoed,) = device.received(event.message, 1.0)
        assert isinstance(echoed, Echoed)
        assert echoed.padding_bytes == min(asked, say.LIMITS.padding_bytes)
