"""A projection is kept where it saves bytes at equal KL, and nowhere else."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.conftest import QUICK, Planned, ignore
from tests.partitioner.networks import correlated, saved

from isthmus import decode_manifest, encode_manifest
from isthmus_partitioner import (
    ModelCard,
    Network,
    PictureSets,
    PlanConfig,
    Quantised,
    load_model,
    make_plan,
    profile,
    quantise,
)
from isthmus_partitioner.cuts.one_tensor import CutPoint
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.runtime import open_session, run_batches
from isthmus_partitioner.wire.bottleneck import Verdict, compare, projections
from isthmus_partitioner.wire.transform import Transform

BOUNDARY = Boundary(CutPoint("cut", (8, 6, 5), macs_share=0.5, layers=1, node=0), "cut", None)
TWO_OF_EIGHT = Transform(components=np.eye(2, 8, dtype=np.float32), mean=np.zeros(8, np.float32))
PLAIN = ((0.001, 1000.0), (0.01, 500.0), (0.1, 200.0))


def verdict(*projected: tuple[float, float]) -> Verdict:
    return compare(TWO_OF_EIGHT, BOUNDARY, PLAIN, projected)


def scaled(factor: float) -> list[tuple[float, float]]:
    """As close as the plain ladder, with so many times its bytes."""
    return [(kl, size * factor) for kl, size in PLAIN]


@pytest.mark.parametrize(
    ("factor", "is_kept"), [(0.5, True), (0.949, True), (0.951, False), (1.0, False), (2.0, False)]
)
def test_it_has_to_save_a_twentieth_of_the_bytes(factor: float, is_kept: bool) -> None:
    found = verdict(*scaled(factor))
    assert found.bytes_ratio == pytest.approx(factor)
    assert found.is_kept == is_kept


def test_bytes_are_compared_at_equal_kl_in_between_log_linearly() -> None:
    """Of the plain rungs only 0.01 lies inside; half-way from 0.001 to 0.1 in the logarithm."""
    found = verdict((0.002, 400.0), (0.05, 200.0))
    assert found.bytes_ratio == pytest.approx(300 / 500)


def test_the_median_rung_decides() -> None:
    sizes = (400.0, 450.0, 1.0)  # 0.4, 0.9, 0.005 times as many
    found = verdict(*((kl, size) for (kl, _), size in zip(PLAIN, sizes, strict=True)))
    assert found.bytes_ratio == pytest.approx(0.4)


def test_outside_of_its_curve_nothing_is_compared() -> None:
    """Closer than the projection ever gets, or further than it ever is, there is no equal."""
    assert verdict((0.005, 50.0), (0.05, 40.0)).bytes_ratio == pytest.approx(
        (50 - 10 * np.log(2) / np.log(10)) / 500
    )
    for elsewhere in ([(0.2, 1.0), (0.3, 1.0)], [(1e-5, 1.0), (1e-4, 1.0)]):
        found = verdict(*elsewhere)
        assert found.bytes_ratio is None
        assert not found.is_kept


def test_a_rung_without_any_error_has_no_logarithm_and_is_left_out() -> None:
    exact = ((0.0, 5000.0), *PLAIN)
    assert compare(TWO_OF_EIGHT, BOUNDARY, exact, scaled(0.5)).bytes_ratio == pytest.approx(0.5)
    assert compare(TWO_OF_EIGHT, BOUNDARY, PLAIN, [(0.0, 1e4), *scaled(0.5)]).is_kept


def test_a_verdict_counts_channels_and_macs() -> None:
    found = verdict(*scaled(0.5))
    assert (found.tensor, found.channels, found.kept_channels) == ("cut", 8, 2)
    assert found.extra_macs == 2 * 8 * 6 * 5


def test_projections_keep_nearly_all_of_the_variance_in_ever_fewer_components() -> None:
    random = np.random.default_rng(0)
    strengths = 2.0 ** -np.arange(8)[:, None, None]
    values = (random.standard_normal((4, 8, 6, 5)) * strengths).astype(np.float32)
    counts = [t.wire_shape((8, 6, 5))[0] for t in projections(values)]
    assert counts == sorted(set(counts), reverse=True)
    assert 1 < counts[-1] < counts[0] <= 8


def test_two_energies_of_the_same_components_are_tried_once() -> None:
    flat = np.random.default_rng(0).standard_normal((4, 3, 6, 5)).astype(np.float32)
    assert len(list(projections(flat))) == 1


@dataclass(frozen=True)
class Made:
    """A network, its quantised variants and a plan with a head of one precision."""

    network: Network
    planned: Planned


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_model(saved(correlated(), tmp_path_factory.mktemp("correlated") / "model.onnx"))


@pytest.fixture(scope="module")
def variants(
    mixtures: Network, sets: PictureSets, tmp_path_factory: pytest.TempPathFactory
) -> Quantised:
    config = PlanConfig(fp32_layers=(0,))
    return quantise(mixtures, sets, config, tmp_path_factory.mktemp("variants"), ignore)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def made(
    request: pytest.FixtureRequest,
    mixtures: Network,
    variants: Quantised,
    sets: PictureSets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """A plan for a slow device, with floats or with integers between the segments."""
    head = chosen(variants, mixtures, request.param)
    folder: Path = tmp_path_factory.mktemp(request.param)
    plan = make_plan(
        mixtures,
        head,
        profile(mixtures, head, sets, ignore),
        sets,
        config=replace(QUICK, bottleneck=True),
        card=ModelCard("correlated"),
        folder=folder,
        progress=ignore,
    )
    return Made(mixtures, Planned(plan, folder))


def chosen(variants: Quantised, network: Network, name: str) -> Quantised:
    """The head of a precision, whichever is the faster here."""
    assert variants.int8 is not None
    variant = next(v for v in variants.variants if v.name == name)
    model = network.model if name == "fp32" else variants.int8
    return replace(variants, head=model, chosen=variant)


def test_channels_that_are_mixtures_of_four_get_a_bottleneck(made: Made) -> None:
    (note,) = (note for note in made.planned.plan.transforms if note.cut == "wide")
    assert note.bottleneck is not None
    assert note.bottleneck.is_kept
    assert (note.bottleneck.channels, note.bottleneck.kept_channels) == (32, 4)
    assert note.bottleneck.extra_macs == 4 * 32 * 8 * 8
    assert note.bottleneck.bytes_ratio is not None
    assert note.bottleneck.bytes_ratio < 0.5
    assert note.transform == "PCA 32 -> 4 channels"


def test_a_cut_with_a_bottleneck_is_in_a_valid_manifest(made: Made) -> None:
    manifest = made.planned.plan.manifest
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest
    (cut,) = (cut for cut in manifest.cuts if cut.id == "wide")
    (tensor,) = cut.tensors
    assert tensor.wire.shape == (4, 8, 8)
    assert tensor.boundary.shape == (32, 8, 8)
    assert tensor.quantisation is None
    assert tensor.stage in {entry.path for entry in manifest.files if entry.side == "device"}


def test_a_plan_with_a_bottleneck_still_answers(made: Made, sets: PictureSets) -> None:
    """Segments, stage, wire and tail, from the files, on every rung."""
    asked = sets.evaluation
    session = open_session(made.network.path, threads=1)
    reference = run_batches(session, {"picture": asked})[0].view(np.float32)
    candidate = made.planned.plan.manifest.candidate("wide")
    for index, rung in enumerate(candidate.rungs):
        served = made.planned.bundle.serve(candidate, index, asked)
        assert np.abs(served.answers - reference).max() < 0.35
        assert np.median(served.payload_bytes) == pytest.approx(rung.figures.payload_bytes, abs=1)
    finest = made.planned.bundle.serve(candidate, 0, asked)
    assert np.abs(finest.answers - reference).max() < 0.1
