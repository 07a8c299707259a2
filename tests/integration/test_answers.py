"""The edge room against the real cloud command: every way to answer gives the right answer."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, cycle, islice
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud
from tests.reference import Reference
from tests.tinybundle import tiny_pictures

from isthmus import PeerError
from isthmus_edge import Agent, AgentConfig, Answer

PICTURES = tiny_pictures(7)  # coprime to the candidates: every one meets every picture


@pytest.fixture(scope="module")
def config(tiny_bundle: Path, cloud: Cloud) -> AgentConfig:
    """A busy machine is no reason to take the cloud for dead."""
    return AgentConfig(
        bundle=tiny_bundle,
        cloud=cloud.address,
        connect_timeout_s=PATIENCE_S,
        silence_s=PATIENCE_S,
        patience_ms=PATIENCE_S * 1e3,
    )


@pytest.fixture(scope="module")
def reference(tiny_bundle: Path) -> Reference:
    return Reference(tiny_bundle)


@pytest.fixture
def agent(config: AgentConfig) -> Iterator[Agent]:
    with Agent.open(config) as agent:
        yield agent


class Sender:
    """Sends pictures by candidates in turn, and knows what must come back."""

    def __init__(self, agent: Agent, reference: Reference, first: int = 0) -> None:
        self._agent = agent
        self._reference = reference
        self._names = [c.id for c in agent.manifest.candidates]
        self._first = first

    def turns(self, frames: int) -> list[tuple[str, int]]:
        """Candidate and picture of each frame: both change with every frame."""
        begin = self._first
        names = islice(cycle(self._names), begin, begin + frames)
        return list(zip(names, islice(cycle(range(len(PICTURES))), begin, None), strict=False))

    def send(self, frames: int) -> list[Answer]:
        """All frames at once; their answers, each of which is right."""
        turns = self.turns(frames)
        sent: list[Future[Answer]] = [
            self._agent.submit(PICTURES[picture], candidate=name) for name, picture in turns
        ]
        return self.checked(turns, [future.result(PATIENCE_S) for future in sent])

    async def send_async(self, frames: int) -> list[Answer]:
        """The same from an event loop."""
        turns = self.turns(frames)
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(
                *(self._agent.infer_async(PICTURES[p], candidate=name) for name, p in turns)
            )
        return self.checked(turns, answers)

    def checked(self, turns: list[tuple[str, int]], answers: list[Answer]) -> list[Answer]:
        assert [answer.candidate for answer in answers] == [name for name, _ in turns]
        for (_, picture), answer in zip(turns, answers, strict=True):
            assert self._reference.is_right(answer, PICTURES[picture]), answer
        return answers


def test_the_candidate_changes_with_every_frame_and_every_answer_is_right(
    agent: Agent, reference: Reference
) -> None:
    candidates = agent.manifest.candidates
    answers = Sender(agent, reference).send(len(candidates) * len(PICTURES))
    for answer in answers:
        assert answer.place == ("device" if answer.candidate == "local" else "cloud")
    stats = agent.stats()
    assert stats.answered_cloud == (len(candidates) - 1) * len(PICTURES)
    assert stats.answered_device == len(PICTURES)


def test_only_the_greatest_values_come_back_where_the_device_asks_for_them(
    config: AgentConfig, reference: Reference
) -> None:
    with Agent.open(replace(config, answer_top_k=3)) as agent:
        answer = agent.infer(PICTURES[0], candidate="cut-256")
    expected = reference.expected("cut-256", PICTURES[0]).reshape(-1)
    best = expected.argsort()[::-1][:3]
    *sent, (_, left_out) = answer.top(4)
    assert [label for label, _ in sent] == [f"class {i}" for i in best]
    assert [value for _, value in sent] == pytest.approx(list(expected[best]), abs=1e-5)
    assert left_out == float("-inf")


async def test_threads_and_an_event_loop_may_use_one_agent_at_once(
    agent: Agent, reference: Reference
) -> None:
    frames, threads = 25, 6
    senders = [Sender(agent, reference, first) for first in range(threads)]
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as pool:
        from_threads = [loop.run_in_executor(pool, sender.send, frames) for sender in senders]
        from_loop = await Sender(agent, reference, threads).send_async(frames)
        answers = [*from_loop, *chain.from_iterable(await asyncio.gather(*from_threads))]
    count = frames * (threads + 1)
    assert sorted(answer.sequence for answer in answers) == list(range(1, count + 1))
    stats = agent.stats()
    assert (stats.accepted, stats.answered_cloud + stats.answered_device) == (count, count)


def test_two_devices_share_one_service_and_get_their_own_answers(
    config: AgentConfig, reference: Reference
) -> None:
    frames = 40
    with (
        Agent.open(config) as one,
        Agent.open(config) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        senders = (Sender(one, reference), Sender(other, reference, first=3))
        runs = [pool.submit(sender.send, frames) for sender in senders]
        for run in runs:
            # Both count from 1: only the stream tells their frames apart.
            sequences = [answer.sequence for answer in run.result(PATIENCE_S)]
            assert sorted(sequences) == list(range(1, frames + 1))
        assert one.stats().answered_cloud == other.stats().answered_cloud == frames * 4 // 5


def test_a_device_with_other_weights_is_refused_in_clear_words(
    other_bundle: Path, cloud: Cloud
) -> None:
    with pytest.raises(PeerError, match="weights differ: have an operator") as refused:
        Agent.open(AgentConfig(bundle=other_bundle, cloud=cloud.address, require_cloud=True))
    assert refused.value.code == "BUNDLE_MISMATCH"
