"""A plan is a valid manifest whose files exist, whose candidates can be served, and its reasons."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.conftest import Planned, ignore
from tests.partitioner.networks import pictures

from isthmus import (
    ConfigError,
    Jpeg,
    Raw,
    SymbolCoder,
    Symbols,
    TensorEncoder,
    decode_manifest,
    decode_tensor,
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
    render_plan,
    render_profile,
)
from isthmus_partitioner.build import tail_feed
from isthmus_partitioner.runtime import open_session, run_batches


def test_a_plans_manifest_is_valid(planned: Planned) -> None:
    manifest = planned.plan.manifest
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest


def test_every_plan_has_local_raw_and_both_jpegs(planned: Planned) -> None:
    found = {c.id: c for c in planned.plan.manifest.candidates}
    assert {"local", "input-raw", "input-jpeg-q85", "input-jpeg-q95"} <= found.keys()
    assert found["local"].kept
    assert found["input-jpeg-q85"].encoding == Jpeg(quality=85)
    assert found["input-jpeg-q85"].kept
    assert found["input-jpeg-q95"].kept


def test_what_is_sent_raw_is_the_reference_itself(planned: Planned) -> None:
    raw = planned.plan.manifest.candidate("input-raw")
    assert raw.encoding == Raw()
    assert (raw.figures.agreement, raw.figures.kl) == (1.0, 0.0)
    assert raw.figures.payload_bytes == planned.plan.manifest.input.nbytes


def test_a_slow_device_is_offered_cuts(planned: Planned) -> None:
    """At 500 ms for the whole network and any agreement, some cut is worth keeping."""
    cuts = [c for c in planned.plan.manifest.kept if isinstance(c.encoding, Symbols)]
    assert cuts


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


def test_the_files_are_those_of_the_manifest_and_no_others(planned: Planned) -> None:
    listed = {entry.path: entry for entry in planned.plan.manifest.files}
    there = {p.relative_to(planned.parts).as_posix() for p in planned.parts.rglob("*.*")}
    assert there == listed.keys()
    for name, entry in listed.items():
        assert (planned.parts / name).stat().st_size == entry.size_bytes
        assert sha256_of(planned.parts / name) == entry.sha256


def test_every_candidate_is_served_from_the_files_as_the_figures_say(
    planned: Planned, network: Network, sets: PictureSets
) -> None:
    """Head segments, wire, tail: as device and cloud will do it, from the manifest alone."""
    manifest, coder = planned.plan.manifest, SymbolCoder()
    asked = sets.evaluation
    reference = run_batches(open_session(network.path, threads=1), {"picture": asked})[0]
    for candidate in manifest.candidates:
        cut = manifest.cut_of(candidate)
        tensor = asked
        for segment in manifest.segments[: cut.depth]:
            session = open_session(planned.parts / segment.file, threads=1)
            tensor = run_batches(session, {segment.input.name: tensor})[0].view(np.uint8)
        if cut.tensor is None or cut.tail is None or candidate.encoding is None:
            continue
        encoder = TensorEncoder(cut.tensor, candidate.encoding, cut.quantisation, coder)
        sent = [encoder.encode(item[None]) for item in tensor]
        wire = np.concatenate(
            [decode_tensor(each, cut.tensor, candidate.encoding, coder) for each in sent]
        )
        feed = {"picture": wire}
        if isinstance(candidate.encoding, Symbols):
            feed = tail_feed(wire, candidate.encoding.step, candidate.encoding.zero_point)
        answers = run_batches(open_session(planned.parts / cut.tail, threads=1), feed)[0]
        share = np.mean(answers.argmax(axis=1) == reference.argmax(axis=1))
        assert share == pytest.approx(candidate.figures.agreement, abs=1.01 / len(asked))
        median = np.median([len(each.payload) for each in sent])
        assert candidate.figures.payload_bytes == pytest.approx(median, abs=1)


@pytest.fixture(scope="module")
def profiled(network: Network, quantised: Quantised, sets: PictureSets) -> Profile:
    return profile(network, quantised, sets, ignore)


@pytest.fixture
def plan_of(
    network: Network, quantised: Quantised, profiled: Profile, sets: PictureSets, tmp_path: Path
) -> Callable[[PlanConfig, ModelCard], Plan]:
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


PlanOf = Callable[[PlanConfig, ModelCard], Plan]


def test_without_cuts_the_plan_is_one_segment_and_whole_pictures(plan_of: PlanOf) -> None:
    manifest = plan_of(PlanConfig(max_cuts=0), ModelCard("uncut")).manifest
    assert len(manifest.segments) == 1
    assert [(cut.id, cut.depth) for cut in manifest.cuts] == [("input", 0), ("local", 1)]
    assert not manifest.has_labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("a", "b"), "2 labels for 5 classes"), (("a", "b", "c", "d", "e\nf"), "more than one line")],
)
def test_labels_that_do_not_fit_are_refused(
    labels: tuple[str, ...], message: str, plan_of: PlanOf
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(PlanConfig(), ModelCard("mislabelled", labels))


def test_the_plans_table_shows_every_candidate_with_its_reason(planned: Planned) -> None:
    table = render_plan(planned.plan)
    for candidate in planned.plan.candidates:
        (line,) = (row for row in table.splitlines() if row[1:].split()[:1] == [candidate.id])
        assert candidate.reason in line
        assert line.startswith("*") == candidate.kept


def test_the_profiles_table_shows_every_layer_and_every_cut(
    profiled: Profile, network: Network
) -> None:
    lines = render_profile(profiled).splitlines()
    for cut in network.cuts:
        assert any(line.startswith(f"{cut.tensor} ") for line in lines)
    assert any(line.startswith("inner ") and " Conv " in line for line in lines)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("agreement_floor", 1.5),
        ("edge_factor", 0.0),
        ("edge_network_ms", -1.0),
        ("jpeg_qualities", ()),
        ("jpeg_qualities", (95, 95)),
        ("jpeg_qualities", (0,)),
        ("max_cuts", -1),
        ("kl_budget", 0.0),
        ("fp32_layers", ()),
    ],
)
def test_an_impossible_setting_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        PlanConfig(**{key: value})  # type: ignore[arg-type]


def test_pictures_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"calibration pictures are uint8 \[2, 32, 32, 3\]"):
        PictureSets(pictures(2), pictures(4))
    with pytest.raises(ConfigError, match="evaluation pictures are float32"):
        PictureSets(pictures(4), pictures(4).astype(np.float32))
