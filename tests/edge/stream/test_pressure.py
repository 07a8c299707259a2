"""More frames than the device can take: it waits, says so, or drops the stalest, as asked."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from tests.edge.fakes import FakeService, marked_answer
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError, QueueFullError, StaleFrameError
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Answer
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.stream.pipeline import RESCUES_AT_ONCE

Result = TypeVar("Result")

PATIENT = 20.0
PICTURES = tiny_pictures(8)


class Gate:
    """A device that does one piece of work for each `let_pass`."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def let_pass(self, times: int = 1) -> None:
        self._passes.release(times)

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        self.begun.release()
        assert self._passes.acquire(timeout=PATIENT), kind
        return work(), 1.0


@pytest.fixture
def gate() -> Gate:
    return Gate()


def busy(config: AgentConfig, gate: Gate) -> Iterator[tuple[Agent, "Future[Answer]"]]:
    """An agent whose device has begun a frame and stands at the gate."""
    with Agent.open(config, pace=gate) as agent:
        first = agent.submit(PICTURES[0])
        assert gate.begun.acquire(timeout=PATIENT)
        yield agent, first
        gate.let_pass(len(PICTURES))


def test_a_batch_can_be_told_that_there_is_no_place(tiny_bundle: Path, gate: Gate) -> None:
    config = AgentConfig(bundle=tiny_bundle, when_full="reject", max_queued=2)
    for agent, first in busy(config, gate):
        others = [agent.submit(picture) for picture in PICTURES[1:3]]
        with pytest.raises(QueueFullError, match="max_queued"):
            agent.submit(PICTURES[3])
        assert agent.stats().accepted == 3
        gate.let_pass(3)
        assert not wait([first, *others], PATIENT).not_done
        again = agent.submit(PICTURES[3])
        gate.let_pass()
        assert again.result(PATIENT).place == "device"


def test_a_camera_is_never_held_up_and_its_stalest_frames_go_first(
    tiny_bundle: Path, gate: Gate
) -> None:
    config = AgentConfig(bundle=tiny_bundle, when_full="drop-oldest", max_queued=2)
    for agent, first in busy(config, gate):
        futures = [agent.submit(picture) for picture in PICTURES[1:6]]
        gate.let_pass(3)
        assert not wait([first, *futures], PATIENT).not_done
        dropped = [future for future in futures if future.exception() is not None]
        assert dropped == futures[:3]
        assert all(isinstance(future.exception(), StaleFrameError) for future in dropped)
        stats = agent.stats()
        assert (stats.accepted, stats.answered_device, stats.errors, stats.stale) == (6, 3, 3, 3)
        assert stats.pending == 0


def test_a_batch_loses_nothing_however_slow_the_device(tiny_bundle: Path, gate: Gate) -> None:
    config = AgentConfig(bundle=tiny_bundle, max_queued=1)
    for agent, first in busy(config, gate):
        gate.let_pass(len(PICTURES))
        answers = list(agent.stream(PICTURES[1:]))
        first.result(PATIENT)
        assert len(answers) == len(PICTURES) - 1
        assert (agent.stats().stale, agent.stats().errors) == (0, 0)


def test_what_is_kept_of_frames_under_way_is_bounded(tiny_bundle: Path) -> None:
    """The tensors of one frame fit, those of two do not: they go one by one."""
    service = FakeService()
    greatest = 0
    held: list[pb.Frame] = []

    def respond(frame: pb.Frame) -> None:
        nonlocal greatest
        held.append(frame)
        greatest = max(greatest, len(held))
        threading.Timer(0.0, lambda: service.say(marked_answer(held.pop()))).start()

    service.respond = respond
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="cut-16")
    with Agent.open(replace(config, max_held_bytes=1), transport=service) as agent:
        assert len(list(agent.stream(PICTURES))) == len(PICTURES)
    assert greatest == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("when_full", "panic"), ("max_held_bytes", 0), ("power", "nuclear"), ("audit_share", 1.5)],
)
def test_a_setting_that_cannot_be_used_is_named(
    tiny_bundle: Path, field: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=field):
        AgentConfig(bundle=tiny_bundle, **{field: value})  # type: ignore[arg-type]


def test_heads_do_not_pile_up_while_the_link_is_down(tiny_bundle: Path) -> None:
    """Of pinned frames: each holds its tensors until the device has finished it."""
    service = FakeService()
    heads: list[str] = []

    class Noting(Gate):
        def run(
            self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
        ) -> tuple[Result, float]:
            if "@" in kind:
                heads.append(kind)
                return work(), 1.0
            return super().run(kind, work, call_off)

    stands = Noting()
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="cut-16", max_queued=8)
    with Agent.open(config, transport=service, pace=stands) as agent:
        service.reachable = False
        service.hang_up()
        futures = [agent.submit(picture) for picture in PICTURES]
        assert stands.begun.acquire(timeout=PATIENT), "the first rest has begun"
        assert agent.stats().link_state == "down"
        assert len(heads) <= RESCUES_AT_ONCE
        stands.let_pass(100)
        assert {future.result(PATIENT).place for future in futures} == {"device"}
        assert len(heads) == len(PICTURES)
