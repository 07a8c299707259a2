"""Floors and rungs: what the policy compares, and which rung a frame takes on a given link."""

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from isthmus import Candidate, Manifest, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import AgentConfig, LinkEstimate
from isthmus_edge.policy.choice import Decision
from isthmus_edge.policy.outlook import Outlook
from isthmus_edge.policy.rate import GOOD_FRAMES

AMPLE_MS = 10_000.0
REST_MS = 370.0  # what the device needs behind the cut `floats`, by the plan


@dataclass
class FakeLink:
    """A link of known speed: 20 ms there and back."""

    kbps: float = 100.0
    queue_ms: float = 0.0
    link_queue_ms: float = 0.0

    @property
    def link_queue_bytes(self) -> float:
        return self.link_queue_ms * self.kbps / 8

    def estimate(self) -> LinkEstimate:
        return LinkEstimate(bandwidth_bps=self.kbps * 1e3, rtt_ms=20.0)


@pytest.fixture(scope="module")
def manifest(wide_bundle: Path) -> Manifest:
    return open_bundle(wide_bundle, "device").manifest


@pytest.fixture
def config(wide_bundle: Path) -> AgentConfig:
    return AgentConfig(bundle=wide_bundle)


def decided(outlook: Outlook, link: FakeLink) -> Candidate:
    return outlook.decide(link, None, "latency").candidate


def rungs(outlook: Outlook, link: FakeLink, left_ms: float | None, frames: int = 1) -> list[int]:
    """The rung of each of so many frames, whose sizes are the plan's."""
    found = []
    for _ in range(frames):
        decision = outlook.decision_for(None, link, "floats")
        assert decision.candidate.id == "floats"
        candidate = outlook.at_best_rung(decision, link, left_ms).candidate
        found.append(candidate.chosen)
        note_size(outlook, candidate, candidate.figures.payload_bytes)
    return found


def note_size(
    outlook: Outlook, candidate: Candidate, size: int, mark: int = 0, reference: int = 0
) -> None:
    frame = pb.Frame(
        candidate=candidate.id,
        rung=candidate.chosen,
        payloads=[pb.Payload(data=bytes(size))],
        mark=mark,
        reference=reference,
    )
    outlook.note_size(frame)


@pytest.mark.parametrize(("floor", "rung"), [(None, 2), (0.98, 1), (0.995, 0), (0.85, 3)])
def test_the_policy_compares_candidates_at_the_coarsest_rung_above_the_floor(
    manifest: Manifest, config: AgentConfig, floor: float | None, rung: int
) -> None:
    outlook = Outlook(manifest, replace(config, agreement_floor=floor))
    chosen = decided(outlook, FakeLink(kbps=60.0))
    assert (chosen.id, chosen.chosen) == ("floats", rung)


def with_agreement(candidate: Candidate, *agreements: float) -> Candidate:
    figures = [
        msgspec.structs.replace(rung.figures, agreement=agreement)
        for rung, agreement in zip(candidate.rungs, agreements, strict=True)
    ]
    steps = zip(candidate.rungs, figures, strict=True)
    return msgspec.structs.replace(
        candidate, rungs=tuple(msgspec.structs.replace(r, figures=f) for r, f in steps)
    )


def test_a_candidate_whose_finest_rung_is_below_the_floor_is_not_chosen(
    manifest: Manifest, config: AgentConfig
) -> None:
    """Though a coarser one of it is above: that is luck."""
    candidates = [
        with_agreement(c, 0.9, 0.97, 0.96, 0.95) if c.id == "floats" else c
        for c in manifest.candidates
    ]
    poorer = msgspec.structs.replace(manifest, candidates=tuple(candidates))
    assert decided(Outlook(poorer, config), FakeLink()).id != "floats"


def test_where_nothing_meets_the_floor_the_finest_rung_of_the_best_is_taken(
    manifest: Manifest, config: AgentConfig
) -> None:
    candidates = [
        with_agreement(c, *(0.9 if c.id == "pair" else 0.8 for _ in c.rungs))
        for c in manifest.candidates
    ]
    poorer = msgspec.structs.replace(manifest, candidates=tuple(candidates))
    outlook = Outlook(poorer, config)
    chosen = decided(outlook, FakeLink())
    assert (chosen.id, chosen.chosen) == ("pair", 0)
    decision = outlook.decide(FakeLink(), None, "latency")
    assert outlook.at_best_rung(decision, FakeLink(), None).candidate.chosen == 0


def test_the_rung_follows_the_deadline(manifest: Manifest, config: AgentConfig) -> None:
    """Finer one by one while there is time, coarser at once when there is not."""
    outlook, link = Outlook(manifest, config), FakeLink()
    climb = rungs(outlook, link, AMPLE_MS, 3 * GOOD_FRAMES)
    assert climb[0] == 2
    assert climb[-1] == 0
    assert climb == sorted(climb, reverse=True)
    # 26.5 ms of computing, 20 ms round trip, and the rest for about 380 of 590 bytes.
    short_ms = REST_MS + 46.5 + (380 + 360) * 8 / (100 * 0.85)
    assert rungs(outlook, link, short_ms) == [2]
    assert outlook.rate_advice is None


def test_a_deadline_that_no_allowed_rung_meets_gives_the_coarsest_and_an_advice(
    manifest: Manifest, config: AgentConfig
) -> None:
    outlook, link = Outlook(manifest, config), FakeLink()
    assert rungs(outlook, link, REST_MS + 50.0) == [2]
    assert outlook.rate_advice is not None
    assert rungs(outlook, link, AMPLE_MS) == [2]
    assert outlook.rate_advice is None


def test_who_sends_nothing_gets_no_advice(manifest: Manifest, config: AgentConfig) -> None:
    outlook, link = Outlook(manifest, config), FakeLink()
    rungs(outlook, link, REST_MS + 50.0)
    decision = outlook.decision_for(None, None, "floats")
    assert decision.candidate.is_local
    outlook.at_best_rung(decision, link, None)
    assert outlook.rate_advice is None


def test_the_device_gets_its_part_of_the_deadline(manifest: Manifest, config: AgentConfig) -> None:
    """What comes back too late for the device to help itself is too late."""
    outlook, link = Outlook(manifest, config), FakeLink()
    rungs(outlook, link, REST_MS - 1.0)
    assert outlook.rate_advice is not None


@pytest.mark.parametrize("where", ["link_queue_ms", "queue_ms"])
def test_waiting_shortens_what_a_frame_may_take(
    manifest: Manifest, config: AgentConfig, where: str
) -> None:
    outlook, link = Outlook(manifest, config), FakeLink()
    assert rungs(outlook, link, AMPLE_MS, 3 * GOOD_FRAMES)[-1] == 0
    # Longer, and the policy would take another candidate.
    setattr(link, where, 60.0)
    assert rungs(outlook, link, REST_MS + 46.5 + 95.0) == [2]


def test_without_rate_control_the_rung_is_the_coarsest_above_the_floor(
    manifest: Manifest, config: AgentConfig
) -> None:
    outlook = Outlook(manifest, replace(config, rate_control=False))
    assert set(rungs(outlook, FakeLink(), AMPLE_MS, 3 * GOOD_FRAMES)) == {2}


def test_the_prediction_is_that_of_the_rung(manifest: Manifest, config: AgentConfig) -> None:
    outlook, link = Outlook(manifest, config), FakeLink()
    decision = outlook.decision_for(None, link, None)
    rungs(outlook, link, AMPLE_MS, 3 * GOOD_FRAMES)
    finer = outlook.at_best_rung(decision, link, AMPLE_MS)
    more_bytes = finer.candidate.figures.payload_bytes - decision.candidate.figures.payload_bytes
    expected_ms = decision.prediction.latency_ms + link.estimate().transfer_ms(more_bytes)
    assert more_bytes > 0
    assert finer.prediction.latency_ms == pytest.approx(expected_ms)


def test_a_pinned_candidate_stays_at_its_rung(manifest: Manifest, config: AgentConfig) -> None:
    outlook = Outlook(manifest, config)
    finest = msgspec.structs.replace(manifest.candidate("floats"), chosen=0)
    decision = outlook.decision_for(finest, FakeLink(), None)
    assert decision.candidate.chosen == 0
    assert decision.reason == "pinned"


def fits_after(outlook: Outlook, *sizes: tuple[int, int, int]) -> bool:
    """Whether a frame of `floats` fits 300 bytes after frames of size, mark and reference."""
    link = FakeLink()
    candidate = outlook.decision_for(None, link, None).candidate
    for size, mark, reference in sizes:
        note_size(outlook, candidate, size, mark, reference)
    left_ms = REST_MS + 46.5 + (300 + 360) * 8 / (100 * 0.85)
    decision = Decision(candidate, outlook.decision_for(None, link, None).prediction, "")
    outlook.at_best_rung(decision, link, left_ms)
    return outlook.rate_advice is None


STATELESS, KEY, DIFFERENCE = (600, 0, 0), (600, 1, 0), (100, 2, 1)


@pytest.mark.parametrize(
    ("frames", "fits"),
    [
        ([], True),
        ([STATELESS], False),
        ([STATELESS, KEY, DIFFERENCE, DIFFERENCE, DIFFERENCE], True),
        ([DIFFERENCE, DIFFERENCE, KEY], True),
        ([DIFFERENCE, DIFFERENCE, STATELESS, KEY], True),
        ([DIFFERENCE, STATELESS, STATELESS, STATELESS, STATELESS], False),
    ],
    ids=["nothing", "large", "video", "key frame", "other rung", "scene after scene"],
)
def test_sizes_are_learned_but_a_key_frame_among_differences_is_no_change_of_scene(
    manifest: Manifest, config: AgentConfig, frames: list[tuple[int, int, int]], fits: bool
) -> None:
    assert fits_after(Outlook(manifest, config), *frames) is fits
