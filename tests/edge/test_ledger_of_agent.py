"""A second end of a frame shows in the agent's figures; a late answer of the cloud is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import until
from tests.edge.fakes import FakeService, marked_answer
from tests.tinybundle import tiny_pictures

from isthmus_edge import Agent, AgentConfig
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.pipeline import Pipeline

PICTURE = tiny_pictures(1)[0]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def agent(tiny_bundle: Path, service: FakeService) -> Iterator[Agent]:
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="cut-16")
    with Agent.open(config, transport=service) as agent:
        yield agent


def test_an_end_after_the_end_is_counted_and_changes_nothing(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Pipeline._end

    def twice(pipeline: Pipeline, frame: Frame, *how: object) -> None:
        end(pipeline, frame, *how)  # type: ignore[arg-type]
        end(pipeline, frame, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "_end", twice)
    agent.infer(PICTURE)
    stats = agent.stats()
    assert (stats.ended_twice, stats.duplicates) == (1, 0)
    assert (stats.accepted, stats.answered_cloud, stats.pending) == (1, 1, 0)


def test_a_second_answer_of_the_cloud_is_no_second_end(agent: Agent, service: FakeService) -> None:
    agent.infer(PICTURE)
    service.say(marked_answer(service.frames[0]))
    until(lambda: agent.stats().duplicates == 1, "the duplicate is counted")
    assert agent.stats().ended_twice == 0
