"""The chain of segments is the head network; a tail takes up what came over the wire."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import ignore
from tests.partitioner.networks import CLASSES, saved

from isthmus import (
    Encoding,
    Lossless,
    Symbols,
    quantised,
)
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.parts.segments import (
    SegmentModel,
    device_chain,
    tail_inputs,
    tail_model,
    whole_model,
)
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.runtime import AnyArray, open_session, session_options
from isthmus_partitioner.wire.feeds import tail_feeds
from isthmus_partitioner.wire.ladder import step_encodings
from isthmus_partitioner.wire.transform import PLAIN, Transform

Read = Callable[[onnx.ModelProto], Network]
Tensors = Mapping[str, AnyArray]

PLACES: Mapping[str, tuple[Callable[[], onnx.ModelProto], tuple[tuple[str, ...], ...]]] = {
    "skip": (branched.u_net, (("wide",), ("deep",), ("deeper",), ("up",), ("last.relu",))),
    "scalar": (branched.with_gain, (("gain.real",), ("stem.relu",), ("last.relu",))),
    "early": (branched.with_early_answer, (("stem.relu",), ("early",), ("last.relu", "early"))),
    "output inside": (branched.with_output_inside, (("stem.relu",), ("last.relu",))),
    "input out": (branched.passing_through, (("stem.relu",), ("features",))),
    "mask": (branched.masked, (("vectors",), ("is_there",), ("hidden", "is_there"), ("outer",))),
}


class Case:
    """A network, its cuts, and heads of several precisions."""

    def __init__(self, network: Network, places: Sequence[Sequence[str]]) -> None:
        self.network = network
        self.samples = branched.items(network, 5, 4, "some")
        nested = [branched.cut_behind(network, *names) for names in places]
        self.cuts = sorted(nested, key=lambda cut: len(cut.head))
        self._heads: dict[str, HeadGraph] = {}

    def heads(self, name: str) -> dict[str, HeadGraph]:
        """Made once; all but fp32 where there is an int8 graph."""
        if not self._heads:
            self._heads |= self._made(name)
        return self._heads

    def _made(self, name: str) -> dict[str, HeadGraph]:
        models = {"fp32": self.network.model}
        if name != "output inside":  # see test_several_tensors
            base = quantised_bases(self.network, self.samples, ignore)[0]
            half = frozenset(range(0, base.nodes, 2))
            models |= {"int8": base.mix(), "mixed": base.mix(half)}
        return {name: HeadGraph(self.network, model) for name, model in models.items()}

    def at(self, head: HeadGraph) -> list[ChainCut]:
        found = [head.at(cut) for cut in self.cuts]
        return [cut for cut in found if cut is not None]

    def feeds(self) -> list[dict[str, AnyArray]]:
        return list(self.samples.feeds(self.network.inputs))


@pytest.fixture(scope="module", params=PLACES)
def named(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def case(named: str, tmp_path_factory: pytest.TempPathFactory) -> Case:
    build, places = PLACES[named]
    folder = tmp_path_factory.mktemp("case")
    return Case(load_model(saved(build(), folder / "model.onnx")), places)


def run(model: onnx.ModelProto, feed: Tensors, names: Sequence[str]) -> dict[str, AnyArray]:
    """Node by node: without the runtime's fusions nothing depends on where a graph ends."""
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(model, threads=1, options=options)
    return dict(zip(names, session.run(list(names), feed), strict=True))


def run_chain(chain: Sequence[SegmentModel], feed: Tensors) -> dict[str, AnyArray]:
    """Everything that is there in the end."""
    held = dict(feed)
    for segment in chain:
        inputs = {spec.name: held[spec.name] for spec in segment.inputs}
        held |= run(segment.model, inputs, [spec.name for spec in segment.outputs])
    return held


def test_a_chain_gives_exactly_what_the_undivided_head_gives(case: Case, named: str) -> None:
    outputs = [spec.name for spec in case.network.outputs]
    for head in case.heads(named).values():
        chain = device_chain(case.network, head, case.at(head))
        for feed in case.feeds():
            whole, held = run(head.model, feed, outputs), run_chain(chain, feed)
            for name in outputs:
                assert np.array_equal(held[name], whole[name])


def test_a_segment_reads_what_is_there_before_it_and_makes_what_is_not(
    case: Case, named: str
) -> None:
    for head in case.heads(named).values():
        cuts = case.at(head)
        chain = device_chain(case.network, head, cuts)
        held = {spec.name: spec for spec in case.network.inputs}
        for segment, cut in zip(chain, [*cuts, None], strict=True):
            assert all(held[spec.name] == spec for spec in segment.inputs)
            assert held.keys().isdisjoint(spec.name for spec in segment.outputs)
            infos = [info.name for info in segment.model.graph.input]
            assert infos == [spec.name for spec in segment.inputs]
            held |= {spec.name: spec for spec in segment.outputs}
            wanted = [b.spec for b in cut.boundaries] if cut else list(case.network.outputs)
            assert all(held[spec.name] == spec for spec in wanted)
            assert set(cut.cut.answers if cut else ()) <= held.keys()


def test_no_node_of_the_network_runs_in_two_segments(case: Case) -> None:
    head = HeadGraph(case.network, case.network.model)
    chain = device_chain(case.network, head, case.at(head))
    ran = [node.name for segment in chain for node in segment.model.graph.node]
    assert sorted(ran) == sorted(node.name for node in case.network.model.graph.node)


def test_however_a_chain_is_divided_before_it_a_boundary_is_the_same(
    case: Case, named: str
) -> None:
    for head in case.heads(named).values():
        cuts, feed = case.at(head), case.feeds()[0]
        full = run_chain(device_chain(case.network, head, cuts), feed)
        for cut in cuts:
            alone = run_chain(device_chain(case.network, head, [cut]), feed)
            for boundary in cut.boundaries:
                assert alone[boundary.name].dtype == boundary.spec.data_type
                assert alone[boundary.name].shape == boundary.spec.graph_shape
                assert np.array_equal(alone[boundary.name], full[boundary.name])


def test_a_network_without_cuts_is_one_segment(case: Case) -> None:
    head = HeadGraph(case.network, case.network.model)
    (only,) = device_chain(case.network, head, [])
    feed = case.feeds()[0]
    names = [spec.name for spec in only.outputs]
    for name, value in run(only.model, feed, names).items():
        assert np.array_equal(value, run(case.network.model, feed, [name])[name])


def test_a_tail_takes_each_tensor_with_its_step_and_zero_point_and_gives_the_rest(
    case: Case,
) -> None:
    head = HeadGraph(case.network, case.network.model)
    for cut in case.at(head):
        tail = tail_model(case.network, cut)
        expected = [name for names in tail_inputs(cut.boundaries) for name in names]
        assert [info.name for info in tail.graph.input] == expected
        left = [s.name for s in case.network.outputs if s.name not in cut.cut.answers]
        assert [info.name for info in tail.graph.output] == left
        for boundary, names in zip(cut.boundaries, tail_inputs(cut.boundaries), strict=True):
            assert len(names) == (3 if boundary.is_quantised else 1)


def test_tails_finish_what_came_over_the_wire_the_better_the_finer_the_step(case: Case) -> None:
    head = HeadGraph(case.network, case.network.model)
    for cut in case.at(head):
        finer, coarser = (error_of(case, cut, step) for step in (1 / 16, 1))
        assert finer < coarser if any(b.is_quantised for b in cut.boundaries) else finer < 1e-6
        assert finer < 0.03


def error_of(case: Case, cut: ChainCut, step: float) -> float:
    """The most that a tail's answers are off if the fp32 tensors cross in such steps."""
    values = activations(case.network, [b.tensor for b in cut.boundaries], case.samples)
    sent: list[AnyArray] = []
    rung: list[Encoding] = []
    for boundary in cut.boundaries:
        value = values[boundary.tensor.name]
        encoding: Encoding = Lossless()
        if boundary.is_quantised:
            (encoding,) = step_encodings(value.view(np.float32), (step,), None)
            value = quantised(value.view(np.float32), encoding)
        sent.append(value)
        rung.append(encoding)
    names = [s.name for s in case.network.outputs if s.name not in cut.cut.answers]
    tail = tail_model(case.network, cut)
    worst = 0.0
    for feed, item in zip(case.feeds(), tail_feeds(cut.boundaries, sent, rung), strict=True):
        got, wanted = run(tail, item, names), run(case.network.model, feed, names)
        errors = (got[n].astype(float) - wanted[n].astype(float) for n in names)
        worst = max(worst, *(float(np.abs(error).max()) for error in errors))
    return worst


def test_a_tails_bias_is_added_behind_the_dequantise(network: Network) -> None:
    cut = HeadGraph(network, network.model).at(branched.cut_behind(network, "stem.relu"))
    assert cut is not None
    rung = (Symbols(levels=256, step=1.0, zero_point=0),)
    symbols = np.full((2, *cut.boundaries[0].tensor.shape), 7, np.uint8)
    bias = np.full((1, cut.boundaries[0].tensor.shape[0], 1, 1), 3.0, np.float32)
    models = tail_model(network, cut, [PLAIN], {0: bias}), tail_model(network, cut)
    shifted, plain = (
        [run(model, feed, ["answer"])["answer"] for feed in tail_feeds(cut.boundaries, given, rung)]
        for model, given in zip(models, ([symbols], [symbols + np.uint8(3)]), strict=True)
    )
    assert np.allclose(shifted, plain, atol=1e-6)
    assert np.shape(shifted) == (2, 1, CLASSES)


def test_transforms_of_several_tensors_are_undone_each_for_itself(read: Read) -> None:
    network = read(branched.u_net())
    cut = HeadGraph(network, network.model).at(branched.cut_behind(network, "deep"))
    assert cut is not None
    rung = (
        Symbols(levels=256, step=0.05, zero_point=0),
        Symbols(levels=256, step=0.1, zero_point=0),
    )
    random = np.random.default_rng(0)
    symbols = [random.integers(0, 256, (1, *b.tensor.shape), np.uint8) for b in cut.boundaries]
    orders = [random.permutation(b.tensor.shape[0]) for b in cut.boundaries]
    transforms = [Transform(order=order) for order in orders]
    moved = [np.take(s, order, axis=1) for s, order in zip(symbols, orders, strict=True)]
    (plain,) = tail_feeds(cut.boundaries, symbols, rung)
    (ordered,) = tail_feeds(cut.boundaries, moved, rung)
    answers = run(tail_model(network, cut), plain, ["answer"])
    again = run(tail_model(network, cut, transforms), ordered, ["answer"])
    assert np.array_equal(answers["answer"], again["answer"])


def test_the_tail_of_the_input_is_the_whole_network(case: Case) -> None:
    tail = whole_model(case.network)
    assert [info.name for info in tail.graph.input] == [s.name for s in case.network.inputs]
    names = [spec.name for spec in case.network.outputs]
    assert [info.name for info in tail.graph.output] == names
    feed = case.feeds()[0]
    whole, got = run(case.network.model, feed, names), run(tail, feed, names)
    assert all(np.array_equal(whole[name], got[name]) for name in names)


def test_names_of_a_segments_integers_are_handed_on(read: Read) -> None:
    network = read(branched.u_net())
    base = quantised_bases(network, branched.items(network, 4, 1, "one"), ignore)[0]
    head = HeadGraph(network, base.mix())
    found = [head.at(branched.cut_behind(network, name)) for name in ("wide", "deep")]
    chain = device_chain(network, head, [cut for cut in found if cut is not None])
    for before, after in pairwise(chain):
        made, reads = (
            {info.name: info.type for info in infos}
            for infos in (before.model.graph.output, after.model.graph.input)
        )
        shared = made.keys() & reads.keys()
        assert shared
        assert all(made[name] == reads[name] for name in shared)
