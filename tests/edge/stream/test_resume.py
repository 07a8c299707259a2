"""A stream breaks and another one takes over: no frame is lost, and none is answered twice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.commands import until
from tests.edge.fakes import FakeService, SlowRest, marked_answer
from tests.tinybundle import tiny_pictures

from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.stream import uplink

PATIENT = 20.0
PICTURE = tiny_pictures(1)[0]


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.respond = lambda frame: None
    return service


@pytest.fixture
def pace() -> SlowRest:
    return SlowRest()


@pytest.fixture
def agent(tiny_bundle: Path, service: FakeService, pace: SlowRest) -> Iterator[Agent]:
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="cut-16", video="off")
    with Agent.open(replace(config, patience_ms=6e4), pace=pace, transport=service) as agent:
        yield agent
        pace.go_on.set()
        for frame in service.frames:  # nothing is left to wait for
            service.say(marked_answer(frame))


def broken_and_back(agent: Agent, service: FakeService) -> None:
    """The stream breaks, and the device has said Hello again."""
    before = service.connects
    service.hang_up()
    until(lambda: service.connects > before, "the device connects again")
    until(lambda: agent.stats().link_state == "up", "the link is up")


def test_the_new_hello_names_the_session_and_what_is_unanswered(
    agent: Agent, service: FakeService
) -> None:
    for _ in range(3):
        agent.submit(PICTURE)
    until(lambda: len(service.frames) == 3, "all are sent")
    broken_and_back(agent, service)
    first, second = service.hellos
    assert first.session_id == second.session_id
    assert (list(first.unanswered), list(second.unanswered)) == ([], [1, 2, 3])


def test_what_the_service_still_holds_is_not_sent_again(agent: Agent, service: FakeService) -> None:
    futures = [agent.submit(PICTURE) for _ in range(3)]
    until(lambda: len(service.frames) == 3, "all are sent")
    assert service.greeting is not None
    service.greeting.welcome.held.extend([2, 3])
    broken_and_back(agent, service)
    for frame in service.frames[1:3]:
        service.say(marked_answer(frame))
    assert [future.result(PATIENT).place for future in futures[1:]] == ["cloud", "cloud"]
    assert {frame.sequence for frame in service.frames[3:]} <= {1}


def test_what_the_device_has_not_begun_is_sent_again_once(
    agent: Agent, service: FakeService, pace: SlowRest
) -> None:
    """The device is busy with the rest of the first frame when the link comes back."""
    futures = [agent.submit(PICTURE) for _ in range(3)]
    until(lambda: len(service.frames) == 3, "all are sent")
    service.respond = marked_answer
    broken_and_back(agent, service)
    assert [future.result(PATIENT).place for future in futures[1:]] == ["cloud", "cloud"]
    pace.go_on.set()
    assert futures[0].result(PATIENT).place == "device"
    assert [(frame.sequence, frame.again) for frame in service.frames[3:]] == [(2, True), (3, True)]
    stats = agent.stats()
    assert (stats.accepted, stats.answered_cloud, stats.answered_device) == (3, 2, 1)
    assert (stats.sent_again, stats.connects, stats.duplicates) == (2, 2, 0)
    assert len(pace.begun) == len(set(pace.begun)) > 0  # segments of one frame


def test_a_second_answer_is_dropped_and_counted(agent: Agent, service: FakeService) -> None:
    service.respond = marked_answer
    answer = agent.submit(PICTURE).result(PATIENT)
    assert answer.place == "cloud"
    service.say(marked_answer(service.frames[0]))
    until(lambda: agent.stats().duplicates == 1, "the duplicate is counted")
    assert agent.stats().answered_cloud == 1


def test_a_frame_that_the_device_has_answered_is_called_off_in_the_cloud(
    tiny_bundle: Path, service: FakeService
) -> None:
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="cut-16")
    with Agent.open(replace(config, patience_ms=1.0), transport=service) as agent:
        assert agent.submit(PICTURE).result(PATIENT).place == "device"
        until(lambda: service.cancelled == [1], "the service is told")


def test_a_frame_that_was_sent_twice_and_lost_twice_is_the_devices(
    agent: Agent, service: FakeService, pace: SlowRest
) -> None:
    futures = [agent.submit(PICTURE) for _ in range(2)]
    until(lambda: len(service.frames) == 2, "both are sent")
    broken_and_back(agent, service)
    until(lambda: len(service.frames) == 3, "the second one is sent again")
    broken_and_back(agent, service)
    pace.go_on.set()
    assert [future.result(PATIENT).place for future in futures] == ["device", "device"]
    assert [frame.sequence for frame in service.frames] == [1, 2, 2]


def test_the_service_learns_what_it_may_forget(agent: Agent, service: FakeService) -> None:
    service.respond = marked_answer
    for _ in range(2):
        agent.submit(PICTURE).result(PATIENT)
    last: list[pb.Frame] = service.frames
    assert [frame.settled_through for frame in last] == [0, 1]


def test_a_service_that_refuses_is_asked_again_and_may_have_been_replaced(
    agent: Agent, service: FakeService, pace: SlowRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace.go_on.set()
    monkeypatch.setattr(uplink, "REFUSED_S", 0.01)
    welcome, error = service.greeting, pb.Error(code=pb.ERROR_CODE_BUNDLE_MISMATCH)
    service.greeting = pb.CloudMessage(error=error)
    service.hang_up()
    until(lambda: agent.stats().link_state == "refused", "the other bundle is refused")
    assert agent.submit(PICTURE).exception(PATIENT) is None
    service.greeting, service.respond = welcome, marked_answer
    until(lambda: agent.stats().link_state == "up", "the right bundle is back")
    assert agent.submit(PICTURE).result(PATIENT).place == "cloud"
    ids = [hello.session_id for hello in service.hellos]
    assert ids[-1] not in ids[:-1], "a service may still hold the session that is over"
