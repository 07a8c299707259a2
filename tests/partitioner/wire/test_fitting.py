"""How a cut crosses is fitted to calibration items: order, predictors, and the tail's bias."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK
from tests.partitioner.networks import Builder, pictures
from tests.partitioner.workshop import branched_sets

from isthmus import (
    Lossless,
    Symbols,
    quantised,
)
from isthmus_partitioner import Network, PlanConfig, Samples, SampleSets
from isthmus_partitioner.agreement.metrics import Metric, metric_for
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.parts.chains import ChainPlan, ChainRun, write_chain
from isthmus_partitioner.parts.segments import tail_model
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items
from isthmus_partitioner.wire.feeds import tail_feeds
from isthmus_partitioner.wire.fitting import CutFitter, CutValues, Fitted

CONFIG = replace(QUICK, steps=(1 / 4, 1 / 2, 3 / 4))
Read = Callable[[onnx.ModelProto], Network]


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


class Bench:
    """One network, a head model for it, items, and what is fitted to them."""

    def __init__(
        self, network: Network, sets: SampleSets, folder: Path, head: onnx.ModelProto | None = None
    ) -> None:
        self.network, self.sets, self.folder = network, sets, folder
        self.head = HeadGraph(network, head or network.model)
        self.metric: Metric = metric_for("classify", network.outputs[-1:])

    def cut(self, *tensors: str) -> ChainCut:
        found = self.head.at(branched.cut_behind(self.network, *tensors))
        assert found is not None
        return found

    def reference(self, items: Samples) -> dict[str, AnyArray]:
        whole = open_session(self.network.model, threads=all_cores())
        return run_items(whole, items.feeds(self.network.inputs), self.network.outputs)

    def held(self, cut: ChainCut, items: Samples) -> tuple[AnyArray, ...]:
        """What the chain holds at the cut."""
        (self.folder / "device").mkdir(exist_ok=True)
        plan = ChainPlan("fp32", "fp32", self.head, (cut,))
        chain = write_chain(self.network, plan, self.folder)
        run = ChainRun(self.network, chain, self.folder, items)
        run.advance_to(1)
        return run.stacked([boundary.spec for boundary in cut.boundaries])

    def fitted(self, cut: ChainCut, config: PlanConfig = CONFIG) -> Fitted:
        specs = [boundary.tensor for boundary in cut.boundaries]
        real = activations(self.network, specs, self.sets.fitted)
        values = CutValues(
            tuple(real[spec.name] for spec in specs),
            self.held(cut, self.sets.fitted),
            self.held(cut, self.sets.held_back),
        )
        reference = self.reference(self.sets.held_back)
        return CutFitter(self.network, reference, self.metric, config).fit(cut, values)


@pytest.fixture
def bench(network: Network, sets: SampleSets, tmp_path: Path) -> Bench:
    return Bench(network, sets, tmp_path)


def test_loud_and_quiet_channels_are_sorted(read: Read, sets: SampleSets, tmp_path: Path) -> None:
    bench = Bench(read(early(loud=16.0)), sets, tmp_path)
    (transform,) = bench.fitted(bench.cut("stem.loud")).transforms
    order = transform.order
    assert order is not None
    assert np.mean(order[:32] % 2) < 0.1
    assert np.mean(order[32:] % 2) > 0.9


def test_wide_smooth_maps_get_a_predictor(read: Read, tmp_path: Path) -> None:
    """Pictures in blocks of 8: most neighbours are alike, and noise of the camera is not."""
    smooth = SampleSets(blocks(4, seed=1), blocks(2, seed=3), blocks(2, seed=2))
    bench = Bench(read(early()), smooth, tmp_path)
    for (encoding,) in bench.fitted(bench.cut("stem.loud")).ladder:
        assert isinstance(encoding, Symbols)
        assert encoding.predictor in {"left", "up"}


def blocks(count: int, seed: int) -> Samples:
    coarse = pictures(count, seed, size=32)[:, ::4, ::4]
    smooth = coarse[:, ::2, ::2].repeat(8, axis=1).repeat(8, axis=2).astype(int)
    noise = np.random.default_rng(seed).integers(-2, 3, smooth.shape)
    found = (smooth + noise).clip(0, 255).astype(np.uint8)
    return Samples({"picture": found}, (f"{seed}",) * count)


def levels(found: Fitted) -> list[tuple[int | None, ...]]:
    return [tuple(e.levels if isinstance(e, Symbols) else None for e in r) for r in found.ladder]


def test_each_step_is_a_rung(read: Read, sets: SampleSets, tmp_path: Path) -> None:
    bench = Bench(read(early()), sets, tmp_path)
    found = bench.fitted(bench.cut("stem.loud"))
    assert levels(found) == [(256,), (16,), (16,)]
    assert found.bottleneck is None


def test_a_rung_has_an_encoding_for_each_tensor_at_the_same_share_of_its_deviation(
    read: Read, tmp_path: Path
) -> None:
    network = read(branched.u_net())
    bench = Bench(network, branched_sets(network), tmp_path)
    cut = bench.cut("deep")
    values = bench.held(cut, bench.sets.fitted)
    ladder = bench.fitted(cut).ladder
    assert len(ladder) == len(CONFIG.steps)
    for step, rung in zip(CONFIG.steps, ladder, strict=True):
        for encoding, value in zip(rung, values, strict=True):
            assert isinstance(encoding, Symbols)
            spread = float(value.view(np.float32).std())
            assert encoding.step == pytest.approx(step * spread, rel=1e-5)


def test_ids_and_masks_are_exact_on_every_rung(read: Read, tmp_path: Path) -> None:
    network = read(branched.masked())
    bench = Bench(network, branched_sets(network), tmp_path)
    found = bench.fitted(bench.cut("hidden", "is_there"))
    assert [type(rung[0]) for rung in found.ladder] == [Lossless] * len(found.ladder)
    assert len({rung[1] for rung in found.ladder}) == len(found.ladder) > 1


def test_a_cut_of_exact_tensors_alone_has_one_rung(read: Read, tmp_path: Path) -> None:
    network = read(branched.passing_through())
    bench = Bench(network, branched_sets(network), tmp_path)
    found = bench.fitted(bench.cut("features"))
    assert found.ladder == ((Lossless(), Lossless()),)
    assert not found.has_bias


def test_a_bottleneck_that_was_tried_is_told_even_if_it_is_not_kept(bench: Bench) -> None:
    found = bench.fitted(bench.cut("stem.relu"), replace(CONFIG, bottleneck=True))
    assert found.bottleneck is not None
    assert found.bottleneck.channels == 8
    assert found.bottleneck.is_kept == (found.transforms[0].components is not None)


@pytest.mark.parametrize(
    ("build", "tensors"),
    [(branched.u_net, ("deep",)), (branched.masked, ("hidden", "is_there"))],
)
def test_cuts_of_several_tensors_or_without_an_image_get_no_bottleneck(
    build: Callable[[], onnx.ModelProto], tensors: Sequence[str], read: Read, tmp_path: Path
) -> None:
    network = read(build())
    bench = Bench(network, branched_sets(network), tmp_path)
    found = bench.fitted(bench.cut(*tensors), replace(CONFIG, bottleneck=True))
    assert found.bottleneck is None


@pytest.mark.parametrize("task", ["classify", "tensor"])
def test_a_metric_may_look_at_what_the_head_has_answered(
    task: str, read: Read, tmp_path: Path
) -> None:
    """Classes are told by the first output, `early`, which no tail of this cut computes."""
    network = read(branched.with_early_answer())
    bench = Bench(network, branched_sets(network), tmp_path)
    bench.metric = metric_for(task, network.outputs)  # type: ignore[arg-type]
    assert len(bench.fitted(bench.cut("stem.relu", "early")).ladder) == len(CONFIG.steps)


def shifted(network: Network, name: str, by: float) -> onnx.ModelProto:
    """The network with too much added behind a layer: a head with an error of its own."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(by), name))
    return model


def divergence_of(bench: Bench, cut: ChainCut, tail: onnx.ModelProto, found: Fitted) -> float:
    """What a tail answers to evaluation items at the finest rung, against the unsplit network."""
    items, rung = bench.sets.evaluation, found.ladder[0]
    sent: list[NDArray[np.uint8]] = []
    pairs = zip(bench.held(cut, items), found.transforms, rung, strict=True)
    for values, transform, encoding in pairs:
        assert isinstance(encoding, Symbols)
        sent.append(quantised(transform.forward(values.view(np.float32)), encoding))
    session = open_session(tail, threads=1)
    fed = tail_feeds(cut.boundaries, sent, rung)
    answers = run_items(session, fed, bench.network.outputs)
    return bench.metric.closeness(bench.reference(items), answers).divergence


def test_what_a_head_is_off_on_average_is_added_in_the_cloud(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    bench = Bench(network, sets, tmp_path, shifted(network, "stem.b", 1.5))
    cut = bench.cut("stem.relu")
    found = bench.fitted(cut)
    assert found.has_bias
    plain = tail_model(network, cut, found.transforms)
    with_bias, without = (divergence_of(bench, cut, t, found) for t in (found.tail, plain))
    assert with_bias < without / 2


def test_each_tensor_of_a_cut_gets_its_own_bias(read: Read, tmp_path: Path) -> None:
    network = read(branched.u_net())
    bench = Bench(network, branched_sets(network), tmp_path, shifted(network, "second.b", 1.5))
    cut = bench.cut("deep")
    found = bench.fitted(cut)
    assert found.has_bias
    biases = {t.name: numpy_helper.to_array(t) for t in found.tail.graph.initializer}
    wide, deep = (biases[f"isthmus_bias_{index}"] for index in range(2))
    assert wide.shape == (1, 4, 1, 1)
    assert deep.shape == (1, 8, 1, 1)
    assert np.abs(wide).max() < 0.1  # the head is right there, but for rounding
    assert deep.mean() < -0.5  # a ReLU takes a part of the 1.5 back
    plain = tail_model(network, cut, found.transforms)
    with_bias, without = (divergence_of(bench, cut, t, found) for t in (found.tail, plain))
    assert with_bias < without / 2
