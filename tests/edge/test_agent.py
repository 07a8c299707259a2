"""The agent: whatever the service does, each frame ends in exactly one answer or error."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.edge.fakes import MARK, FakeService, PlannedPace, frame_error, marked_answer, wide_item
from tests.reference import Reference
from tests.tinybundle import PICTURE, tiny_pictures

from isthmus import (
    ConfigError,
    LinkError,
    WireError,
    open_bundle,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Answer, Chains, Stats

PATIENT = 20.0  # seconds a test waits for what must happen


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


def local_label(bundle: Path, picture: np.ndarray) -> int:
    opened = open_bundle(bundle, "device")
    chain = Chains(opened, threads=1).of(opened.manifest.cut_of(opened.manifest.local))
    (row,) = chain.finish({PICTURE.name: picture}, 0).values()
    return int(np.argmax(row))


def answers_of(futures: "list[Future[Answer]]") -> list[Answer]:
    done, late = wait(futures, PATIENT)
    assert not late
    return [future.result() for future in futures if future in done]


def nothing_is_lost(stats: Stats) -> bool:
    """Every frame has ended, once."""
    ends = stats.answered_cloud + stats.answered_device + stats.errors
    return stats.accepted == ends and (stats.pending, stats.ended_twice) == (0, 0)


def test_the_cloud_answers_when_it_can(agent: Agent) -> None:
    answer = agent.infer(tiny_pictures(1)[0])
    assert answer.place == "cloud"
    assert answer.top(1) == [(f"class {MARK}", 1.0)]
    assert answer.payload_bytes > 0
    assert agent.stats().answered_cloud == 1


def test_the_device_answers_alone_without_a_cloud(tiny_bundle: Path) -> None:
    picture = tiny_pictures(1)[0]
    with Agent.open(AgentConfig(bundle=tiny_bundle)) as agent:
        answer = agent.infer(picture)
    assert answer.place == "device"
    assert answer.candidate == "local"
    assert answer.top(1)[0][0] == f"class {local_label(tiny_bundle, picture)}"


@pytest.mark.parametrize(
    "code", [pb.ERROR_CODE_OVERLOADED, pb.ERROR_CODE_INTERNAL, pb.ERROR_CODE_BAD_FRAME]
)
def test_a_frame_that_the_cloud_refuses_is_finished_from_the_cut_tensor(
    agent: Agent, service: FakeService, tiny_bundle: Path, code: pb.ErrorCode
) -> None:
    service.respond = frame_error(code)
    picture = tiny_pictures(1)[0]
    answer = agent.infer(picture)
    assert answer.place == "device"
    assert answer.top(1)[0][0] == f"class {local_label(tiny_bundle, picture)}"


def test_a_late_cloud_is_not_waited_for_and_its_answer_is_dropped(
    config: AgentConfig, service: FakeService
) -> None:
    service.respond = lambda frame: None
    with Agent.open(replace(config, patience_ms=1.0), transport=service) as agent:
        answer = agent.infer(tiny_pictures(1)[0])
        assert answer.place == "device"
        assert agent.stats().duplicates == 0
        service.say(marked_answer(service.frames[0]))
        give_up_at = time.monotonic() + PATIENT
        while not agent.stats().duplicates:
            assert time.monotonic() < give_up_at
        stats = agent.stats()
        assert (stats.accepted, stats.answered_device, stats.duplicates) == (1, 1, 1)
        assert nothing_is_lost(stats)


def test_a_deadline_is_met_by_the_device_when_the_cloud_is_silent(
    config: AgentConfig, service: FakeService
) -> None:
    """The link is fine, and the agent's own patience lasts longer than the test."""
    service.respond = lambda frame: None
    agent = Agent.open(replace(config, patience_ms=6e4), transport=service)
    (answer,) = answers_of([agent.submit(tiny_pictures(1)[0], deadline_ms=60.0)])
    assert answer.place == "device"
    agent.close()


@pytest.mark.parametrize("deadline_ms", [nan, inf, -inf, "soon", 10**400])
def test_a_deadline_that_is_no_finite_number_is_refused_before_acceptance(
    agent: Agent, deadline_ms: Any
) -> None:
    with pytest.raises(ConfigError, match="deadline_ms must be a finite number"):
        agent.submit(tiny_pictures(1)[0], deadline_ms)
    assert agent.stats().accepted == 0


@pytest.mark.parametrize("deadline_ms", [-5.0, 0, 1e300])
def test_a_deadline_that_has_passed_or_is_far_off_costs_no_frame(
    agent: Agent, deadline_ms: float
) -> None:
    answers_of([agent.submit(tiny_pictures(1)[0], deadline_ms)])
    assert agent.stats().errors == 0


def test_frames_in_flight_are_answered_when_the_stream_breaks(
    agent: Agent, service: FakeService
) -> None:
    service.respond = lambda frame: None
    futures = [agent.submit(picture) for picture in tiny_pictures(3)]
    agent.stats()  # a round trip through the agent's loop: the frames are on their way
    service.reachable = False
    service.hang_up()
    assert {answer.place for answer in answers_of(futures)} == {"device"}
    assert nothing_is_lost(agent.stats())


def test_a_broken_stream_is_opened_again_and_the_cloud_used_again(
    config: AgentConfig, service: FakeService
) -> None:
    with Agent.open(config, transport=service) as agent:
        service.hang_up()
        give_up_at = time.monotonic() + PATIENT
        while agent.infer(tiny_pictures(1)[0]).place != "cloud":
            assert time.monotonic() < give_up_at
        assert nothing_is_lost(agent.stats())
    assert service.connects == 2


def test_silence_counts_as_a_dead_link_and_costs_no_frame(
    config: AgentConfig, service: FakeService
) -> None:
    with Agent.open(replace(config, patience_ms=60_000.0), transport=service) as agent:
        service.respond = lambda frame: None
        service.echo = False
        future = agent.submit(tiny_pictures(1)[0])
        (answer,) = answers_of([future])
        assert answer.place == "device"
        assert nothing_is_lost(agent.stats())


def test_a_draining_service_gets_no_new_frames(agent: Agent, service: FakeService) -> None:
    service.say(pb.CloudMessage(drain=pb.Drain(grace_ms=100)))
    agent.stats()
    sent = len(service.frames)
    assert agent.infer(tiny_pictures(1)[0]).place == "device"
    assert len(service.frames) == sent


@pytest.mark.parametrize("damage", ["no outputs", "wrong shape", "short payload"])
def test_a_damaged_answer_is_replaced_by_the_devices(
    agent: Agent, service: FakeService, damage: str
) -> None:
    def respond(frame: pb.Frame) -> pb.CloudMessage:
        message = marked_answer(frame)
        output = message.result.outputs[0]
        if damage == "no outputs":
            del message.result.outputs[:]
        elif damage == "wrong shape":
            output.shape[1] = 11
        else:
            output.payload = output.payload[:-4]
        return message

    service.respond = respond
    assert agent.infer(tiny_pictures(1)[0]).place == "device"


def test_a_service_that_is_not_there_is_one_clear_error(
    config: AgentConfig, service: FakeService
) -> None:
    service.reachable = False
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:1: .*nobody listens.*isthmus cloud"):
        Agent.open(replace(config, require_cloud=True), transport=service)


def test_a_device_may_start_without_its_service(config: AgentConfig, service: FakeService) -> None:
    service.reachable = False
    with Agent.open(config, transport=service) as agent:
        assert agent.infer(tiny_pictures(1)[0]).place == "device"


@pytest.mark.parametrize(
    "frame", [np.zeros((32, 32, 4), np.uint8), np.zeros((2, 32, 32, 3), np.uint8), np.zeros(3)]
)
def test_a_wrong_shape_or_type_is_refused_before_acceptance(
    agent: Agent, frame: np.ndarray
) -> None:
    with pytest.raises(WireError, match="picture"):
        agent.infer(frame)
    assert agent.stats().accepted == 0


def test_an_unknown_candidate_is_refused_with_the_known_ones(config: AgentConfig) -> None:
    with pytest.raises(ConfigError, match="cut-16"):
        Agent.open(replace(config, candidate="b99"))


def test_a_rung_can_be_pinned_and_the_answer_says_which_it_was(
    wide_bundle: Path, service: FakeService
) -> None:
    config = AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1", candidate="floats@3")
    with Agent.open(config, transport=service) as agent:
        names = [None, "floats", "floats@0", "pair@1"]
        item = wide_item(tiny_pictures(1)[0])
        answers = [agent.infer(item, candidate=name) for name in names]
    assert [answer.rung for answer in answers] == [3, 2, 0, 1]
    assert [frame.rung for frame in service.frames] == [3, 2, 0, 1]
    assert [frame.candidate for frame in service.frames] == ["floats"] * 3 + ["pair"]


def test_a_cloud_that_is_required_needs_an_address(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="--cloud"):
        AgentConfig(bundle=tiny_bundle, require_cloud=True)


def test_an_unknown_rung_is_refused_before_anything_runs(config: AgentConfig) -> None:
    with pytest.raises(ConfigError, match="no rung '1'"):
        Agent.open(replace(config, candidate="cut-16@1"))


@pytest.mark.parametrize("name", ["input", "floats", "pair", "curves"])
def test_whatever_crossed_the_device_goes_on_from_the_boundary_tensors(
    wide_bundle: Path, service: FakeService, name: str
) -> None:
    """Not from the coarser ones that were sent."""
    service.respond = frame_error(pb.ERROR_CODE_INTERNAL)
    config = AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1")
    reference = Reference(wide_bundle)
    with Agent.open(config, transport=service) as agent:
        for picture in tiny_pictures(3):
            answer = agent.infer(wide_item(picture), candidate=name)
            assert answer.place == "device"
            assert reference.is_right(answer, wide_item(picture))


def test_the_rung_follows_a_deadline_on_a_thin_link(
    wide_bundle: Path, service: FakeService
) -> None:
    service.link_bps = 100e3
    config = AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1", video="off", patience_ms=6e4)
    pace = PlannedPace(open_bundle(wide_bundle, "device").manifest)
    item = wide_item(tiny_pictures(3)[2])
    with Agent.open(config, pace=pace, transport=service) as agent:
        ample = [agent.infer(item, deadline_ms=6e4) for _ in range(30)]
        assert agent.stats().candidate == "floats"
        rungs = [answer.rung for answer in ample]
        assert (rungs[0], rungs[-1], rungs) == (2, 0, sorted(rungs, reverse=True))
        short = agent.infer(item, deadline_ms=371.0)
        stats = agent.stats()
    assert (short.candidate, short.rung, stats.rung) == ("floats", 2, 2)
    assert stats.rate_advice is not None
    assert nothing_is_lost(stats)


def test_a_fast_link_gets_symbols_that_are_not_entropy_coded(
    wide_bundle: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1", candidate="floats")
    with Agent.open(config, transport=service) as agent:
        for limit_bps in (inf, 1.0):
            monkeypatch.setattr("isthmus_edge.stream.pipeline.FAST_LINK_BPS", limit_bps)
            agent.infer(wide_item(tiny_pictures(1)[0]))
    assert [frame.payloads[0].stored for frame in service.frames] == [False, True]
    assert len(service.frames[1].payloads[0].data) == 8 * 16 * 16 // 2


def test_a_candidate_that_needs_the_cloud_is_refused_without_one(tiny_bundle: Path) -> None:
    with Agent.open(AgentConfig(bundle=tiny_bundle)) as agent:
        with pytest.raises(ConfigError, match=r"cut-16.*needs a cloud"):
            agent.infer(tiny_pictures(1)[0], candidate="cut-16")
        assert agent.stats().accepted == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("video", "on"),
        ("agreement_floor", 1.5),
        ("agreement_floor", -0.1),
        ("objective", "glory"),
        ("patience_ms", nan),
        ("patience_ms", inf),
        ("patience_ms", -1.0),
        ("silence_s", nan),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    config: AgentConfig, field: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=field):
        replace(config, **{field: value})


@pytest.mark.parametrize("address", ["nowhere", "10.1.2.3:50051", ":1", "127.0.0.1:99999"])
def test_an_address_that_is_wrong_or_unsafe_is_refused(tiny_bundle: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        AgentConfig(bundle=tiny_bundle, cloud=address)


def test_many_frames_are_answered_in_order_and_no_more_than_the_window_is_in_flight(
    agent: Agent, service: FakeService
) -> None:
    held: list[pb.Frame] = []
    greatest = 0

    def respond(frame: pb.Frame) -> pb.CloudMessage | None:
        nonlocal greatest
        held.append(frame)
        greatest = max(greatest, len(held))
        if len(held) == 2 or frame.sequence == 40:
            while held:
                service.say(marked_answer(held.pop()))
        return None

    service.respond = respond
    answers = list(agent.stream(tiny_pictures(40)))
    assert [answer.sequence for answer in answers] == list(range(1, 41))
    assert greatest <= 4
    assert agent.stats().answered_cloud == 40


async def test_an_asynchronous_caller_gets_the_same_answers(
    config: AgentConfig, service: FakeService
) -> None:
    async with Agent.open(config, transport=service) as agent:
        answers = await asyncio.gather(*(agent.infer_async(p) for p in tiny_pictures(5)))
    assert {answer.place for answer in answers} == {"cloud"}


def test_the_policy_explains_its_switches(tiny_bundle: Path, service: FakeService) -> None:
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1")
    with Agent.open(config, transport=service) as agent:
        agent.infer(tiny_pictures(1)[0])
        (switch,) = agent.stats().switches
        assert switch.after == agent.decide().candidate.id
        assert "Mbit/s" in switch.reason
