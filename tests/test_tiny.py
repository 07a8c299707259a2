"""The whole system in seconds: the real cloud command, a real link, an agent, real processes.

One story, told once: the link works, is cut off, comes back, and the cloud is asked to go.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.commands import PATIENCE_S, Cloud, until
from tests.edge.fakes import PlannedPace
from tests.reference import Reference
from tests.tinybundle import tiny_pictures

from isthmus_bench.relay import LinkShape, Relay
from isthmus_edge import Agent, AgentConfig, Answer

GOOD_LINK = LinkShape.symmetric(20.0, 10.0)
CUT_OFF = LinkShape.symmetric(0.0, 10.0)
BURST = 8  # frames sent without waiting for answers


class Camera:
    """Hands pictures to the agent and keeps every answer."""

    def __init__(self, agent: Agent, reference: Reference) -> None:
        self._agent = agent
        self._reference = reference
        self._pictures = cycle(_clear_pictures(reference))
        self.answers: list[Answer] = []

    def shoot(self, frames: int = 1) -> list[Answer]:
        """The answers to that many frames, sent at once; each equals the unsplit model's."""
        sent: list[tuple[NDArray[np.uint8], Future[Answer]]] = []
        for _ in range(frames):
            picture = next(self._pictures)
            sent.append((picture, self._agent.submit(picture)))
        answers = [future.result(PATIENCE_S) for _, future in sent]
        for (picture, _), answer in zip(sent, answers, strict=True):
            (got,) = answer.outputs.values()
            assert got.argmax() == self._reference.unsplit(picture).argmax()
        self.answers += answers
        return answers

    def until_cloud(self) -> None:
        """One frame after the other until the cloud answers one."""
        until(lambda: self.shoot()[0].place == "cloud", "the cloud answers")

    def until_link(self, state: str) -> None:
        """One frame after the other until the link is in this state."""
        until(lambda: self._state_after_a_frame() == state, f"the link is {state}")

    def _state_after_a_frame(self) -> str:
        self.shoot()
        return self._agent.stats().link_state


def _clear_pictures(reference: Reference) -> list[NDArray[np.uint8]]:
    """Those whose class does not hang on a hair that int8 or JPEG may bend."""
    ranked = [(np.sort(reference.unsplit(p).reshape(-1)), p) for p in tiny_pictures(24)]
    return [picture for values, picture in ranked if values[-1] - values[-2] > 0.2]


@pytest.fixture
def cloud(tiny_bundle: Path) -> Iterator[Cloud]:
    with Cloud(tiny_bundle) as cloud:
        yield cloud


@pytest.fixture
def relay(cloud: Cloud) -> Iterator[Relay]:
    with Relay(cloud.address, GOOD_LINK) as relay:
        yield relay


@pytest.fixture
def agent(tiny_bundle: Path, relay: Relay) -> Iterator[Agent]:
    config = AgentConfig(bundle=tiny_bundle, cloud=relay.address)
    reference = Reference(tiny_bundle)
    with Agent.open(config, pace=PlannedPace(reference.manifest)) as agent:
        yield agent


def test_no_frame_is_lost_while_the_link_and_the_cloud_come_and_go(
    tiny_bundle: Path, cloud: Cloud, relay: Relay, agent: Agent
) -> None:
    camera = Camera(agent, Reference(tiny_bundle))
    camera.until_cloud()

    relay.shape(CUT_OFF)
    # Some of these were sent into the void before the silence was noticed.
    assert {answer.place for answer in camera.shoot(BURST)} == {"device"}
    camera.until_link("down")
    assert {answer.candidate for answer in camera.shoot(BURST)} == {"local"}

    relay.shape(GOOD_LINK)
    camera.until_cloud()

    ended = cloud.told(signal.SIGTERM)
    assert ended.status == 0
    assert "draining" in ended.out
    assert [line for line in ended.err.splitlines() if '"level": "info"' not in line] == []
    assert {answer.place for answer in camera.shoot(BURST)} == {"device"}

    assert_nothing_was_lost(agent, camera.answers)


def assert_nothing_was_lost(agent: Agent, answers: list[Answer]) -> None:
    """Every frame was answered once, and the agent's own figures say the same."""
    places = [answer.place for answer in answers]
    stats = agent.stats()
    assert sorted(answer.sequence for answer in answers) == list(range(1, len(answers) + 1))
    assert stats.accepted == len(answers)
    assert stats.answered_cloud == places.count("cloud") > 0
    assert stats.answered_device == places.count("device") > 0
    assert (stats.errors, stats.pending, stats.duplicates) == (0, 0, 0)
