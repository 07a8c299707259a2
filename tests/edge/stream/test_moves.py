"""A device moves to the other of two services, where that is less loaded, and loses no frame."""

import logging
from pathlib import Path

import pytest
from tests.commands import until
from tests.edge.fakes import Decoder, SlowRest, frame_error, marked_answer, wide_item
from tests.edge.stream.balanced import (
    PICTURE,
    Services,
    both,
    count_beats,
    crowd,
    first,
    looks,
    opened,
    other,
    says,
    where,
)
from tests.videos import moving_video

from isthmus import AgentClosedError, open_bundle
from isthmus.session import device
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.stream import balance, inbox, moving
from isthmus_edge.stream.ways import Way, Ways

PATIENT = 20.0


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    return both(monkeypatch)


def test_where_the_other_one_is_clearly_less_loaded_the_device_moves_there_with_its_session(
    tiny_bundle: Path,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[Way] = []
    caplog.set_level(logging.INFO, "isthmus.edge")
    monkeypatch.setattr(Ways, "failed", lambda _, way, least_s=0.0: failed.append(way))
    with opened(tiny_bundle) as agent:
        here = crowd(agent, services)
        until(lambda: where(agent) == other(here), "it is at the other one")
        assert agent.infer(PICTURE).place == "cloud"
        stats = agent.stats()
    assert (stats.moves, stats.connects) == (1, 2)
    assert failed == []  # it may come back whenever it wants
    assert services[here].goodbyes == 1 + len(looks(services[here]))  # it looks back, too
    (stayed,) = [hello for hello in services[other(here)].hellos if not hello.look]
    assert stayed.session_id == services[here].hellos[0].session_id
    (event,) = stats.events
    assert event.text == (
        f"moving from {here}:50051 to {other(here)}:50051: 40 devices are here, 1 there"
    )
    levels = [each.levelname for each in caplog.records if each.getMessage() == event.text]
    assert levels == ["INFO"]  # it is as it was meant to be
    ours = [each for each in caplog.records if each.name.startswith("isthmus.")]
    assert all(each.levelno < logging.WARNING for each in ours)


def test_a_long_queue_is_a_reason_to_move_too(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "PRESSED_S", 0.05)
    for service in services.values():
        says(service, 10)
    with opened(tiny_bundle) as agent:
        here = where(agent)
        load = pb.CloudMessage(load=pb.Load(streams=10, queue_ms=120.0))

        def moved() -> bool:
            if where(agent) == here:
                services[here].connections[0].on_message(load)
            return where(agent) == other(here)

        until(moved, "it is at the other one")
        (event,) = agent.stats().events
    assert "frames wait 120 ms here, 0 ms there" in event.text


def test_frames_under_way_are_answered_before_the_device_goes(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOVE_S", 1e3)
    for service in services.values():
        service.respond = lambda _: None
    with opened(tiny_bundle) as agent:
        here = where(agent)
        futures = [agent.submit(PICTURE) for _ in range(2)]
        until(lambda: len(services[here].frames) == 2, "both are sent")
        crowd(agent, services)
        until(lambda: agent.stats().link_state == "draining", "it is about to go")
        beats = count_beats(services[here])
        until(lambda: beats() > 3, "some time has gone")
        assert services[here].goodbyes == 0
        for frame in services[here].frames:
            services[here].connections[0].on_message(marked_answer(frame))
        assert [future.result(PATIENT).place for future in futures] == ["cloud", "cloud"]
        until(lambda: where(agent) == other(here), "it is at the other one")
        stats = agent.stats()
    assert services[other(here)].frames == []
    assert (stats.answered_cloud, stats.sent_again, stats.duplicates) == (2, 0, 0)


def test_what_is_not_answered_in_time_is_sent_to_the_other_one(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after any other stream: once more, unless the device has begun to finish it."""
    monkeypatch.setattr(moving, "MOVE_S", 0.05)
    pace = SlowRest()
    with opened(tiny_bundle, pace=pace) as agent:
        here = where(agent)
        services[here].respond = lambda _: None
        futures = [agent.submit(PICTURE) for _ in range(3)]
        until(lambda: len(services[here].frames) == 3, "all are sent")
        crowd(agent, services)
        places = [future.result(PATIENT).place for future in futures[1:]]
        pace.go_on.set()  # with the rest of the first one, if the device had begun it
        futures[0].result(PATIENT)
        stats = agent.stats()
    assert places == ["cloud", "cloud"]
    assert all(frame.again for frame in services[other(here)].frames)
    assert stats.accepted == stats.answered_cloud + stats.answered_device == 3
    assert (stats.errors, stats.duplicates, stats.ended_twice) == (0, 0, 0)


def test_frames_that_come_on_the_way_are_answered_on_the_device(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOVE_S", 1e3)
    with opened(tiny_bundle, candidate=None) as agent:
        here = where(agent)
        services[here].respond = lambda _: None
        waiting = agent.submit(PICTURE, candidate="cut-16")
        until(lambda: len(services[here].frames) == 1, "it is sent")
        crowd(agent, services)
        until(lambda: agent.stats().link_state == "draining", "it is about to go")
        assert agent.infer(PICTURE).place == "device"
        assert agent.infer(PICTURE, candidate="cut-16").place == "device"
        services[here].connections[0].on_message(marked_answer(services[here].frames[0]))
        assert waiting.result(PATIENT).place == "cloud"


def test_where_the_place_to_move_to_is_gone_the_device_comes_back(
    tiny_bundle: Path, services: Services
) -> None:
    with opened(tiny_bundle) as agent:
        here = where(agent)
        there = services[other(here)]
        says(services[here], 40)
        says(there, 2)

        def gone_after_a_look(message: pb.EdgeMessage) -> None:
            if message.hello.look:
                there.reachable = False

        there.heard = gone_after_a_look
        there.reachable = True
        crowd(agent, services)
        until(lambda: agent.stats().connects == 2, "it is back")
        assert where(agent) == here
        assert agent.infer(PICTURE).place == "cloud"


def test_a_service_that_wants_no_frames_is_left_for_one_that_does(
    tiny_bundle: Path, services: Services
) -> None:
    refusal = frame_error(pb.ERROR_CODE_OVERLOADED)(pb.Frame(sequence=1))
    refusal.error.retry_after_ms = 60_000
    with opened(tiny_bundle) as agent:
        here = where(agent)
        services[here].respond = lambda _: refusal
        assert agent.infer(PICTURE).place == "device"
        crowd(agent, services)
        until(lambda: where(agent) == other(here), "it is at the other one")
        assert agent.infer(PICTURE).place == "cloud"


def test_a_device_with_nothing_under_way_goes_at_once(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the next heartbeat, or whatever else it may hear."""
    monkeypatch.setattr(inbox, "LONGEST_WAIT_S", 1e3)
    for name in ("BEAT_S", "BUSY_BEAT_S"):
        monkeypatch.setattr(device, name, 1e3)
    here = first()
    says(services[here], 40)
    says(services[other(here)], 2)
    with opened(tiny_bundle, silence_s=1e3) as agent:
        until(lambda: where(agent) == other(here), "it is at the other one")


def test_a_video_begins_anew_at_the_other_one(wide_bundle: Path, services: Services) -> None:
    manifest = open_bundle(wide_bundle, "device").manifest
    for service in services.values():
        service.respond = Decoder(manifest)
    pictures = moving_video(8)
    with opened(wide_bundle, candidate="floats", video="auto") as agent:
        here = where(agent)
        for picture in pictures[:4]:
            assert agent.infer(wide_item(picture)).place == "cloud"
        crowd(agent, services)
        until(lambda: where(agent) == other(here), "it is at the other one")
        for picture in pictures[4:]:
            assert agent.infer(wide_item(picture)).place == "cloud"
        stats = agent.stats()
    assert services[here].frames[-1].reference > 0
    seen = services[other(here)].frames
    assert [bool(frame.reference) for frame in seen] == [False] * 2 + [True] * 2
    assert (stats.errors, stats.sent_again, stats.moves) == (0, 0, 1)


def test_an_agent_that_is_closed_on_the_way_says_goodbye_and_goes_nowhere(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOVE_S", 1e3)
    with opened(tiny_bundle) as agent:
        here = where(agent)
        services[here].respond = lambda _: None
        waiting = agent.submit(PICTURE)
        until(lambda: len(services[here].frames) == 1, "it is sent")
        crowd(agent, services)
        until(lambda: agent.stats().link_state == "draining", "it is about to go")
        agent.close(0)
        with pytest.raises(AgentClosedError):
            waiting.result(PATIENT)
    assert services[here].goodbyes >= 1
    assert all(hello.look for hello in services[other(here)].hellos)
