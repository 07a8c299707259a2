"""A plan is a valid manifest whose files exist, whose candidates can be served, and its reasons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK, Planned, ignore
from tests.partitioner.profiles.test_node_times import made_up
from tests.partitioner.workshop import branched_sets, made_up_costs

from isthmus import (
    ConfigError,
    Picture,
    Raw,
    Symbols,
    decode_manifest,
    encode_manifest,
    sha256_of,
)
from isthmus_partitioner import (
    Goals,
    InfeasibleError,
    ModelCard,
    Network,
    Plan,
    PlanConfig,
    SampleSets,
)
from isthmus_partitioner.agreement.metrics import Answers, Closeness, Metric, metric_for
from isthmus_partitioner.planning.plan import Groundwork, make_plan
from isthmus_partitioner.planning.prices import DEFAULT_PRICES
from isthmus_partitioner.planning.records import PlanRecord
from isthmus_partitioner.planning.selection import Standing, standing_of
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles.profile import Profile, profile_of
from isthmus_partitioner.runtime import open_session, run_items


def test_a_plans_manifest_is_valid(planned: Planned) -> None:
    manifest = planned.plan.manifest
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest


def test_a_plan_can_be_written_and_read_again(planned: Planned) -> None:
    """Steps that were done are not done again only if nothing is lost on the way."""
    assert msgspec.json.decode(msgspec.json.encode(planned.plan), type=Plan) == planned.plan


def test_profile_and_plan_are_in_the_bundle_for_who_wants_to_know(planned: Planned) -> None:
    records = {e.path: e for e in planned.plan.manifest.files if e.side == "record"}
    assert records.keys() == {"record/plan.json", "record/profile.json"}
    data = {name: (planned.parts / name).read_bytes() for name in records}
    assert msgspec.json.decode(data["record/plan.json"], type=PlanRecord) == planned.plan.record
    profile = msgspec.json.decode(data["record/profile.json"], type=Profile)
    assert profile.model_sha256 == planned.plan.manifest.model_sha256


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
    assert (raw.figures.agreement, raw.figures.divergence) == (1.0, 0.0)
    (spec,) = planned.plan.manifest.inputs
    assert raw.figures.payload_bytes == spec.nbytes


def test_a_slow_device_may_do_a_part_of_the_work(planned: Planned) -> None:
    """At 500 ms for the whole network, some cut takes the device less than doing it all."""
    local = planned.plan.manifest.local.figures
    cuts = [c for c in planned.plan.candidates if any(isinstance(e, Symbols) for e in c.encodings)]
    assert [c for c in cuts if c.figures.edge_ms < local.edge_ms / 2]


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


def test_every_agreement_has_its_interval(planned: Planned) -> None:
    for candidate in planned.plan.candidates:
        for figures in (rung.figures for rung in candidate.rungs):
            assert 0 <= figures.agreement_low <= figures.agreement <= figures.agreement_high <= 1


def test_every_cut_of_the_bundle_has_a_kept_candidate(planned: Planned) -> None:
    manifest = planned.plan.manifest
    used = {candidate.cut for candidate in manifest.kept}
    assert {cut.id for cut in manifest.cuts} <= used | {"input", "local"}
    rejected = {c.cut for c in planned.plan.record.rejected} - {"local"}
    assert rejected.isdisjoint(cut.id for cut in manifest.cuts)


def test_every_candidate_has_its_reason(planned: Planned) -> None:
    for candidate in planned.plan.candidates:
        assert candidate.reason
        assert "not yet chosen" not in candidate.reason
    assert planned.plan.record.why


def test_every_built_cut_was_foreseen_and_is_compared_with_that(planned: Planned) -> None:
    record = planned.plan.record
    built = {c.cut for c in planned.plan.candidates} - {"input", "local"}
    assert built
    assert {gap.cut for gap in record.gaps} == built
    assert {forecast.cut for forecast in record.forecasts} - {None} == built
    measured = {c.cut: c.figures.edge_ms for c in planned.plan.candidates}
    for gap in record.gaps:
        assert gap.measured_edge_ms == measured[gap.cut]
        assert gap.predicted_edge_ms > 0


def test_every_built_cut_has_a_note_of_its_channels(planned: Planned) -> None:
    built = {c.cut for c in planned.plan.candidates} - {"input", "local"}
    notes = {note.cut: note for note in planned.plan.record.transforms}
    assert notes.keys() == built
    for note in notes.values():
        if note.bottleneck is not None:
            assert note.bottleneck.is_kept == note.transforms[0].startswith("PCA")


def test_the_files_are_those_of_the_manifest_and_no_others(planned: Planned) -> None:
    listed = {entry.path: entry for entry in planned.plan.manifest.files}
    there = {p.relative_to(planned.parts).as_posix() for p in planned.parts.rglob("*.*")}
    assert there == listed.keys()
    for name, entry in listed.items():
        assert (planned.parts / name).stat().st_size == entry.size_bytes
        assert sha256_of(planned.parts / name) == entry.sha256


def assert_served_as_the_figures_say(
    planned: Planned, network: Network, sets: SampleSets, metric: Metric
) -> None:
    """Head segments, stages, wire, tail: as device and cloud do it, from the manifest alone."""
    asked, bundle = sets.evaluation, planned.bundle
    whole = open_session(network.path, threads=1)
    reference = run_items(whole, asked.feeds(network.inputs), network.outputs)
    for candidate in planned.plan.manifest.candidates:
        for index, rung in enumerate(candidate.rungs):
            served = bundle.serve(candidate, index, asked)
            close = metric.closeness(reference, served.answers, asked.sources)
            # Rounding in another number of threads may turn one answer.
            assert close.agreement == pytest.approx(rung.figures.agreement, abs=1.01 / len(asked))
            median = np.median(served.payload_bytes)
            assert rung.figures.payload_bytes == pytest.approx(median, abs=1)


def test_every_rung_is_served_from_the_files_as_the_figures_say(
    planned: Planned, network: Network, sets: SampleSets, metric: Metric
) -> None:
    assert_served_as_the_figures_say(planned, network, sets, metric)


Changes = Mapping[str, object]
PlanOf = Callable[..., Planned]


@pytest.fixture
def plan_of(
    network: Network, quantised: Precision, sets: SampleSets, metric: Metric, tmp_path: Path
) -> PlanOf:
    """A plan with node costs that were made up, and whatever else is asked for."""

    def plan(config: PlanConfig = QUICK, **changes: object) -> Planned:
        costs = made_up_costs(network, slower=4)
        profile = profile_of(network, costs, made_up(network), "a cloud", "head")
        card = ModelCard("tiny")
        known = Groundwork(network, quantised, profile, costs, sets, metric, card)
        known = replace(known, **changes)  # type: ignore[arg-type]
        return Planned(make_plan(known, config, tmp_path, ignore), tmp_path)

    return plan


@pytest.mark.usefixtures("steady_times")
def test_a_slow_device_is_offered_cuts(plan_of: PlanOf) -> None:
    """At any agreement, some cut is worth keeping."""
    kept = plan_of().plan.manifest.kept
    assert [c for c in kept if c.encodings and isinstance(c.encodings[0], Symbols)]


def chosen(known: Precision, kind: str) -> Precision:
    """As if the search had chosen this."""
    point = next(point for point in known.tried if point.kind == kind)
    assert known.int8 is not None
    return replace(known, chosen=point, head=known.int8)


def test_cuts_of_an_fp32_head_have_stages_that_quantise(
    plan_of: PlanOf, network: Network, sets: SampleSets, metric: Metric, quantised: Precision
) -> None:
    planned = plan_of(replace(QUICK, max_cuts=9), precision=chosen(quantised, "fp32"))
    manifest = planned.plan.manifest
    cuts = [cut for cut in manifest.cuts if cut.id not in {"input", "local"}]
    assert cuts
    for tensor in (tensor for cut in cuts for tensor in cut.tensors):
        assert tensor.boundary.data_type == "float32"
        assert tensor.quantisation is None
        assert tensor.stage is not None
    assert manifest.local.precision == "fp32"
    assert manifest.local.figures.divergence < 1e-6
    assert_served_as_the_figures_say(planned, network, sets, metric)


def test_a_device_of_integers_gets_int8_heads_alone(plan_of: PlanOf, quantised: Precision) -> None:
    config = replace(QUICK, integer_only=True)
    planned = plan_of(config, precision=chosen(quantised, "int8"))
    assert [chain.precision for chain in planned.plan.manifest.chains] == ["int8"]
    assert {c.precision for c in planned.plan.candidates} == {"none", "int8"}
    assert planned.plan.manifest.local.precision == "int8"


def test_the_precision_that_local_does_not_have_is_told_with_its_time(
    plan_of: PlanOf, quantised: Precision
) -> None:
    planned = plan_of(precision=chosen(quantised, "int8"))
    local = planned.plan.manifest.local
    (other,) = (c for c in planned.plan.record.rejected if c.cut == "local")
    assert {local.precision, other.precision} == {"int8", "fp32"}
    assert other.reason.startswith("takes ")
    assert "times as long as local (int8)" in other.reason
    assert f"{other.id} is out: {other.reason}" in planned.plan.record.why


class Exact:
    """Answers agree where they are the same to five digits: int8 never is."""

    name = "exact"

    def closeness(self, reference: Answers, answers: Answers, _: Sequence[str] = ()) -> Closeness:
        same = np.ones(len(next(iter(reference.values()))), bool)
        for name, rows in reference.items():
            close = np.isclose(answers[name], rows, atol=1e-5)
            same &= close.reshape(len(rows), -1).all(axis=1)
        share = float(same.mean())
        return Closeness(share, share, share, 1 - share)


def test_the_precision_that_answers_too_differently_to_stay_is_told_with_the_floor(
    plan_of: PlanOf, quantised: Precision
) -> None:
    config = replace(QUICK, goals=Goals(min_agreement=0.9))
    planned = plan_of(config, precision=chosen(quantised, "int8"), metric=Exact())
    local = planned.plan.manifest.local
    (other,) = (c for c in planned.plan.record.rejected if c.cut == "local")
    assert {local.precision, other.precision} == {"fp32", "int8"}
    assert local.precision == "fp32"
    assert other.reason.startswith("below the agreement floor 0.9: 0.")
    assert "times as long as local (fp32)" in other.reason
    assert f"{other.id} is out: {other.reason}" in planned.plan.record.why


def test_goals_prices_and_wins_are_on_record_as_figures(planned: Planned) -> None:
    manifest, record = planned.plan.manifest, planned.plan.record
    assert record.goals.objectives == ("latency", "throughput")
    assert record.goals.min_agreement == manifest.agreement_floor
    assert record.prices == DEFAULT_PRICES
    winners = {win.candidate for win in record.wins}
    assert winners
    assert winners == {c.id for c in manifest.kept if c.reason.startswith(("least ", "most "))}
    losers = {point.candidate for point in record.nearest if point.objective == "latency"}
    never = {c.id for c in planned.plan.candidates if c.reason.startswith("never best; nearest")}
    assert never <= losers


def test_a_plan_of_several_tensors_is_served_as_its_figures_say(
    read: Callable[[onnx.ModelProto], Network], tmp_path: Path
) -> None:
    """From the network to the plan without anybody naming the cut."""
    network = read(branched.fork())
    sets, metric = branched_sets(network), metric_for("classify", network.outputs)
    costs = made_up_costs(network, here_ms=1, slower=300)
    fp32 = Point(name="fp32", kind="fp32", fp32_groups=(), ms=1, divergence=0, agreement=1)
    model = network.model
    precision = Precision((fp32,), (fp32,), fp32, "told to", 0, None, model, 1.0, None)
    profile = profile_of(network, costs, made_up(network), "a cloud", "fp32")
    known = Groundwork(network, precision, profile, costs, sets, metric, ModelCard("fork"))
    planned = Planned(make_plan(known, QUICK, tmp_path / "parts", ignore), tmp_path / "parts")
    candidate = next(c for c in planned.plan.manifest.kept if c.cut == "one-and-1-more")
    cut = planned.plan.manifest.cut_of(candidate)
    assert [tensor.boundary.name for tensor in cut.tensors] == ["one", "two"]
    assert_served_as_the_figures_say(planned, network, sets, metric)


def test_a_cut_that_is_not_kept_leaves_neither_segment_nor_stage_nor_tail(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_whole(*asked: Any) -> Standing:
        standing = standing_of(*asked)
        chosen = (
            msgspec.structs.replace(c, kept=c.cut in {"input", "local"})
            for c in standing.candidates
        )
        return replace(standing, candidates=tuple(chosen))

    monkeypatch.setattr("isthmus_partitioner.planning.plan.select", only_whole)
    planned = plan_of()
    parts = (planned.parts / side for side in ("device", "cloud"))
    there = {f.relative_to(planned.parts).as_posix() for part in parts for f in part.iterdir()}
    listed = {entry.path for entry in planned.plan.manifest.files if entry.side != "record"}
    (segment,) = planned.plan.manifest.chains[0].segments
    assert segment.tflite is not None
    device = {segment.file, f"{segment.file}.data", segment.tflite.file}
    assert there == listed == {*device, "cloud/tail-0.onnx"}
    assert planned.plan.record.rejected


def test_where_frames_cannot_go_together_the_plan_says_why_and_serves_them_one_by_one(
    plan_of: PlanOf,
    network: Network,
    sets: SampleSets,
    metric: Metric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isthmus_partitioner.parts.cloud.why_apart", lambda *_: "they mix")
    planned = plan_of()
    assert not planned.plan.manifest.batched
    assert planned.plan.record.unbatched == "they mix"
    assert planned.plan.record.parts_ratio > 0
    assert_served_as_the_figures_say(planned, network, sets, metric)


def test_without_cuts_the_plan_is_one_segment_and_whole_pictures(plan_of: PlanOf) -> None:
    manifest = plan_of(replace(QUICK, max_cuts=0)).plan.manifest
    (chain,) = manifest.chains
    assert len(chain.segments) == 1
    assert [(cut.id, cut.depth) for cut in manifest.cuts] == [("input", 0), ("local", 1)]
    assert not manifest.has_labels


def test_without_a_bottleneck_none_is_tried(plan_of: PlanOf) -> None:
    notes = plan_of().plan.record.transforms
    assert notes
    assert {note.bottleneck for note in notes} == {None}


def test_notes_on_network_and_inputs_are_in_the_record(
    plan_of: PlanOf, network: Network, sets: SampleSets
) -> None:
    record = plan_of(
        network=replace(network, notes=("width is a guess",)),
        sets=replace(sets, notes=("few items",)),
    ).plan.record
    assert record.notes == ("width is a guess", "few items")
    assert (record.calibration_items, record.evaluation_items) == (12, 9)
    assert record.evaluation_sources == 1


def test_what_cannot_be_met_is_refused_and_what_could_be_is_said(plan_of: PlanOf) -> None:
    config = replace(QUICK, goals=Goals(min_agreement=0.0, deadline_ms=1e-6))
    with pytest.raises(InfeasibleError, match="deadline"):
        plan_of(config)


def test_labels_that_do_not_fit_are_refused_before_anything_is_built(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="2 labels for 5 classes"):
        plan_of(card=ModelCard("mislabelled", ("a", "b")))
    assert not (tmp_path / "device").exists()
