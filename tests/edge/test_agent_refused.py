"""A cloud that refuses the device, or its frames: it answers alone, and people hear why."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.commands import until
from tests.edge.fakes import FakeService, frame_error, marked_answer
from tests.tinybundle import tiny_pictures

from isthmus import PeerError
from isthmus.session import Failed
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.contact import LinkNews
from isthmus_edge.events import Events
from isthmus_edge.stream import uplink

PICTURE = tiny_pictures(1)[0]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def config(tiny_bundle: Path) -> AgentConfig:
    return AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="cut-16")


@pytest.fixture
def agent(config: AgentConfig, service: FakeService) -> Iterator[Agent]:
    with Agent.open(config, transport=service) as agent:
        yield agent


def test_a_device_whose_bundle_the_service_does_not_have_answers_alone_and_says_why(
    config: AgentConfig,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uplink, "REFUSED_S", 0.02)
    error = pb.Error(code=pb.ERROR_CODE_BUNDLE_MISMATCH, message="bundle aaaa, here bbbb")
    welcome, service.greeting = service.greeting, pb.CloudMessage(error=error)
    with Agent.open(config, transport=service) as agent:
        assert agent.stats().link_state == "refused"
        assert agent.infer(PICTURE).place == "device"
        until(lambda: service.connects > 2, "it asks again")
        (event,) = agent.stats().events
        service.greeting = welcome
        until(lambda: agent.stats().link_state == "up", "an operator has activated its version")
        assert agent.infer(PICTURE).place == "cloud"
    warned = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert warned == [event.text]
    ways_out = ("aaaa", "answers alone", "isthmus push", "isthmus activate", "isthmus fetch")
    assert [words for words in ways_out if words not in event.text] == []


def test_a_device_that_must_have_a_cloud_does_not_open_where_it_is_refused(
    config: AgentConfig, service: FakeService
) -> None:
    error = pb.Error(code=pb.ERROR_CODE_BUNDLE_MISMATCH, message="bundle aaaa, here bbbb")
    service.greeting = pb.CloudMessage(error=error)
    with pytest.raises(PeerError, match=r"aaaa.*isthmus activate.*require_cloud") as caught:
        Agent.open(replace(config, require_cloud=True), transport=service)
    assert caught.value.code == "BUNDLE_MISMATCH"
    assert service.connects == 1


def test_that_frames_are_refused_is_told_once_with_what_can_be_done(
    agent: Agent, service: FakeService
) -> None:
    service.respond = frame_error(pb.ERROR_CODE_OVERLOADED)
    for _ in range(3):
        assert agent.infer(PICTURE).place == "device"
    service.respond = frame_error(pb.ERROR_CODE_INTERNAL)
    for _ in range(3):
        assert agent.infer(PICTURE).place == "device"
    limits, failure = (event.text for event in agent.stats().events)
    assert "OVERLOADED: on demand" in limits
    assert "isthmus tokens" in limits
    assert "INTERNAL: on demand" in failure
    assert "log" in failure


@pytest.mark.parametrize(
    "code",
    [pb.ERROR_CODE_TOO_LATE, pb.ERROR_CODE_DRAINING, pb.ERROR_CODE_KEY_FRAME_NEEDED],
)
def test_what_any_stream_has_is_no_news(
    agent: Agent, service: FakeService, code: pb.ErrorCode
) -> None:
    service.respond = frame_error(code)
    assert agent.infer(PICTURE).place == "device"
    service.respond = marked_answer
    assert agent.infer(PICTURE).place == "cloud"
    assert agent.stats().events == ()


def test_a_service_that_leaves_is_no_overload_and_hides_none() -> None:
    texts: list[str] = []
    news = LinkNews(Events(texts.append), lambda: None)
    news.state("up", "connected to a")
    news.state("draining", "the service is draining")
    news.failed(Failed(7, "OVERLOADED", "the service ends; send it elsewhere", 0.0))
    assert texts == []
    news.state("up", "connected to b")
    news.failed(Failed(9, "OVERLOADED", "4 frames are in flight", 0.0))
    (text,) = texts
    assert "OVERLOADED: 4 frames are in flight" in text


def test_a_cloud_that_is_not_there_is_told_once_and_how_to_start_it(
    config: AgentConfig, service: FakeService
) -> None:
    service.reachable = False
    events: list[str] = []
    with Agent.open(config, transport=service, on_event=events.append) as agent:
        until(lambda: service.connects > 2, "it tries again")
        assert agent.infer(PICTURE).place == "device"
    (event,) = events
    assert "isthmus cloud BUNDLE" in event
    assert "answers alone" in event
