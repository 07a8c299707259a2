"""A device that grows hot slows down: what is believed of it follows, and work moves, and back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.edge.fakes import FakeService, PlannedPace
from tests.tinybundle import tiny_pictures

from isthmus import Manifest, open_bundle
from isthmus_edge import Agent, AgentConfig, LinkEstimator
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.link import LinkEstimate

Result = TypeVar("Result")
PICTURE = tiny_pictures(1)[0]
SETTLED = 12  # frames after which the recent ones tell
HOT = 4.0


class Warming:
    """The plan's times, longer by `slowness`."""

    def __init__(self, manifest: Manifest) -> None:
        self._planned = PlannedPace(manifest)
        self.slowness = 1.0

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        result, ms = self._planned.run(kind, work, call_off)
        return result, ms * self.slowness


class Known(LinkEstimator):
    """A thin link of which nobody doubts: the plan is fastest on a cool device alone."""

    def estimate(self, now: float) -> LinkEstimate:
        return LinkEstimate(bandwidth_bps=20e3, rtt_ms=5.0)


@pytest.fixture
def pace(tiny_bundle: Path) -> Warming:
    return Warming(open_bundle(tiny_bundle, "device").manifest)


@pytest.fixture
def agent(tiny_bundle: Path, pace: Warming) -> Iterator[Agent]:
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", heed_vitals=False)
    with Agent.open(config, pace=pace, transport=FakeService(), estimator=Known) as agent:
        yield agent


def used_by(agent: Agent, frames: int) -> list[str]:
    return [agent.infer(PICTURE).candidate for _ in range(frames)]


def test_the_device_is_believed_to_be_as_slow_as_its_recent_frames(
    agent: Agent, pace: Warming
) -> None:
    agent.infer(PICTURE, candidate="local")
    assert agent.stats().device_scale == pytest.approx(1.0)
    pace.slowness = HOT
    for _ in range(SETTLED):
        agent.infer(PICTURE, candidate="local")
    assert agent.stats().device_scale == pytest.approx(HOT)
    pace.slowness = 1.0
    for _ in range(SETTLED):
        agent.infer(PICTURE, candidate="local")
    assert agent.stats().device_scale == pytest.approx(1.0)


def test_work_moves_to_the_cloud_while_the_device_is_hot_and_back_when_it_is_cool(
    agent: Agent, pace: Warming
) -> None:
    """What takes its place shows how warm the device is: nothing has to be forgotten for that."""
    assert set(used_by(agent, SETTLED)) == {"local"}
    pace.slowness = HOT
    hot = used_by(agent, SETTLED)
    assert hot[0] == "local"
    assert hot[-1] == "cut-16"
    pace.slowness = 1.0
    cooled = used_by(agent, 2 * SETTLED)
    assert cooled[-1] == "local"
    stats = agent.stats()
    assert [(s.before, s.after) for s in stats.switches] == [
        (None, "local"), ("local", "cut-16"), ("cut-16", "local"),
    ]  # fmt: skip
    assert stats.device_scale == pytest.approx(1.0)
    assert stats.errors == 0
