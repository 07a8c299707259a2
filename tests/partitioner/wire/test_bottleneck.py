"""A projection is kept where it saves bytes at equal KL, and nowhere else."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from tests.partitioner.branched import cut_behind
from tests.partitioner.conftest import QUICK
from tests.partitioner.networks import correlated, saved
from tests.partitioner.serving import Bundle
from tests.partitioner.workshop import Workshop

from isthmus import TensorSpec, decode_manifest, encode_manifest
from isthmus_partitioner import Network, SampleSets, load_model
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.parts.build import BuiltCut
from isthmus_partitioner.runtime import AnyArray, open_session, run_items
from isthmus_partitioner.wire.bottleneck import Verdict, compare, projections
from isthmus_partitioner.wire.transform import Transform

BOUNDARY = Boundary(TensorSpec(name="cut", data_type="float32", shape=(8, 6, 5)), "cut", None)
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


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_model(saved(correlated(), tmp_path_factory.mktemp("correlated") / "model.onnx"))


@dataclass(frozen=True, eq=False)
class Made:
    """The cut `wide` in one precision: built, measured, and listed."""

    built: BuiltCut
    bundle: Bundle
    reference: AnyArray


@pytest.fixture(scope="module", params=["fp32", "int8"])
def made(
    request: pytest.FixtureRequest,
    mixtures: Network,
    sets: SampleSets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """With floats or with integers between the segments."""
    folder = tmp_path_factory.mktemp(str(request.param))
    shop = Workshop(mixtures, sets, folder, replace(QUICK, bottleneck=True))
    tried = shop.tried([cut_behind(mixtures, "wide")], shop.heads(str(request.param)))
    whole = open_session(mixtures.path, threads=1)
    feeds = sets.evaluation.feeds(mixtures.inputs)
    answers = run_items(whole, feeds, mixtures.outputs)
    return Made(tried.cuts["wide"], shop.bundle(tried), answers["answer"])


def test_channels_that_are_mixtures_of_four_get_a_bottleneck(made: Made) -> None:
    found = made.built.bottleneck
    assert found is not None
    assert found.is_kept
    assert (found.channels, found.kept_channels) == (32, 4)
    assert found.extra_macs == 4 * 32 * 8 * 8
    assert found.bytes_ratio is not None
    assert found.bytes_ratio < 0.5
    assert made.built.transforms == ("PCA 32 -> 4 channels",)


def test_a_cut_with_a_bottleneck_is_in_a_valid_manifest(made: Made) -> None:
    manifest = made.bundle.manifest
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest
    (cut,) = (cut for cut in manifest.cuts if cut.id == "wide")
    (tensor,) = cut.tensors
    assert tensor.wire.shape == (4, 8, 8)
    assert tensor.boundary.shape == (32, 8, 8)
    assert tensor.quantisation is None
    assert tensor.stage is not None
    assert tensor.stage.projection in {
        entry.path for entry in manifest.files if entry.side == "device"
    }


def test_a_plan_with_a_bottleneck_still_answers(made: Made, sets: SampleSets) -> None:
    """Segments, stage, wire and tail, from the files, on every rung."""
    candidate = made.bundle.manifest.candidate("wide")
    for index, rung in enumerate(candidate.rungs):
        served = made.bundle.serve(candidate, index, sets.evaluation)
        off = np.abs(served.answers["answer"].astype(float) - made.reference.astype(float))
        assert off.max() < (0.1 if index == 0 else 0.35)
        assert np.median(served.payload_bytes) == pytest.approx(rung.figures.payload_bytes, abs=1)
