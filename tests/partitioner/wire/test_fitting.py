"""How a cut crosses is fitted to calibration pictures: order, predictors, and the tail's bias."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.partitioner.conftest import QUICK
from tests.partitioner.networks import Builder, pictures, saved
from tests.partitioner.serving import run_stage

from isthmus_partitioner import Network, PictureSets, PlanConfig, load_model
from isthmus_partitioner.parts.boundary import Boundary, boundaries
from isthmus_partitioner.parts.build import write_chain
from isthmus_partitioner.parts.segments import device_chain, tail_model
from isthmus_partitioner.planning.agreement import closeness
from isthmus_partitioner.precision.mixed import Quantised, Variant
from isthmus_partitioner.runtime import open_session, run_batches
from isthmus_partitioner.wire.fitting import CutFitter, Fitted, tail_feed
from isthmus_partitioner.wire.stages import stage_model

CONFIG = replace(QUICK, steps=(1 / 4, 1 / 2, 3 / 4))


def early(*, loud: float = 1.0) -> onnx.ModelProto:
    """64 wide maps behind the first layer; every second one `loud` times the others."""
    build = Builder()
    build.conv(build.picture(), "stem", (3, 64))
    gains = np.where(np.arange(64) % 2, np.float32(loud), np.float32(1))
    build.constant("gains", gains[:, None, None])
    stem = build.op("Mul", ["stem", "gains"], "stem.loud")
    last = build.op("Relu", [build.conv(stem, "last", (64, 12), stride=4)], "last.relu")
    build.classes(last, 12)
    return build.model()


def as_head(model: onnx.ModelProto) -> Quantised:
    """A head network as if it had been chosen."""
    variant = Variant(
        name="fp32", fp32_layers=0, int8_from=None, network_ms=1.0, agreement=1.0, kl=0.0
    )
    return Quantised({}, None, model, variant, (variant,), "given")


def fitted_to(
    network: Network, head: onnx.ModelProto, folder: Path, sets: PictureSets, config: PlanConfig
) -> tuple[Boundary, Fitted]:
    """The first cut, fitted."""
    boundary = boundaries(head, network.cuts)[0]
    (folder / "device").mkdir()
    segments = write_chain(network, as_head(head), [boundary], folder)
    return boundary, CutFitter(network, [boundary], segments, sets, config, folder).fit(boundary)


def fitted(
    model: onnx.ModelProto, folder: Path, sets: PictureSets, config: PlanConfig = CONFIG
) -> Fitted:
    network = load_model(saved(model, folder / "model.onnx"))
    return fitted_to(network, network.model, folder, sets, config)[1]


def test_loud_and_quiet_channels_are_sorted(tmp_path: Path, sets: PictureSets) -> None:
    order = fitted(early(loud=16.0), tmp_path, sets).transform.order
    assert order is not None
    assert np.mean(order[:32] % 2) < 0.1
    assert np.mean(order[32:] % 2) > 0.9


def test_wide_smooth_maps_get_a_predictor(tmp_path: Path) -> None:
    """Pictures in blocks of 8: most neighbours are alike, and noise of the camera is not."""
    smooth = PictureSets(blocks(6, seed=1), blocks(2, seed=2))
    ladder = fitted(early(), tmp_path, smooth).ladder
    assert {encoding.predictor for encoding in ladder} <= {"left", "up"}


def blocks(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = pictures(count, seed, size=32)[:, ::4, ::4]
    smooth = coarse[:, ::2, ::2].repeat(8, axis=1).repeat(8, axis=2).astype(int)
    noise = np.random.default_rng(seed).integers(-2, 3, smooth.shape)
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def test_each_step_is_a_rung(tmp_path: Path, sets: PictureSets) -> None:
    found = fitted(early(), tmp_path, sets)
    assert [encoding.levels for encoding in found.ladder] == [256, 16, 16]
    assert found.bottleneck is None


def test_a_bottleneck_that_was_tried_is_told_even_if_it_is_not_kept(
    network: Network, sets: PictureSets, tmp_path: Path
) -> None:
    config = replace(CONFIG, bottleneck=True)
    _, found = fitted_to(network, network.model, tmp_path, sets, config)
    assert found.bottleneck is not None
    assert found.bottleneck.channels == 8
    assert found.bottleneck.is_kept == (found.transform.components is not None)


@pytest.fixture
def wrong(network: Network) -> onnx.ModelProto:
    """The network with too much added behind its first layer: a head with an error of its own."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "stem.b")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1.5), "stem.b"))
    return model


def test_what_a_head_is_off_on_average_is_added_in_the_cloud(
    network: Network, wrong: onnx.ModelProto, sets: PictureSets, tmp_path: Path
) -> None:
    boundary, found = fitted_to(network, wrong, tmp_path, sets, CONFIG)
    assert found.has_bias
    whole = run_batches(open_session(network.model, threads=1), {"picture": sets.evaluation})[0]
    head = device_chain(network, wrong, [boundary])[0]
    values = run_batches(open_session(head, threads=1), {"picture": sets.evaluation})[0]
    encoding = found.ladder[0]
    stage = stage_model(boundary, found.transform, network.model)
    feed = tail_feed(run_stage(stage, values, encoding), encoding)
    plain = tail_model(network, boundary, found.transform)
    errors = [
        closeness(whole, run_batches(open_session(tail, threads=1), feed)[0]).kl
        for tail in (found.tail, plain)
    ]
    assert errors[0] < errors[1] / 2
