"""The whole way with a real network: EfficientNet-Lite0, few pictures."""

from pathlib import Path

import pytest
from tests.partitioner.conftest import HERE, ignore

from isthmus import Symbols, open_bundle
from isthmus_models import calibration_pictures, evaluation_pictures
from isthmus_partitioner import (
    Goals,
    ModelCard,
    Network,
    Plan,
    PlanConfig,
    Samples,
    Workbench,
    load_model,
)
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.cuts.network_dag import network_dag
from isthmus_partitioner.precision import group_times, proposals
from isthmus_partitioner.samples import sets_of

pytestmark = pytest.mark.slow


CONFIG = PlanConfig(
    goals=Goals(min_agreement=0.8),
    edge_network_ms=150,
    steps=(1 / 4, 1 / 2),
    pictures=("jpeg",),
    qualities=(95,),
    bottleneck=False,
    max_cuts=2,
)


@pytest.fixture(scope="module")
def network(lite0: Path) -> Network:
    return load_model(lite0)


@pytest.fixture(scope="module")
def bench(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    (spec,) = network.inputs
    fitted, judged = (
        Samples({spec.name: pictures}, tuple(f"{source} {i}" for i in range(len(pictures))))
        for source, pictures in (
            ("calibration", calibration_pictures(9, 224)),
            ("evaluation", evaluation_pictures(16, 224)),
        )
    )
    return Workbench(
        network,
        sets_of(fitted, judged),
        metric_for("classify", network.outputs),
        devices=HERE,
        config=CONFIG,
        work=tmp_path_factory.mktemp("lite0"),
        card=ModelCard("efficientnet-lite0"),
        progress=ignore,
    )


@pytest.fixture(scope="module")
def plan(bench: Workbench) -> Plan:
    """With larger groups of layers than users have, and times of few rounds: a third less work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "MOST_GROUPS", 12)
        patch.setattr(group_times, "_ALL_ROUNDS_MS", 0)
        return bench.plan()


def test_its_one_tensor_cuts_lie_between_blocks(network: Network) -> None:
    assert sum(network.macs) == pytest.approx(385e6, rel=0.01)
    heads = list(network_dag(network).single_tensor_heads())
    assert 33 <= len(heads) <= 45


def test_the_head_answers_like_fp32(plan: Plan) -> None:
    assert plan.manifest.local.figures.agreement >= 0.85
    assert plan.manifest.local.figures.divergence < 0.05


def test_a_kept_cut_answers_more_like_fp32_than_jpeg_with_fewer_bytes(plan: Plan) -> None:
    """The claim of the whole system, against a JPEG of quality 95."""
    jpeg = plan.manifest.candidate("input-jpeg").figures
    kept = (c for c in plan.manifest.kept if any(isinstance(e, Symbols) for e in c.encodings))
    cuts = [rung.figures for candidate in kept for rung in candidate.rungs]
    assert any(
        cut.divergence < jpeg.divergence and cut.payload_bytes < jpeg.payload_bytes / 2
        for cut in cuts
    )


def test_its_frames_go_through_the_cloud_together(plan: Plan) -> None:
    assert (plan.manifest.batched, plan.record.unbatched) == (True, "")


def test_the_bundle_opens_on_both_sides(bench: Workbench, plan: Plan, tmp_path: Path) -> None:
    out = bench.build(tmp_path / "bundle")
    assert open_bundle(out, "device").manifest == plan.manifest
    assert open_bundle(out, "cloud").manifest == plan.manifest
