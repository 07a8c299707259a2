"""What a device's story says about the moment in which its link died."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from tests.bench.adapt.made_up import SCENE
from tests.tinybundle import build_tiny_bundle

from isthmus import open_bundle
from isthmus_bench.adapt.lane import Lane
from isthmus_bench.adapt.moments import (
    ColdStart,
    DeadLink,
    ForcedSwitches,
    Moments,
    Pipelining,
    dead_link_of,
    measured_moments,
)
from isthmus_bench.adapt.runs import Policy
from isthmus_bench.adapt.subjects import Built
from isthmus_bench.relay import LinkShape, Relay

BEGIN = 1000.0


def frame(tick_s: float, latency_ms: float | None, place: str) -> dict[str, Any]:
    return {"tick_s": tick_s, "latency_ms": latency_ms, "candidate": "cut", "place": place}


STORY: dict[str, Any] = {
    "frames": [
        frame(0.0, 100.0, "cloud"),
        frame(0.5, 100.0, "cloud"),
        frame(1.0, None, "nowhere"),
        frame(1.5, 700.0, "device"),
        frame(2.0, 150.0, "device"),
    ],
    "states": [[BEGIN, "up"], [BEGIN + 2.5, "down"], [BEGIN + 3.0, "up"]],
}


def story(**others: Any) -> DeadLink:
    return dead_link_of("net", "half-open", STORY | others, BEGIN, BEGIN + 1.2)


def test_a_death_is_known_when_the_link_is_no_longer_called_up() -> None:
    assert story().detect_s == pytest.approx(1.3)


def test_the_device_answers_first_with_whatever_frame_ends_first() -> None:
    # The frame of 1.5 s ends at 2.2 s, the one of 2.0 s at 2.15 s.
    assert story().local_answer_ms == pytest.approx(950.0)
    assert (story().was_remote, story().candidate) == (True, "cut")


def test_a_death_that_nobody_noticed_says_so() -> None:
    found = story(states=[[BEGIN, "up"]], frames=STORY["frames"][:3])
    assert (found.detect_s, found.local_answer_ms) == (None, None)


def test_a_device_that_answered_by_itself_before_tells_nothing_about_its_first_answer() -> None:
    found = story(frames=[frame(0.5, 100.0, "device"), frame(1.0, 400.0, "device")])
    assert not found.was_remote


def moments(*dead_links: DeadLink) -> Moments:
    return Moments(
        model="net",
        dead_links=dead_links,
        cold_starts=(
            ColdStart(kind="refused", open_ms=1.0, answer_ms=20.0),
            ColdStart(kind="silent", open_ms=5.0, answer_ms=30.0),
        ),
        switches=ForcedSwitches(fps=5.0, mbps=50.0, rtt_ms=40.0, candidates=(), gaps_ms=()),
        pipelining=Pipelining(
            candidate="cut",
            title="split cut",
            edge_factor=1.0,
            mbps=50.0,
            rtt_ms=50.0,
            alone_fps=10.0,
            pipelined_fps=25.0,
        ),
    )


def test_the_longest_of_all_trials_counts() -> None:
    links = [replace(story(), detect_s=seconds, local_answer_ms=ms)
             for seconds, ms in ((1.0, 500.0), (1.5, 300.0))]  # fmt: skip
    found = moments(*links)
    assert (found.detect_dead_s, found.first_local_answer_ms) == (1.5, 500.0)
    assert found.cold_start_answer_ms == 30.0
    assert found.pipelining is not None
    assert found.pipelining.speedup == 2.5


def test_one_death_that_was_not_noticed_leaves_no_figure() -> None:
    assert moments(story(), replace(story(), detect_s=None)).detect_dead_s is None


def test_first_answers_count_only_where_the_cloud_answered_before() -> None:
    idle = replace(story(), was_remote=False, local_answer_ms=1e6)
    assert moments(story(), idle).first_local_answer_ms == pytest.approx(950.0)
    assert moments(idle).first_local_answer_ms is None


class Link(Relay):
    """Only looks like one."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:1"

    def shape(self, shape: LinkShape) -> None:
        pass

    def half_open(self, on: bool = True) -> None:
        pass


class ScriptedLane(Lane):
    """Notices a dead link after `DETECT_S` of its model; its cameras began long ago."""

    DETECT_S = {"quick": 1.0, "slow": 50.0}  # noqa: RUF012 - never changed

    def __enter__(self) -> Self:
        self.relay = Link()
        self.cloud = "127.0.0.1:1"
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def open(self, policy: Policy, mbps: float, rtt_ms: float) -> None:
        pass

    def start(self, shot: Mapping[str, Any]) -> float:
        assert "turns" not in shot, "there is nothing to switch between"
        return time.monotonic() - 1e4

    def finish(self) -> dict[str, Any]:
        noticed_at = time.monotonic() + self.DETECT_S[self._built.model]
        return {"frames": [frame(0.0, 100.0, "cloud")], "states": [[noticed_at, "down"]]}

    def cold_start(self, cloud: str) -> dict[str, Any]:
        return {"open_ms": 1.0, "answer_ms": 2.0}


def local_only(name: str, folder: Path) -> Built:
    """A plan that keeps only the whole network on the device."""
    bundle = open_bundle(build_tiny_bundle(folder), "device")
    candidates = tuple(
        msgspec.structs.replace(c, kept=c.is_local) for c in bundle.manifest.candidates
    )
    manifest = msgspec.structs.replace(bundle.manifest, candidates=candidates)
    return Built(name, replace(bundle, manifest=manifest), folder, 1, 0)


@pytest.fixture
def measured(tmp_path: Path) -> Moments:
    subjects = [(local_only(name, tmp_path), SCENE) for name in ("quick", "slow")]
    return measured_moments(subjects, 2, lambda _: None, ScriptedLane)


def test_links_die_under_every_model_and_the_longest_of_all_counts(measured: Moments) -> None:
    assert [(link.model, link.kind) for link in measured.dead_links] == [
        ("quick", "black hole"),
        ("quick", "half-open"),
        ("slow", "black hole"),
        ("slow", "half-open"),
    ]
    assert measured.model == "quick"
    assert measured.detect_dead_s is not None
    assert measured.detect_dead_s >= ScriptedLane.DETECT_S["slow"]


def test_a_plan_that_keeps_only_the_device_has_no_switches_and_no_pipelining(
    measured: Moments,
) -> None:
    assert measured.switches.gaps_ms == ()
    assert measured.pipelining is None
