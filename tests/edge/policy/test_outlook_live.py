"""What the outlook learns while it runs: rests, heat, and candidates that drifted."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.edge.policy.test_outlook import REST_MS, FakeLink

from isthmus import (
    Candidate,
    ConfigError,
    Manifest,
    answer_bytes,
    left_to_answer,
    open_bundle,
)
from isthmus_edge import AgentConfig
from isthmus_edge.policy.choice import Decision
from isthmus_edge.policy.outlook import Outlook, Sent
from isthmus_edge.policy.vitals import Vitals


@pytest.fixture(scope="module")
def manifest(wide_bundle: Path) -> Manifest:
    return open_bundle(wide_bundle, "device").manifest


@pytest.fixture
def config(wide_bundle: Path) -> AgentConfig:
    return AgentConfig(bundle=wide_bundle)


@pytest.fixture
def outlook(manifest: Manifest, config: AgentConfig) -> Outlook:
    return Outlook(manifest, config)


LINK = FakeLink(kbps=60.0)


def decided(outlook: Outlook) -> Decision:
    decision = outlook.decision_for(None, LINK, None)
    assert decision.candidate.id == "floats"
    return decision


def rests(outlook: Outlook, candidate: Candidate, times: Iterable[float]) -> None:
    for took_ms in times:
        outlook.note_rest(candidate.cut, took_ms)


def test_the_rest_is_the_plans_until_it_was_measured(outlook: Outlook, manifest: Manifest) -> None:
    candidate = manifest.candidate("floats")
    assert outlook.rest_ms(candidate) == REST_MS
    outlook.note_device(candidate, 2 * candidate.figures.device_ms)
    assert outlook.rest_ms(candidate) == 2 * REST_MS
    rests(outlook, candidate, (90.0, 100.0, 110.0))
    assert outlook.rest_ms(candidate) == 100.0
    assert outlook.rest_ms(manifest.local) == 0.0


def patience(outlook: Outlook, decision: Decision, left_ms: float | None, **sent: float) -> float:
    """Of a frame that was sent just now on `LINK`, unless it says otherwise."""
    link = sent.pop("link", LINK)
    told = {"waited_ms": 0.0, "ahead_bytes": 0.0} | sent
    return outlook.patience_ms(decision, link, Sent(left_ms=left_ms, **told))  # type: ignore[arg-type]


def test_the_device_begins_early_enough_for_its_rest(outlook: Outlook) -> None:
    decision = decided(outlook)
    rests(outlook, decision.candidate, [100.0] * 5)
    assert patience(outlook, decision, 150.0) == 50.0
    assert patience(outlook, decision, 150.0, waited_ms=40.0) == 50.0
    assert patience(outlook, decision, 230.0, rests_ahead=1) == 30.0
    rests(outlook, decision.candidate, [80.0, 120.0] * 5)
    assert patience(outlook, decision, 200.0) < 80.0


def test_a_deadline_never_lengthens_patience(outlook: Outlook) -> None:
    decision = decided(outlook)
    assert patience(outlook, decision, 1e6) == patience(outlook, decision, None)


def test_a_frame_never_waits_beyond_what_was_believed_when_it_was_sent(outlook: Outlook) -> None:
    decision = decided(outlook)
    at_most_ms = patience(outlook, decision, None)
    assert patience(outlook, decision, None, waited_ms=at_most_ms - 5) == pytest.approx(5.0)
    assert patience(outlook, decision, None, waited_ms=at_most_ms + 5) == 0.0


def test_a_deadline_that_only_the_cloud_can_meet_is_left_to_it_for_a_while(
    outlook: Outlook,
) -> None:
    """The device would work in vain for every frame, and keep the next one waiting."""
    decision = decided(outlook)
    late_ms = decision.prediction.late_ms
    assert late_ms is not None
    assert late_ms < REST_MS - 2
    assert 0 < patience(outlook, decision, REST_MS - 1) < REST_MS - 1
    assert patience(outlook, decision, late_ms - 1) == 0.0
    assert patience(outlook, decision, late_ms + 1, ahead_bytes=100.0) == 0.0


def test_silence_ends_the_waiting_for_the_cloud(outlook: Outlook) -> None:
    """What is believed by then counts, not what was believed when the frame was sent."""
    decision = decided(outlook)
    slower = FakeLink(kbps=1.0)
    assert patience(outlook, decision, REST_MS - 1) > 0
    assert patience(outlook, decision, REST_MS - 1, link=slower) == 0.0  # type: ignore[arg-type]
    assert outlook.patience_ms(decision, None, Sent(waited_ms=0, ahead_bytes=0, left_ms=1.0)) == 0.0


def test_what_the_user_allows_replaces_the_belief(manifest: Manifest, config: AgentConfig) -> None:
    outlook = Outlook(manifest, replace(config, patience_ms=77.0))
    decision = decided(outlook)
    assert patience(outlook, decision, None) == 77.0
    assert patience(outlook, decision, None, waited_ms=70.0) == 7.0
    assert patience(outlook, decision, REST_MS + 10) == pytest.approx(10.0)
    assert patience(outlook, decision, REST_MS - 1) == 0.0


def test_a_deadline_reaches_the_policy(outlook: Outlook) -> None:
    assert "deadline" not in outlook.decision_for(None, LINK, None).reason
    assert "deadline 90 ms" in outlook.decision_for(None, LINK, None, 90.0).reason
    assert "deadline 90 ms" in outlook.decide(LINK, None, "latency", deadline_ms=90.0).reason


def test_heat_is_passed_on_and_a_battery_that_runs_out_makes_a_saver(outlook: Outlook) -> None:
    def reason() -> str:
        return outlook.decide(LINK, None, "latency").reason

    outlook.note_vitals(Vitals(temperature_c=80.0))
    assert reason().endswith("hot")
    for share, saves in ((0.12, False), (0.09, True), (0.12, True), (0.16, False), (None, False)):
        outlook.note_vitals(Vitals(battery_share=share))
        assert reason().endswith("saver") is saves


def test_who_asked_to_save_goes_on_saving(manifest: Manifest, config: AgentConfig) -> None:
    outlook = Outlook(manifest, replace(config, power="saver"))
    outlook.note_vitals(Vitals(battery_share=0.9))
    assert outlook.decide(LINK, None, "latency").reason.endswith("saver")


def test_a_head_that_answers_in_part_waits_for_less(
    manifest: Manifest, config: AgentConfig
) -> None:
    """The outputs that it computed do not come back."""
    known = tuple(spec.name for spec in manifest.outputs)
    cuts = tuple(
        msgspec.structs.replace(cut, answers=known) if cut.id == "floats" else cut
        for cut in manifest.cuts
    )
    partly = msgspec.structs.replace(manifest, cuts=cuts)
    floats = manifest.candidate("floats")
    whole_ms, part_ms = (
        Outlook(m, config).decision_for(floats, LINK, None).prediction.latency_ms
        for m in (manifest, partly)
    )
    size = answer_bytes(left_to_answer(manifest.outputs, manifest.cut_of(floats).answers), 0)
    assert size > 0
    assert whole_ms - part_ms == pytest.approx(LINK.estimate().transfer_ms(size))


def rung_in_use(outlook: Outlook) -> tuple[str, int]:
    candidate = outlook.decision_for(None, LINK, "floats").candidate
    return candidate.id, candidate.chosen


def test_a_candidate_that_drifted_goes_on_at_a_finer_rung_then_others_take_over(
    outlook: Outlook,
) -> None:
    assert rung_in_use(outlook) == ("floats", 2)
    outlook.distrust("floats", 3)  # coarser than any that is used
    assert rung_in_use(outlook) == ("floats", 2)
    outlook.distrust("floats", 1)
    assert rung_in_use(outlook) == ("floats", 0)
    decision = outlook.decision_for(None, LINK, "floats")
    assert outlook.at_best_rung(decision, LINK, 1.0).candidate.chosen == 0
    outlook.distrust("floats", 0)
    assert rung_in_use(outlook)[0] != "floats"


def test_when_everything_drifted_the_device_answers(outlook: Outlook, manifest: Manifest) -> None:
    for candidate in manifest.candidates:
        outlook.distrust(candidate.id, 0)
    assert outlook.decision_for(None, LINK, "floats").candidate.is_local


def test_who_is_pinned_stays_pinned(outlook: Outlook, manifest: Manifest) -> None:
    outlook.distrust("floats", 0)
    pinned = manifest.candidate("floats")
    assert outlook.decision_for(pinned, LINK, None).candidate is pinned


def test_only_what_the_plan_has_can_be_distrusted(outlook: Outlook) -> None:
    with pytest.raises(ConfigError, match="no candidate 'other'"):
        outlook.distrust("other", 0)
    with pytest.raises(ConfigError, match=r"'floats' has no rung 4 .*0, 1, 2, 3"):
        outlook.distrust("floats", 4)
