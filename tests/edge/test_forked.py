"""An agent in a forked process: none of its threads is there, so nobody there waits for them."""

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tinybundle import tiny_pictures

from isthmus import AgentClosedError
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.config import WhenFull
from isthmus_edge.own_loop import OwnLoop

PATIENT = 20.0

# Later versions of Python warn of a fork beside threads, which is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def ended_in_a_fork(work: Callable[[], object]) -> int | None:
    """The status of a forked process that does this: 0 if nothing was raised, None if it hangs."""
    child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    child.start()
    child.join(PATIENT)
    if child.is_alive():
        child.kill()
        child.join()
        return None
    return child.exitcode


def test_in_a_forked_process_nobody_waits_for_the_thread_that_is_not_there() -> None:
    lasts: list[int] = []
    own = OwnLoop("own", lambda: None)

    async def last() -> None:
        lasts.append(1)

    def as_a_copy() -> None:
        assert own.ask(threading.current_thread) is threading.current_thread()
        with pytest.raises(AgentClosedError, match="forked"):
            own.post(lambda: None)
        own.end(last)
        own.end(last)

    assert ended_in_a_fork(as_a_copy) == 0
    assert own.ask(threading.current_thread) is not threading.current_thread()
    assert lasts == []
    own.end(last)
    assert lasts == [1]
    assert ended_in_a_fork(as_a_copy) == 0


def test_a_forked_process_closes_its_copy_at_once_and_hurts_nobody(tiny_bundle: Path) -> None:
    """Only one thread of a process is in its fork, and not the agent's."""
    config, pictures = AgentConfig(bundle=tiny_bundle), tiny_pictures(4)
    with Agent.open(config) as agent:
        assert agent.infer(pictures[0]).place == "device"

        def as_a_copy() -> None:
            for picture in pictures[: config.max_queued + 1]:
                with pytest.raises(AgentClosedError, match="forked"):
                    agent.submit(picture)
            assert agent.stats().accepted == 1
            agent.close()

        assert ended_in_a_fork(as_a_copy) == 0
        assert agent.infer(pictures[1]).place == "device"


@pytest.mark.parametrize("when_full", ["wait", "reject", "drop-oldest"])
def test_nobody_waits_in_a_copy_of_an_agent_whose_queue_is_full(
    tiny_bundle: Path, when_full: WhenFull
) -> None:
    config = AgentConfig(bundle=tiny_bundle, max_queued=1, when_full=when_full)
    pictures, stands, goes_on = tiny_pictures(3), threading.Event(), threading.Event()

    def hold(_done: object) -> None:
        stands.set()
        assert goes_on.wait(PATIENT)

    with Agent.open(config) as agent:
        first = agent.submit(pictures[0])
        first.add_done_callback(hold)
        assert stands.wait(PATIENT)  # the agent's own thread does nothing now
        second = agent.submit(pictures[1])

        def as_a_copy() -> None:
            with pytest.raises(AgentClosedError, match="forked"):
                agent.submit(pictures[2])
            agent.close()

        try:
            assert ended_in_a_fork(as_a_copy) == 0
        finally:
            goes_on.set()
        assert second.result(PATIENT).place == "device"


def test_a_process_that_a_callback_forks_closes_its_copy_too(tiny_bundle: Path) -> None:
    ends: list[int | None] = []
    with Agent.open(AgentConfig(bundle=tiny_bundle)) as agent:
        answer = agent.submit(tiny_pictures(1)[0])
        done = threading.Event()

        def fork(_done: object) -> None:
            ends.append(ended_in_a_fork(agent.close))
            done.set()

        answer.add_done_callback(fork)
        assert done.wait(2 * PATIENT)
    assert ends == [0]
