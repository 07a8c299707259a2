"""A video of which some frames never become references in the cloud: the others are answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import until
from tests.edge.fakes import Decoder, FakeService, frame_error, wide_item
from tests.videos import moving_video

from isthmus import open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig

PATIENT = 20.0  # seconds a test waits for what must happen
TOO_MANY, LACKING = pb.ERROR_CODE_OVERLOADED, pb.ERROR_CODE_KEY_FRAME_NEEDED
VIDEO = [wide_item(picture) for picture in moving_video(12)]


@pytest.fixture
def decoder(wide_bundle: Path) -> Decoder:
    return Decoder(open_bundle(wide_bundle, "device").manifest)


@pytest.fixture
def service(decoder: Decoder) -> FakeService:
    service = FakeService()
    service.respond = decoder
    return service


@pytest.fixture
def agent(wide_bundle: Path, service: FakeService) -> Iterator[Agent]:
    config = AgentConfig(
        bundle=wide_bundle, cloud="127.0.0.1:1", candidate="floats", patience_ms=6e4
    )
    with Agent.open(config, transport=service) as agent:
        yield agent


def references(service: FakeService) -> list[int]:
    return [frame.reference for frame in service.frames]


@pytest.mark.parametrize("code", [TOO_MANY, pb.ERROR_CODE_BAD_FRAME, pb.ERROR_CODE_INTERNAL])
def test_behind_a_frame_that_was_refused_the_next_ones_begin_anew(
    agent: Agent, service: FakeService, decoder: Decoder, code: pb.ErrorCode
) -> None:
    refuse = frame_error(code)
    service.respond = lambda frame: (refuse if frame.sequence == 5 else decoder)(frame)
    places = [agent.infer(item).place for item in VIDEO]
    assert places == ["cloud"] * 4 + ["device"] + ["cloud"] * 7
    assert [bool(reference) for reference in references(service)[2:8]] == [True] * 3 + [
        False,
        False,
        True,
    ]
    assert agent.stats().sent_again == 0


def test_a_frame_that_was_too_late_was_decoded_and_stays_a_reference(
    agent: Agent, service: FakeService, decoder: Decoder
) -> None:
    def respond(frame: pb.Frame) -> pb.CloudMessage | None:
        answer = decoder(frame)
        late = frame_error(pb.ERROR_CODE_TOO_LATE)
        return late(frame) if frame.sequence == 5 else answer

    service.respond = respond
    places = [agent.infer(item).place for item in VIDEO[:8]]
    assert places == ["cloud"] * 4 + ["device"] + ["cloud"] * 3
    assert all(references(service)[2:])


def test_pinned_frames_while_the_service_wants_none_are_no_references_either(
    agent: Agent, service: FakeService, decoder: Decoder
) -> None:
    def respond(frame: pb.Frame) -> pb.CloudMessage | None:
        if frame.sequence != 5:
            return decoder(frame)
        refusal = frame_error(TOO_MANY)(frame)
        refusal.error.retry_after_ms = 30
        return refusal

    service.respond = respond
    for item in VIDEO[:5]:
        agent.infer(item)
    until(lambda: agent.infer(VIDEO[5]).place == "cloud", "frames are sent again")
    assert service.frames[5].reference == 0
    assert agent.stats().sent_again == 0


def test_differences_to_what_was_refused_make_the_device_begin_anew_once(
    agent: Agent, service: FakeService, decoder: Decoder
) -> None:
    """Those that were under way are told one by one, when newer ones are fine already."""
    for item in VIDEO[:4]:
        agent.infer(item)
    service.respond = lambda frame: None
    under_way = [agent.submit(item) for item in VIDEO[4:7]]
    until(lambda: len(service.frames) == 7, "three are under way")
    refused, *lost = service.frames[4:]
    service.say(frame_error(TOO_MANY)(refused))
    assert under_way[0].result(PATIENT).place == "device"
    service.respond = decoder
    for item in VIDEO[7:10]:
        assert agent.infer(item).place == "cloud"
    assert [bool(reference) for reference in references(service)[7:]] == [False, False, True]
    for frame in lost:
        service.say(frame_error(LACKING)(frame))
    assert {future.result(PATIENT).place for future in under_way[1:]} == {"cloud"}
    assert agent.infer(VIDEO[10]).place == "cloud"
    assert service.frames[-1].reference > 0
    assert agent.stats().sent_again == 2


def test_what_was_taken_back_before_it_left_is_no_reference(
    wide_bundle: Path, service: FakeService, decoder: Decoder
) -> None:
    config = AgentConfig(
        bundle=wide_bundle, cloud="127.0.0.1:1", candidate="floats", patience_ms=30.0
    )
    with Agent.open(config, transport=service) as agent:
        until(lambda: agent.infer(VIDEO[0]).place == "cloud", "the cloud answers")
        until(lambda: agent.infer(VIDEO[1]).place == "cloud", "the cloud answers")
        service.respond = lambda frame: None
        service.connections[-1].withdraw = lambda sequence: True  # type: ignore[method-assign]
        assert agent.infer(VIDEO[2]).place == "device"
        assert service.frames[-1].mark > 0
        service.respond = decoder
        agent.infer(VIDEO[3])
        assert service.frames[-1].reference == 0
        assert agent.stats().sent_again == 0
