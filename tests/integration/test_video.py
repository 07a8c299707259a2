"""A video through the real cloud command: fewer bytes, the same answers."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.commands import PATIENCE_S, Cloud, until
from tests.reference import Reference
from tests.videos import moving_video, still_video

from isthmus_edge import Agent, AgentConfig, Answer
from isthmus_edge.stream import pipeline

FRAMES = 30
KNOWN = 20  # frames in which a scene is known to stand still
Pictures = list[NDArray[np.uint8]]


@pytest.fixture
def config(tiny_bundle: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> AgentConfig:
    """Of an agent that always codes: the loopback may seem so fast that it would not pay."""
    monkeypatch.setattr(pipeline, "FAST_LINK_BPS", inf)
    return AgentConfig(
        bundle=tiny_bundle,
        cloud=cloud.address,
        candidate="cut-16",
        connect_timeout_s=PATIENCE_S,
        silence_s=PATIENCE_S,
        patience_ms=PATIENCE_S * 1e3,
    )


def shown(config: AgentConfig, pictures: Pictures) -> list[Answer]:
    """The answers to all pictures of a video, pipelined, each from the cloud."""
    with Agent.open(config) as agent:
        answers = list(agent.stream(pictures))
        stats = agent.stats()
    assert {answer.place for answer in answers} == {"cloud"}
    assert stats.answered_cloud == len(pictures)
    assert (stats.errors, stats.pending, stats.duplicates) == (0, 0, 0)
    return answers


def bytes_of(answers: list[Answer]) -> int:
    return sum(answer.payload_bytes for answer in answers)


def test_differences_take_fewer_bytes_and_give_the_same_answers(
    config: AgentConfig, tiny_bundle: Path
) -> None:
    pictures, reference = moving_video(FRAMES), Reference(tiny_bundle)
    with_differences = shown(config, pictures)
    without = shown(replace(config, video="off"), pictures)
    for one, other, picture in zip(with_differences, without, pictures, strict=True):
        np.testing.assert_array_equal(one.outputs["probabilities"], other.outputs["probabilities"])
        assert reference.is_right(one, picture)
    assert bytes_of(with_differences) < 0.6 * bytes_of(without)


def test_a_camera_that_stands_still_sends_next_to_nothing(
    config: AgentConfig, tiny_bundle: Path
) -> None:
    pictures, reference = still_video(FRAMES), Reference(tiny_bundle)
    answers = shown(config, pictures)
    without = shown(replace(config, video="off"), pictures)
    assert bytes_of(answers[KNOWN:]) < 0.1 * bytes_of(without[KNOWN:])
    for answer, picture in zip(answers, pictures, strict=True):
        (got,) = answer.outputs.values()
        # Each symbol may be three quarters of a step off instead of half a step.
        apart = got.astype(np.float64) - reference.unsplit(picture)
        assert np.abs(apart).max() < 0.2


def test_two_devices_with_videos_of_their_own_get_their_own_answers(
    config: AgentConfig, tiny_bundle: Path
) -> None:
    """The cloud remembers a frame of each stream, and never one for another's."""
    pictures, reference = moving_video(FRAMES), Reference(tiny_bundle)
    turned = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
    with Agent.open(config) as one, Agent.open(config) as other:
        sent = [
            (picture, agent.submit(picture))
            for pair in zip(pictures, turned, strict=True)
            for agent, picture in zip((one, other), pair, strict=True)
        ]
        answers = [(picture, future.result(PATIENCE_S)) for picture, future in sent]
    assert all(reference.is_right(answer, picture) for picture, answer in answers)


def test_a_cloud_that_was_started_anew_gets_a_key_frame_first(
    config: AgentConfig, tiny_bundle: Path
) -> None:
    pictures, reference = moving_video(FRAMES), Reference(tiny_bundle)
    with Cloud(tiny_bundle) as first:
        address = first.address
        with Agent.open(replace(config, cloud=address, silence_s=1.4)) as agent:
            before = [agent.infer(picture) for picture in pictures[:6]]
            first.process.kill()
            first.ended()
            with Cloud(tiny_bundle, address):
                until(lambda: agent.infer(pictures[6]).place == "cloud", "the cloud answers")
                after = [agent.infer(picture) for picture in pictures[7:12]]
    for answer, picture in zip(before + after, pictures[:6] + pictures[7:12], strict=True):
        assert answer.place == "cloud"
        assert reference.is_right(answer, picture)
