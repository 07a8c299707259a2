"""A plan is a valid manifest whose files exist, whose candidates can be served, and its reasons."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.partitioner.conftest import QUICK, Planned, ignore

from isthmus import (
    Candidate,
    ConfigError,
    Picture,
    Raw,
    Symbols,
    decode_manifest,
    encode_manifest,
    sha256_of,
)
from isthmus_partitioner import (
    ModelCard,
    Network,
    PictureSets,
    Plan,
    PlanConfig,
    Profile,
    Quantised,
    make_plan,
    profile,
)
from isthmus_partitioner.runtime import open_session, run_batches


def test_a_plans_manifest_is_valid(planned: Planned) -> None:
    manifest = planned.plan.manifest
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest


def test_a_plan_can_be_written_and_read_again(planned: Planned) -> None:
    """Steps that were done are not done again only if nothing is lost on the way."""
    assert msgspec.json.decode(msgspec.json.encode(planned.plan), type=Plan) == planned.plan


def test_every_plan_has_local_raw_and_the_picture_formats(planned: Planned) -> None:
    found = {c.id: c for c in planned.plan.manifest.candidates}
    whole = {"local", "input-raw", "input-jpeg", "input-webp", "input-lossless"}
    assert whole <= found.keys()
    assert found["local"].kept
    assert found["input-jpeg"].kept
    qualities = [rung.encodings for rung in found["input-jpeg"].rungs]
    assert qualities == [(Picture(format="jpeg", quality=q),) for q in (95, 85)]


def test_what_is_sent_raw_is_the_reference_itself(planned: Planned) -> None:
    raw = planned.plan.manifest.candidate("input-raw")
    assert raw.encodings == (Raw(),)
    assert (raw.figures.agreement, raw.figures.kl) == (1.0, 0.0)
    assert raw.figures.payload_bytes == planned.plan.manifest.input.nbytes


def test_a_slow_device_is_offered_cuts(planned: Planned) -> None:
    """At 500 ms for the whole network and any agreement, some cut is worth keeping."""
    kept = planned.plan.manifest.kept
    assert [c for c in kept if c.encodings and isinstance(c.encodings[0], Symbols)]


def test_a_cut_has_one_candidate_with_a_rung_for_each_step(planned: Planned) -> None:
    cuts = [c for c in planned.plan.candidates if c.cut not in {"input", "local"}]
    assert len({c.cut for c in cuts}) == len(cuts)
    for candidate in cuts:
        assert candidate.id == candidate.cut
        assert 1 <= len(candidate.rungs) <= len(QUICK.steps)


def test_ladders_are_ordered_by_bytes(planned: Planned) -> None:
    for candidate in planned.plan.candidates:
        sizes = [rung.figures.payload_bytes for rung in candidate.rungs]
        assert sizes == sorted(set(sizes), reverse=True)


def test_a_candidate_begins_with_the_coarsest_rung_above_the_floor(planned: Planned) -> None:
    floor = planned.plan.manifest.agreement_floor
    for candidate in planned.plan.candidates:
        assert candidate.chosen == candidate.rung_for(floor)


def test_every_cut_of_the_bundle_has_a_kept_candidate(planned: Planned) -> None:
    manifest = planned.plan.manifest
    used = {candidate.cut for candidate in manifest.kept}
    assert {cut.id for cut in manifest.cuts} <= used | {"input", "local"}
    assert {c.cut for c in planned.plan.rejected}.isdisjoint(cut.id for cut in manifest.cuts)


def test_the_device_takes_as_long_as_it_was_said_to(planned: Planned) -> None:
    assert planned.plan.manifest.local.figures.edge_ms == pytest.approx(500)


def test_every_candidate_has_its_reason(planned: Planned) -> None:
    for candidate in planned.plan.candidates:
        assert candidate.reason.split()[0] in {"least", "most", "never", "below", "always"}


def test_every_built_cut_has_a_note_of_its_channels(planned: Planned) -> None:
    built = {c.cut for c in planned.plan.candidates} - {"input", "local"}
    notes = {note.cut: note for note in planned.plan.transforms}
    assert notes.keys() == built
    for note in notes.values():
        if note.bottleneck is not None:
            assert note.bottleneck.is_kept == note.transform.startswith("PCA")


def test_the_files_are_those_of_the_manifest_and_no_others(planned: Planned) -> None:
    listed = {entry.path: entry for entry in planned.plan.manifest.files}
    there = {p.relative_to(planned.parts).as_posix() for p in planned.parts.rglob("*.*")}
    assert there == listed.keys()
    for name, entry in listed.items():
        assert (planned.parts / name).stat().st_size == entry.size_bytes
        assert sha256_of(planned.parts / name) == entry.sha256


def assert_served_as_the_figures_say(planned: Planned, model: Path, sets: PictureSets) -> None:
    """Head segments, stage, wire, tail: as device and cloud do it, from the manifest alone."""
    asked = sets.evaluation
    reference = run_batches(open_session(model, threads=1), {"picture": asked})[0]
    for candidate in planned.plan.manifest.candidates:
        for index, rung in enumerate(candidate.rungs):
            served = planned.bundle.serve(candidate, index, asked)
            share = np.mean(served.answers.argmax(axis=1) == reference.argmax(axis=1))
            assert share == pytest.approx(rung.figures.agreement, abs=1.01 / len(asked))
            median = np.median(served.payload_bytes or [0])
            assert rung.figures.payload_bytes == pytest.approx(median, abs=1)


def test_every_rung_is_served_from_the_files_as_the_figures_say(
    planned: Planned, network: Network, sets: PictureSets
) -> None:
    assert_served_as_the_figures_say(planned, network.path, sets)


@pytest.fixture(scope="module")
def profiled(network: Network, quantised: Quantised, sets: PictureSets) -> Profile:
    return profile(network, quantised, sets, ignore)


PlanOf = Callable[[PlanConfig, ModelCard], Plan]


@pytest.fixture
def plan_of(
    network: Network, quantised: Quantised, profiled: Profile, sets: PictureSets, tmp_path: Path
) -> PlanOf:
    """A plan with settings and labels of one's own."""
    return lambda config, card: make_plan(
        network,
        quantised,
        profiled,
        sets,
        config=config,
        card=card,
        folder=tmp_path,
        progress=ignore,
    )


@pytest.fixture
def fp32_plan(
    network: Network, quantised: Quantised, profiled: Profile, sets: PictureSets, tmp_path: Path
) -> Callable[[], Planned]:
    """A plan of which every cut has floats at its boundary."""
    fp32 = next(variant for variant in quantised.variants if variant.int8_from is None)
    head = replace(quantised, head=network.model, chosen=fp32)

    def plan() -> Planned:
        made = make_plan(
            network,
            head,
            profiled,
            sets,
            config=replace(QUICK, max_cuts=9),
            card=ModelCard("fp32"),
            folder=tmp_path,
            progress=ignore,
        )
        return Planned(made, tmp_path)

    return plan


def test_cuts_of_an_fp32_head_have_stages_that_quantise(
    fp32_plan: Callable[[], Planned], network: Network, sets: PictureSets
) -> None:
    planned = fp32_plan()
    manifest = planned.plan.manifest
    cuts = [cut for cut in manifest.cuts if 0 < cut.depth < len(manifest.segments)]
    assert cuts
    for (tensor,) in (cut.tensors for cut in cuts):
        assert tensor.boundary.data_type == "float32"
        assert tensor.quantisation is None
        assert tensor.stage is not None
    assert manifest.local.precision == "fp32"
    assert manifest.local.figures.kl < 1e-6
    assert_served_as_the_figures_say(planned, network.path, sets)


def test_a_cut_that_is_not_kept_leaves_neither_segment_nor_stage_nor_tail(
    fp32_plan: Callable[[], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_whole(measured: Sequence[Candidate], _floor: float) -> tuple[Candidate, ...]:
        return tuple(msgspec.structs.replace(c, kept=c.cut == "input") for c in measured)

    monkeypatch.setattr("isthmus_partitioner.planning.plan.select", only_whole)
    planned = fp32_plan()
    there = {path.relative_to(planned.parts).as_posix() for path in planned.parts.rglob("*.onnx")}
    assert there == {"device/segment-0.onnx", "cloud/tail-input.onnx"}
    assert there == {entry.path for entry in planned.plan.manifest.files}
    assert planned.plan.rejected


def test_without_cuts_the_plan_is_one_segment_and_whole_pictures(plan_of: PlanOf) -> None:
    manifest = plan_of(replace(QUICK, max_cuts=0), ModelCard("uncut")).manifest
    assert len(manifest.segments) == 1
    assert [(cut.id, cut.depth) for cut in manifest.cuts] == [("input", 0), ("local", 1)]
    assert not manifest.has_labels


def test_without_a_bottleneck_none_is_tried(plan_of: PlanOf) -> None:
    notes = plan_of(QUICK, ModelCard("plain")).transforms
    assert notes
    assert {note.bottleneck for note in notes} == {None}


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("a", "b"), "2 labels for 5 classes"), (("a", "b", "c", "d", "e\nf"), "more than one line")],
)
def test_labels_that_do_not_fit_are_refused(
    labels: tuple[str, ...], message: str, plan_of: PlanOf
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(QUICK, ModelCard("mislabelled", labels))
