"""Signals end a run of `isthmus edge`: whatever comes, no accepted frame is lost count of."""

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from operator import ne
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
from tests.commands import PATIENCE_S, Command, until
from tests.tinybundle import tiny_pictures

from isthmus import AgentClosedError
from isthmus_cli.console import Terminated
from isthmus_cli.edge_ending import Ending
from isthmus_edge import Agent, AgentConfig, Answer

FOREVER = 1_000_000
PICTURES = tiny_pictures(3)

Result = TypeVar("Result")

send = signal.raise_signal  # its handler has run when this returns


class Busy:
    """A device that is busy with its first frame until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def run(self, kind: str, work: Callable[[], Result], _: object = None) -> tuple[Result, float]:
        self.begun.set()
        assert self.let_go.wait(PATIENCE_S), kind
        return work(), 1.0


class Exited(BaseException):
    """In place of the end of this process."""


@pytest.fixture
def now_s() -> list[float]:
    return [100.0]


@pytest.fixture
def ending(now_s: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ending]:
    """May hear the signals of this process; what would end that raises Exited with the status."""

    def exit_(status: int) -> NoReturn:
        raise Exited(status)

    def miss(number: int, _: object) -> NoReturn:
        pytest.fail(f"signal {number} was not heard")

    monkeypatch.setattr(os, "_exit", exit_)
    before = {kind: signal.signal(kind, miss) for kind in (signal.SIGINT, signal.SIGTERM)}
    yield Ending(lambda: now_s[0])
    for kind, handler in before.items():
        signal.signal(kind, handler)


class Run:
    """A run with three frames under way."""

    def __init__(self, bundle: Path, ending: Ending) -> None:
        self.device = Busy()
        self.agent = Agent.open(AgentConfig(bundle=bundle), pace=self.device)
        self.futures = [self.agent.submit(picture) for picture in PICTURES]
        assert self.device.begun.wait(PATIENCE_S)
        ending.closes(self.agent)

    def ends(self) -> list[type]:
        assert not wait(self.futures, PATIENCE_S).not_done
        return [type(future.exception() or future.result()) for future in self.futures]


@pytest.fixture
def running(tiny_bundle: Path, ending: Ending) -> Iterator[Run]:
    run = Run(tiny_bundle, ending)
    with ending.heeded():
        yield run
    run.device.let_go.set()
    run.agent.close()


def refuses(agent: Agent) -> bool:
    """Waits for the answer if the agent does not."""
    try:
        agent.infer(PICTURES[0])
    except AgentClosedError:
        return True
    return False


def refusal(agent: Agent) -> "Future[bool]":
    """Given while nobody frees the device."""
    heard: Future[bool] = Future()
    threading.Thread(target=lambda: heard.set_result(refuses(agent)), daemon=True).start()
    return heard


def test_a_signal_in_one_breath_with_the_first_is_the_first(
    running: Run, ending: Ending, now_s: list[float]
) -> None:
    send(signal.SIGTERM)
    now_s[0] += 0.4
    send(signal.SIGTERM)
    send(signal.SIGINT)
    assert ending.is_told
    assert refusal(running.agent).result(PATIENCE_S)
    running.device.let_go.set()
    assert running.ends() == [Answer] * 3
    with pytest.raises(Terminated):
        ending.pass_on()


def test_a_later_one_ends_what_is_not_answered_and_the_third_one_ends_the_process(
    running: Run, now_s: list[float]
) -> None:
    send(signal.SIGINT)
    now_s[0] += 1.0
    send(signal.SIGTERM)
    assert running.ends() == [AgentClosedError] * 3  # while the device is still busy
    stats = running.agent.stats()
    assert (stats.accepted, stats.errors, stats.pending, stats.ended_twice) == (3, 3, 0, 0)
    send(signal.SIGTERM)
    now_s[0] += 1.0
    with pytest.raises(Exited, match="143"):
        send(signal.SIGTERM)


@pytest.mark.parametrize(("kind", "status"), [(signal.SIGTERM, "143"), (signal.SIGINT, "130")])
def test_while_no_agent_is_open_a_signal_ends_the_process(
    ending: Ending, kind: signal.Signals, status: str
) -> None:
    with ending.heeded(), pytest.raises(Exited, match=status):
        send(kind)


def test_behind_a_run_that_no_signal_ended_they_do_what_they_did_before(ending: Ending) -> None:
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = list(map(signal.getsignal, kinds))
    with ending.heeded():
        assert all(map(ne, map(signal.getsignal, kinds), before))
    assert list(map(signal.getsignal, kinds)) == before
    ending.pass_on()


def test_a_repetition_that_comes_behind_the_run_is_heard_and_does_nothing(
    tiny_bundle: Path, ending: Ending
) -> None:
    with ending.heeded(), Agent.open(AgentConfig(bundle=tiny_bundle)) as agent:
        ending.closes(agent)
        send(signal.SIGTERM)
    send(signal.SIGTERM)
    with pytest.raises(Terminated):
        ending.pass_on()


def test_what_was_ignored_stays_so(ending: Ending) -> None:
    """Shells have their background jobs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ending.heeded():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_two_quick_signals_lose_no_frame_and_no_line(tiny_bundle: Path, photos: Path) -> None:
    with Command("edge", tiny_bundle, photos, "--repeat", FOREVER) as device:
        device.line("photo-0.png")
        device.process.send_signal(signal.SIGINT)
        ended = device.told(signal.SIGTERM)  # not merged with the other one on the way
    assert (ended.status, ended.err) == (130, "")
    *lines, last = ended.out.splitlines()
    assert "errors 0, lost 0" in last
    counts = re.match(r"accepted (\d+), answered (\d+) ", last)
    assert counts is not None
    accepted, answered = map(int, counts.groups())
    assert accepted == answered == len(lines) + 1


def test_the_answers_as_json_are_those_that_the_figures_tell(
    tiny_bundle: Path, photos: Path
) -> None:
    flags = ("--repeat", FOREVER, "--json", "--verbose")
    with Command("edge", tiny_bundle, photos, *flags) as device:
        until(lambda: " -> " in device.complaints(), "the policy's first choice is logged")
        ended = device.told(signal.SIGINT)
    assert ended.status == 130
    told = json.loads(ended.out)
    assert len(told["answers"]) == told["stats"]["accepted"] > 0
