"""The tables are the picture above them, and the code does what they say, for every pair."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, get_args

import pytest
from tests.protos.session import messages as say

from isthmus import SessionError
from isthmus.session import (
    DEVICE_TABLE,
    SERVICE_TABLE,
    Close,
    DeviceSession,
    DeviceState,
    Refused,
    ServiceSession,
    ServiceState,
    error_message,
)
from isthmus.session.table import DeviceInput, ServiceInput
from isthmus.v1 import split_pb2 as pb

FROM_THE_SERVICE: dict[DeviceInput, pb.CloudMessage] = {
    "welcome": say.welcome(),
    "result": say.result(1),
    "error": error_message(1, pb.ERROR_CODE_INTERNAL, ""),
    "heartbeat": say.echo(1),
    "load": pb.CloudMessage(load=pb.Load()),
    "verdict": pb.CloudMessage(verdict=pb.Verdict()),
    "update": pb.CloudMessage(update=pb.Update()),
    "drain": pb.CloudMessage(drain=pb.Drain()),
    "refusal": error_message(0, pb.ERROR_CODE_BUNDLE_MISMATCH, ""),
}
OUR_CALLS: dict[DeviceInput, Callable[[DeviceSession], object]] = {
    "connect": lambda session: session.connect(0.0),
    "close": lambda session: session.close(),
    "frame": lambda session: session.send(pb.Frame(sequence=1)),
    "cancel": lambda session: session.cancel(1),
    "audit": lambda session: session.audit(1, pb.Frame()),
    "beat": lambda session: session.beat(0.0),
}
FROM_THE_DEVICE: dict[ServiceInput, pb.EdgeMessage] = {
    "hello": say.hello(),
    "frame": say.frame(2),
    "heartbeat": say.beat(),
    "cancel": say.cancel(2),
    "audit": say.audit(2),
}
SERVICE_CALLS: dict[ServiceInput, Callable[[ServiceSession], object]] = {
    "resume": lambda session: session.resume(say.hello([1]).hello, 0.0),
    "drain": lambda session: session.drain(1.0),
    "lost": lambda session: session.lost(0.0),
    "close": lambda session: session.close(),
}


def reached_from(table: Mapping[tuple[Any, Any], Any], start: str) -> set[str]:
    reached = {start}
    while more := {to for (state, _), to in table.items() if state in reached} - reached:
        reached |= more
    return reached


def test_every_state_can_be_reached() -> None:
    assert reached_from(DEVICE_TABLE, "down") == set(get_args(DeviceState))
    assert reached_from(SERVICE_TABLE, "waiting") == set(get_args(ServiceState))


def test_every_input_means_something_somewhere() -> None:
    assert {what for _, what in DEVICE_TABLE} == set(get_args(DeviceInput))
    assert {what for _, what in SERVICE_TABLE} == set(get_args(ServiceInput))


def test_the_device_table_has_each_arrow_of_the_picture() -> None:
    arrows = {
        ("down", "connect"): "greeting",
        ("greeting", "welcome"): "open",
        ("open", "drain"): "draining",
        **{(state, "lost"): "down" for state in ("greeting", "open", "draining")},
        **{(state, "refusal"): "refused" for state in ("greeting", "open", "draining")},
        **{(state, "close"): "closed" for state in get_args(DeviceState)},
    }
    moves = {pair: to for pair, to in DEVICE_TABLE.items() if pair[0] != to or pair[1] == "close"}
    assert moves == arrows


def test_the_service_table_has_each_arrow_of_the_picture() -> None:
    arrows = {
        ("waiting", "hello"): "open",
        ("waiting", "drain"): "ended",
        ("waiting", "lost"): "ended",
        ("open", "lost"): "parked",
        ("open", "drain"): "draining",
        ("parked", "resume"): "open",
        ("parked", "expired"): "ended",
        ("parked", "drain"): "ended",
        ("draining", "lost"): "ended",
        **{(state, "close"): "ended" for state in get_args(ServiceState)},
    }
    moves = {pair: to for pair, to in SERVICE_TABLE.items() if pair[0] != to or pair[1] == "close"}
    assert moves == arrows


@pytest.mark.parametrize(("state", "what"), [*product(get_args(DeviceState), FROM_THE_SERVICE)])
def test_a_message_to_the_device_is_heeded_refused_or_dropped(
    state: DeviceState, what: DeviceInput
) -> None:
    """Dropped where there is no stream, for then it is of one that is over."""
    session = say.device(state)
    events = session.received(FROM_THE_SERVICE[what], 0.0)
    if state in {"down", "refused", "closed"}:
        assert (events, session.state) == ([], state)
    elif (state, what) in DEVICE_TABLE:
        assert session.state == DEVICE_TABLE[state, what]
        assert any(isinstance(event, Refused) for event in events) == (what == "refusal")
    else:
        assert [(type(event), session.state) for event in events] == [(Refused, "refused")]


@pytest.mark.parametrize(("state", "what"), [*product(get_args(DeviceState), OUR_CALLS)])
def test_a_call_on_the_device_is_done_or_an_error_of_ours(
    state: DeviceState, what: DeviceInput
) -> None:
    session = say.device(state)
    following = DEVICE_TABLE.get((state, what))
    if following is None:
        with pytest.raises(SessionError, match=f"{what}: not allowed while the session is {state}"):
            OUR_CALLS[what](session)
    else:
        OUR_CALLS[what](session)
    assert session.state == (following or state)


@pytest.mark.parametrize("state", get_args(DeviceState))
def test_a_stream_is_lost_once(state: DeviceState) -> None:
    """Several parts of a program may notice it, so the second one is no error."""
    session = say.device(state)
    connected = (state, "lost") in DEVICE_TABLE
    assert len(session.lost("cut")) == connected
    assert session.state == DEVICE_TABLE.get((state, "lost"), state)


@pytest.mark.parametrize(("state", "what"), [*product(get_args(ServiceState), FROM_THE_DEVICE)])
def test_a_message_to_the_service_is_heeded_refused_or_dropped(
    state: ServiceState, what: ServiceInput
) -> None:
    session = say.service(state)
    events = session.received(FROM_THE_DEVICE[what], 0.0, 0)
    if state in {"parked", "ended"}:
        assert (events, session.state) == ([], state)
    elif (state, what) in SERVICE_TABLE:
        assert session.state == SERVICE_TABLE[state, what]
        assert not any(isinstance(event, Close) for event in events)
    else:
        assert [(type(event), session.state) for event in events] == [(Close, "ended")]


@pytest.mark.parametrize(("state", "what"), [*product(get_args(ServiceState), SERVICE_CALLS)])
def test_a_call_on_the_service_is_done_or_an_error_of_ours(
    state: ServiceState, what: ServiceInput
) -> None:
    session = say.service(state)
    if state == "open":
        session.received(say.frame(1), 0.0, 0)  # else there is nothing to park
    following = SERVICE_TABLE.get((state, what))
    if following is None:
        with pytest.raises(SessionError, match=f"{what}: not allowed while the session is {state}"):
            SERVICE_CALLS[what](session)
    else:
        SERVICE_CALLS[what](session)
    assert session.state == (following or state)


@pytest.mark.parametrize("state", get_args(ServiceState))
def test_only_a_parked_session_expires(state: ServiceState) -> None:
    session = say.service(state)
    session.tick(say.LIMITS.resume_s)
    assert (session.state == "ended") == (state in {"waiting", "parked", "ended"})
