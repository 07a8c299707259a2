"""The life of an agent to its end: whoever asks, waits or closes, from whatever thread, hears."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from tests.commands import until
from tests.edge.fakes import FakeService
from tests.tinybundle import tiny_pictures

from isthmus import (
    AgentClosedError,
    ConfigError,
    IsthmusError,
    QueueFullError,
    WireError,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Answer
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.policy.vitals import Vitals

Result = TypeVar("Result")

PATIENT = 20.0
PICTURES = tiny_pictures(8)


class Held:
    """A device that is busy until it is let go; `kinds` are the pieces of work that it began."""

    def __init__(self, *, free: bool = False) -> None:
        self.let_go = threading.Event()
        self.begun = threading.Event()
        self.kinds: list[str] = []
        if free:
            self.let_go.set()

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        self.kinds.append(kind)
        self.begun.set()
        assert self.let_go.wait(PATIENT), kind
        return work(), 1.0


@pytest.fixture
def pace() -> Iterator[Held]:
    pace = Held()
    yield pace
    pace.let_go.set()


@pytest.fixture
def config(tiny_bundle: Path) -> AgentConfig:
    return AgentConfig(bundle=tiny_bundle)


def silent(config: AgentConfig) -> AgentConfig:
    """A cloud that says nothing is waited for, longer than any test lasts."""
    return replace(
        config, cloud="127.0.0.1:1", candidate="cut-16", patience_ms=6e4, silence_s=PATIENT
    )


def ends_of(futures: "list[Future[Answer]]") -> list[type]:
    assert not wait_for(futures, PATIENT).not_done
    return [type(future.exception() or future.result()) for future in futures]


def heard_in_a_callback(agent: Agent, pace: Held, act: Callable[[], Any]) -> "Future[Any]":
    """What `act` gives or raises when a frame's answer is told of, on the agent's own thread."""
    heard: Future[Any] = Future()

    def callback(_: object) -> None:
        try:
            heard.set_result(act())
        except IsthmusError as error:
            heard.set_exception(error)

    first = agent.submit(PICTURES[0])
    first.add_done_callback(callback)
    pace.let_go.set()
    return heard


# Callbacks


@pytest.mark.parametrize("name", ["infer", "stream", "stats", "decide", "close"])
def test_what_waits_for_the_agent_is_refused_on_its_own_thread(
    config: AgentConfig, pace: Held, name: str
) -> None:
    agent = Agent.open(config, pace=pace)
    acts: dict[str, Callable[[], object]] = {
        "infer": lambda: agent.infer(PICTURES[1]),
        "stream": lambda: list(agent.stream(PICTURES)),
        "stats": agent.stats,
        "decide": agent.decide,
        "close": agent.close,
    }
    heard = heard_in_a_callback(agent, pace, acts[name])
    assert isinstance(heard.exception(PATIENT), ConfigError)
    assert agent.infer(PICTURES[1]).place == "device"
    agent.close()


def test_a_callback_hands_in_as_many_frames_as_there_are_places_and_never_waits(
    config: AgentConfig, pace: Held
) -> None:
    agent = Agent.open(replace(config, max_queued=2), pace=pace)
    accepted: list[Future[Answer]] = []

    def hand_in() -> None:
        accepted.extend(map(agent.submit, PICTURES))

    heard = heard_in_a_callback(agent, pace, hand_in)
    error = heard.exception(PATIENT)
    assert isinstance(error, QueueFullError)
    assert "own thread" in str(error)
    assert len(accepted) == 2
    assert ends_of(accepted) == [Answer] * 2
    agent.close()


# Streams


def test_a_stream_that_reads_nothing_ahead_is_refused(config: AgentConfig) -> None:
    with Agent.open(config) as agent, pytest.raises(ConfigError, match="ahead must be at least 1"):
        agent.stream(PICTURES, ahead=0)


@pytest.mark.parametrize("when_full", ["reject", "drop-oldest"])
def test_a_stream_alone_loses_no_frame_where_submit_does_not_wait(
    config: AgentConfig, when_full: Any
) -> None:
    with Agent.open(replace(config, when_full=when_full)) as agent:
        answers = list(agent.stream(PICTURES))
    assert [answer.sequence for answer in answers] == list(range(1, len(PICTURES) + 1))


def test_what_is_refused_in_a_stream_says_so_in_its_turn(config: AgentConfig) -> None:
    frames: list[np.ndarray] = [*PICTURES[:2], np.zeros(3), *PICTURES[2:]]
    with Agent.open(config) as agent:
        answers = agent.stream(frames)
        assert [next(answers).sequence, next(answers).sequence] == [1, 2]
        with pytest.raises(WireError, match="picture"):
            next(answers)


# The end


def test_closing_answers_what_was_accepted_and_refuses_what_comes_after(
    config: AgentConfig,
) -> None:
    service = FakeService()
    service.respond = lambda frame: None
    agent = Agent.open(replace(silent(config), patience_ms=100.0), transport=service)
    futures = [agent.submit(picture) for picture in PICTURES[:3]]
    agent.close()
    assert {future.result(PATIENT).place for future in futures} == {"device"}
    for act in (agent.infer, agent.submit):
        with pytest.raises(AgentClosedError):
            act(PICTURES[0])
    with pytest.raises(AgentClosedError):
        agent.decide()
    agent.close()
    stats = agent.stats()
    assert (stats.accepted, stats.answered_device, stats.pending) == (3, 3, 0)
    assert stats.link_state == "down"


def test_the_last_word_to_a_cloud_settles_all_that_was_sent(config: AgentConfig) -> None:
    service, heard = FakeService(), list[pb.EdgeMessage]()
    service.heard = heard.append
    agent = Agent.open(silent(config), transport=service)
    assert {agent.infer(picture).place for picture in PICTURES[:3]} == {"cloud"}
    agent.close()
    agent.close()
    assert heard[-1].heartbeat.settled_through == 3
    assert (service.goodbyes, service.connects) == (1, 1)
    assert agent.stats().link_state == "down"


@pytest.mark.parametrize("how", ["broken", "not there", "not welcome"])
def test_to_a_cloud_that_has_no_stream_nothing_is_said(config: AgentConfig, how: str) -> None:
    service = FakeService()
    service.reachable = how != "not there"
    if how == "not welcome":
        service.greeting = None
    agent = Agent.open(replace(config, connect_timeout_s=0.05), transport=service)
    if how == "broken":
        service.reachable = False
        service.hang_up()
        until(lambda: agent.stats().link_state == "down", "it is seen")
    agent.close()
    assert service.goodbyes == 0


def test_who_waits_to_hand_in_a_frame_learns_that_the_agent_was_closed(
    config: AgentConfig, pace: Held
) -> None:
    """Two frames may wait for the busy device; the other callers stand at the door."""
    agent = Agent.open(config, pace=pace)
    with ThreadPoolExecutor(9) as callers:
        waiting = [callers.submit(agent.infer, PICTURES[0]) for _ in range(8)]
        closing = callers.submit(agent.close, 0.1)
        ends = [each.exception(PATIENT) for each in waiting]
        pace.let_go.set()
        closing.result(PATIENT)
    assert {type(end) for end in ends} == {AgentClosedError}


def test_everybody_who_closes_returns_when_it_is_closed_and_figures_are_told_meanwhile(
    config: AgentConfig, pace: Held
) -> None:
    agent = Agent.open(config, pace=pace)
    futures = [agent.submit(picture) for picture in PICTURES[:3]]
    assert pace.begun.wait(PATIENT)

    def close() -> bool:
        agent.close(0.0)
        return pace.let_go.is_set()

    with ThreadPoolExecutor(5) as threads:
        closing = [threads.submit(close) for _ in range(3)]
        assert ends_of(futures) == [AgentClosedError] * 3
        closing.append(threads.submit(close))
        stats = threads.submit(agent.stats).result(PATIENT)
        pace.let_go.set()
        assert [each.result(PATIENT) for each in closing] == [True] * 4
    assert (stats.accepted, stats.errors, stats.pending, stats.ended_twice) == (3, 3, 0, 0)


def test_who_has_no_time_hastens_a_close_that_waits(config: AgentConfig, pace: Held) -> None:
    agent = Agent.open(config, pace=pace)
    futures = [agent.submit(picture) for picture in PICTURES[:3]]
    assert pace.begun.wait(PATIENT)
    with ThreadPoolExecutor(2) as threads:
        closing = [threads.submit(agent.close)]
        until(lambda: agent._entrance.is_closed, "it waits for the answers")
        assert not any(future.done() for future in futures)
        closing.append(threads.submit(agent.close, 0.0))
        assert ends_of(futures) == [AgentClosedError] * 3
        pace.let_go.set()
        for each in closing:
            each.result(PATIENT)
    assert (agent.stats().errors, agent.stats().pending) == (3, 0)


def test_figures_may_be_asked_for_at_any_time_while_it_closes(config: AgentConfig) -> None:
    agent = Agent.open(config)
    may_ask = threading.Event()

    def ask() -> int:
        asked = 0
        while not closing.done() or not asked:
            assert agent.stats().pending == 0
            asked += 1
            may_ask.set()
        return asked

    closing: Future[None] = Future()
    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        assert may_ask.wait(PATIENT)
        agent.close()
        closing.set_result(None)
        assert all(each.result(PATIENT) for each in asking)


def test_a_signal_handler_may_close_what_is_closing(config: AgentConfig, pace: Held) -> None:
    """It runs in the middle of the main thread's own `close`, or of its `submit`."""
    agent = Agent.open(config, pace=pace)
    closed: list[str] = []

    def on_signal(*_: object) -> None:
        agent.close()
        closed.append("by the signal")

    def disturb() -> None:
        while not agent._entrance.is_closed:  # the main thread is on its way in
            pass
        signal.pthread_kill(main, signal.SIGUSR1)
        pace.let_go.set()

    main, before = threading.get_ident(), signal.signal(signal.SIGUSR1, on_signal)
    try:
        future = agent.submit(PICTURES[0])
        with ThreadPoolExecutor(1) as threads:
            disturbing = threads.submit(disturb)
            agent.close()
            closed.append("by itself")
            disturbing.result(PATIENT)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sorted(closed) == ["by itself", "by the signal"]
    assert future.result(PATIENT).place == "device"


def test_no_head_begins_once_the_time_to_close_is_over(config: AgentConfig) -> None:
    """Four frames wait for a silent cloud, as many as it takes; their end makes room for others."""
    service, pace, all_sent = FakeService(), Held(free=True), threading.Event()

    def respond(_: pb.Frame) -> None:
        if len(service.frames) == 4:
            all_sent.set()

    service.respond = respond
    agent = Agent.open(silent(config), transport=service, pace=pace)
    futures = [agent.submit(picture) for picture in PICTURES[:6]]
    assert all_sent.wait(PATIENT)
    agent.close(0.0)
    assert ends_of(futures) == [AgentClosedError] * 6
    assert len(pace.kinds) == 4
    assert (agent.stats().errors, agent.stats().pending) == (6, 0)


# What runs behind it


def test_a_watcher_of_vitals_outlives_whatever_psutil_raises(
    config: AgentConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read_again, reads = threading.Event(), []

    def read_vitals() -> Vitals:
        reads.append(1)
        if len(reads) < 3:
            raise ZeroDivisionError("a sensor without a scale")
        read_again.set()
        return Vitals()

    monkeypatch.setattr("isthmus_edge.agent.read_vitals", read_vitals)
    monkeypatch.setattr("isthmus_edge.background.VITALS_S", 0.0)
    with Agent.open(config):
        assert read_again.wait(PATIENT)
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert ["cannot be read" in each.getMessage() for each in warnings] == [True]


class Told(logging.Handler):
    """Lets a test wait for an error in the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.record: Future[logging.LogRecord] = Future()

    def emit(self, record: logging.LogRecord) -> None:
        self.record.set_result(record)


def test_what_dies_behind_the_agent_is_logged_with_what_is_lost(
    config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("on demand")

    monkeypatch.setattr("isthmus_edge.agent.Pipeline.note_vitals", fail)
    told, log = Told(), logging.getLogger("isthmus.edge")
    log.addHandler(told)
    try:
        with Agent.open(config) as agent:
            record = told.record.result(PATIENT)
            assert agent.infer(PICTURES[0]).place == "device"
    finally:
        log.removeHandler(told)
    assert "not heeded any more" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


class BrokenOnce:
    """A device whose first piece of work fails in a way nobody foresaw."""

    def __init__(self) -> None:
        self.broken = True

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        if self.broken:
            self.broken = False
            raise ZeroDivisionError(kind)
        return work(), 1.0


def test_a_failure_nobody_foresaw_ends_one_frame_and_no_other(tiny_bundle: Path) -> None:
    with Agent.open(AgentConfig(bundle=tiny_bundle), pace=BrokenOnce()) as agent:
        first, second = (agent.submit(picture) for picture in tiny_pictures(2))
        with pytest.raises(IsthmusError, match="ZeroDivisionError"):
            first.result(PATIENT)
        assert second.result(PATIENT).place == "device"
        stats = agent.stats()
        assert (stats.accepted, stats.errors, stats.answered_device) == (2, 1, 1)
