"""A device that sends more than a real service lets it: what gets in is answered."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud, until
from tests.reference import Reference
from tests.videos import moving_video

from isthmus_cli import main
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.stream import pipeline

RATE = 10  # frames a second, and at once


@pytest.fixture
def config(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentConfig:
    """Of a device with a small rate, which always codes its frames."""
    monkeypatch.setattr(pipeline, "FAST_LINK_BPS", inf)
    file, own = tmp_path / "tokens.jsonl", tmp_path / "own.token"
    added = ("add", "camera-7", "--file", file, "--out", own, "--max-frames-per-s", RATE)
    assert main(["tokens", *map(str, added)]) == 0
    return AgentConfig(
        bundle=tiny_bundle,
        candidate="cut-16",
        token_file=own,
        connect_timeout_s=PATIENCE_S,
        silence_s=PATIENCE_S,
        patience_ms=PATIENCE_S * 1e3,
    )


def test_a_video_beyond_the_rate_gets_an_answer_for_every_frame_that_is_let_in(
    config: AgentConfig, tiny_bundle: Path, tmp_path: Path
) -> None:
    """One frame after the other: each refusal is known before the next frame is made, so none is
    a difference to what the service has not got, and none of the rate is spent on such frames."""
    reference, pictures = Reference(tiny_bundle), moving_video(64)
    with (
        Cloud(tiny_bundle, "127.0.0.1:0", "--tokens", tmp_path / "tokens.jsonl") as cloud,
        Agent.open(replace(config, cloud=cloud.address)) as agent,
    ):
        places: list[str] = []

        def goes_on() -> bool:
            picture = pictures[len(places) % len(pictures)]
            answer = agent.infer(picture)
            assert reference.is_right(answer, picture)
            places.append(answer.place)
            return places.count("cloud") >= 2 * RATE

        until(goes_on, "the service lets frames in again and again")
        stats = agent.stats()
    assert places[: RATE - 1] == ["cloud"] * (RATE - 1)
    assert "device" in places
    assert stats.sent_again == 0
    assert (stats.answered_cloud, stats.errors) == (places.count("cloud"), 0)
