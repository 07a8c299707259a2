"""The whole way with a real network: EfficientNet-Lite0, few pictures."""

from pathlib import Path

import pytest
from tests.partitioner.conftest import ignore

from isthmus import Symbols, open_bundle
from isthmus_models import calibration_pictures, evaluation_pictures
from isthmus_partitioner import ModelCard, PictureSets, Plan, PlanConfig, Workbench

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(lite0: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(
        lite0,
        PictureSets(calibration_pictures(9, 224), evaluation_pictures(16, 224)),
        config=PlanConfig(agreement_floor=0.8, edge_network_ms=150, max_cuts=2, fp32_layers=(0, 6)),
        work=tmp_path_factory.mktemp("lite0"),
        card=ModelCard("efficientnet-lite0"),
        progress=ignore,
    )


@pytest.fixture(scope="module")
def plan(bench: Workbench) -> Plan:
    return bench.plan()


def test_its_one_tensor_cuts_lie_between_blocks(bench: Workbench) -> None:
    assert len(bench.network.cuts) == 33
    assert sum(bench.network.macs) == pytest.approx(385e6, rel=0.01)


def test_int8_answers_like_fp32(plan: Plan) -> None:
    assert plan.manifest.local.precision == "int8"
    assert plan.manifest.local.figures.agreement >= 0.85
    assert plan.manifest.local.figures.kl < 0.05


def test_a_kept_cut_answers_more_like_fp32_than_jpeg_with_fewer_bytes(plan: Plan) -> None:
    """The claim of the whole system, at the finer JPEG quality."""
    jpeg = plan.manifest.candidate("input-jpeg-q95").figures
    cuts = [c.figures for c in plan.manifest.kept if isinstance(c.encoding, Symbols)]
    assert any(cut.kl < jpeg.kl and cut.payload_bytes < jpeg.payload_bytes / 2 for cut in cuts)


def test_the_bundle_opens_on_both_sides(bench: Workbench, plan: Plan, tmp_path: Path) -> None:
    out = bench.build(tmp_path / "bundle")
    assert open_bundle(out, "device").manifest == plan.manifest
    assert open_bundle(out, "cloud").manifest == plan.manifest
