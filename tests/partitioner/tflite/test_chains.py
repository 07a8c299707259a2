"""Segments that the partitioner cuts, in every precision: each as .tflite answers as its ONNX."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import ignore
from tests.partitioner.networks import Builder, saved
from tests.partitioner.tflite.graphs import operators

from isthmus_models.pictures import calibration_pictures
from isthmus_partitioner import Network, Samples, load_model
from isthmus_partitioner.cuts.cut import cut_before
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.segments import SegmentModel, device_chain
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.precision.qdq import quantised_graph, tensors_to_range
from isthmus_partitioner.precision.ranges import collect_ranges
from isthmus_partitioner.precision.splice import Splicer
from isthmus_partitioner.runtime import AnyArray, open_session
from isthmus_partitioner.tflite import Difference, Lowered, lower, verify

PARTS = 4  # of a chain


def gated() -> onnx.ModelProto:
    """SiLU, a gate over channels, a depthwise Conv, a pool, and a skip connection."""
    build = Builder()
    stem = build.conv(build.picture(), "stem", (3, 8), stride=2)
    build.op("Sigmoid", [stem], "stem.gate")
    silu = build.op("Mul", [stem, "stem.gate"], "silu")
    build.weight("depthwise.w", 8, 1, 3, 3)
    build.op("Conv", [silu, "depthwise.w"], "depthwise", pads=[1] * 4, group=8)
    build.op("GlobalAveragePool", ["depthwise"], "squeezed")
    build.op("Sigmoid", [build.conv("squeezed", "excite", (8, 8), kernel=1)], "gate")
    build.op("Mul", ["depthwise", "gate"], "gated")
    build.op("Add", ["gated", silu], "sum")
    build.op("MaxPool", ["sum"], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    last = build.op("Relu", [build.conv("pooled", "last", (8, 12), stride=2)], "last.relu")
    build.classes(last, 12)
    return branched.model_of(build, ["picture"], branched.ANSWER)


NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "gated": gated,
    "gain": branched.with_gain,
    "early": branched.with_early_answer,
    "skip": branched.u_net,
}


class Case:
    """A network and its graphs in several precisions."""

    def __init__(self, network: Network, samples: Samples, models: Mapping[str, onnx.ModelProto]):
        self.network, self.samples, self.models = network, samples, models

    def chain(self, precision: str) -> tuple[SegmentModel, ...]:
        """Cut after every quarter of the nodes, whatever crosses there."""
        head = HeadGraph(self.network, self.models[precision])
        count = len(self.network.model.graph.node)
        ends = [frozenset(range(count * part // PARTS)) for part in range(1, PARTS)]
        found = [head.at(cut_before(self.network, end)) for end in ends]
        return device_chain(self.network, head, [cut for cut in found if cut is not None])

    def differences(self, precision: str) -> list[tuple[Lowered, Difference]]:
        """Every segment as .tflite beside itself, fed with what ONNX Runtime made before it."""
        held = [dict(feed) for feed in self.samples.feeds(self.network.inputs)]
        found = []
        for segment in self.chain(precision):
            feeds: list[dict[str, AnyArray]] = [
                {spec.name: item[spec.name] for spec in segment.inputs} for item in held
            ]
            lowered = lower(segment.model)
            found.append((lowered, verify(lowered, segment.model, feeds)))
            session = open_session(segment.model, threads=1)
            names = [spec.name for spec in segment.outputs]
            for item, feed in zip(held, feeds, strict=True):
                item.update(zip(names, session.run(names, feed), strict=True))
        return found


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    @cache
    def made(name: str) -> Case:
        folder: Path = tmp_path_factory.mktemp("network")
        network = load_model(saved(NETWORKS[name](), folder / f"{name}.onnx"))
        samples = branched.items(network, 4, 4, "some")
        base = quantised_bases(network, samples, ignore)[0]
        half = frozenset(range(base.nodes // 2))
        models = {"fp32": network.model, "int8": base.mix(), "mixed": base.mix(half)}
        return Case(network, samples, models)

    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_a_float_segment_is_the_same(case: Callable[[str], Case], name: str) -> None:
    for _, difference in case(name).differences("fp32"):
        assert difference.equal == 1.0
        assert difference.relative < 1e-5


@pytest.mark.parametrize("precision", ["int8", "mixed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_of_a_segment_are_near(
    case: Callable[[str], Case], name: str, precision: str
) -> None:
    for _, difference in case(name).differences(precision):
        assert difference.mean_steps < 0.5
        assert difference.relative < 0.05


def test_integers_stay_integers_from_segment_to_segment(case: Callable[[str], Case]) -> None:
    for lowered, _ in case("skip").differences("int8")[1:-1]:
        assert not {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE"} & operators(lowered).keys()


@pytest.fixture(scope="module")
def efficientnet(lite0: Path) -> Case:
    network = load_model(lite0)
    (spec,) = network.inputs
    samples = Samples({spec.name: calibration_pictures(2, 224)}, ("one", "two"))
    ranges = collect_ranges(network, samples, tensors_to_range(network))["minmax"]
    qdq = quantised_graph(network, ranges)
    splicer = Splicer(network.model, qdq)
    count = len(network.model.graph.node)
    rest = frozenset(range(count)) - qdq.nodes
    models = {
        "fp32": network.model,
        "int8": splicer.mix(rest),
        "mixed": splicer.mix(rest | frozenset(range(count // 3))),
    }
    return Case(network, samples, models)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8", "mixed"])
def test_efficientnet_is_lowered_as_a_whole(efficientnet: Case, precision: str) -> None:
    for lowered, difference in efficientnet.differences(precision):
        assert "TRANSPOSE" not in operators(lowered)
        assert difference.relative < 1e-4
        # Where reals are quantised, ties go either way, and a skip connection carries them on.
        assert difference.mean_steps < (0.3 if precision == "mixed" else 0.001)
