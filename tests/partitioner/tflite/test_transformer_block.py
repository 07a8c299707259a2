"""A layer of MiniLM, quantised and cut as for a device, in LiteRT beside ONNX Runtime."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from tests.partitioner.networks import saved

from isthmus_models.items import passages
from isthmus_models.minilm import minilm
from isthmus_partitioner import Network, Samples, load_model
from isthmus_partitioner.cuts.cut import NetworkCut, cut_before
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.segments import SegmentModel, device_chain
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.runtime import AnyArray, Session, open_session, run_one, session_options
from isthmus_partitioner.tflite import Twin, lower, verify

_START, _MIDDLE, _END = "layer1", "layer2.wide.gelu", "layer2"
_ITEMS = 4

Heads = Mapping[str, onnx.ModelProto]


def ignore(_line: str) -> None:
    """Nobody reads the progress."""


@pytest.fixture(scope="module")
def whole() -> onnx.ModelProto:
    return minilm()


@pytest.fixture(scope="module")
def read_by_the_layer(whole: onnx.ModelProto) -> NDArray[np.float32]:
    """What the layer reads of four passages, [4,128,384]."""
    front = _between(whole, "ids", _START)
    arrays, _sources = passages("calibration", _ITEMS)
    (found,) = open_session(front, threads=1).run(None, arrays)
    return np.asarray(found, np.float32)


@pytest.fixture(scope="module")
def layer(whole: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Network:
    model = _between(whole, _START, _END)
    return load_model(saved(model, tmp_path_factory.mktemp("layer") / "layer.onnx"))


@pytest.fixture(scope="module")
def heads(layer: Network, read_by_the_layer: NDArray[np.float32]) -> Heads:
    """In fp32, with integers in all that can be, and in MatMul only."""
    samples = Samples({_START: read_by_the_layer}, ("prose",) * _ITEMS)
    bases = quantised_bases(layer, samples, ignore)
    mixes = {"all" if base.is_whole else "layers": base.mix() for base in bases[:2]}
    return {"fp32": layer.model, **mixes}


@pytest.mark.parametrize("kind", ["fp32", "layers", "all"])
def test_every_segment_answers_as_the_graph_says(
    layer: Network, heads: Heads, read_by_the_layer: NDArray[np.float32], kind: str
) -> None:
    """As the graph computed node by node: integers to the bit, reals but for float32's rounding."""
    held: dict[str, AnyArray] = {_START: read_by_the_layer[-1:]}
    for segment in _segments(layer, heads[kind]):
        feed = {spec.name: held[spec.name] for spec in segment.inputs}
        names = [spec.name for spec in segment.outputs]
        wanted = run_one(_as_written(segment.model), feed, names)
        made = Twin(lower(segment.model), segment.model).run(feed)
        for name, ours, theirs in zip(names, made, wanted, strict=True):
            assert ours.dtype == theirs.dtype
            difference = np.float64(ours) - np.float64(theirs)
            allowed = 0.0 if theirs.dtype == np.uint8 else 3e-6
            assert np.linalg.norm(difference) <= allowed * np.linalg.norm(np.float64(theirs))
            held[name] = theirs


def test_a_cut_tensor_of_integers_leaves_its_segment_as_integers(
    layer: Network, heads: Heads
) -> None:
    """The skip connection beside it is read by a float Add, so it stays real."""
    first, second = _segments(layer, heads["all"])
    kinds = {"layer2.attended.norm": np.float32, f"{_MIDDLE}_QuantizeLinear_Output": np.int8}
    assert {spec.name for spec in first.outputs} == kinds.keys()
    assert {spec.name for spec in second.inputs} == kinds.keys()
    made = Interpreter(model_content=lower(first.model).data).get_output_details()
    assert {one["name"]: one["dtype"] for one in made} == kinds


@pytest.mark.parametrize(("kind", "worst"), [("fp32", 3e-6), ("layers", 5e-3)])
def test_the_layer_answers_as_in_onnx_runtime(
    heads: Heads, read_by_the_layer: NDArray[np.float32], kind: str, worst: float
) -> None:
    """Most items but for float32's rounding, which depends on the processor.

    Where it moves a real across the middle between two integers, that item's rows are a step
    apart: ONNX Runtime is as far from itself then, optimised and as written.
    """
    model = heads[kind]
    lowered = lower(model)
    found = [verify(lowered, model, [{_START: row[None]}]).relative for row in read_by_the_layer]
    assert np.median(found) < 3e-6
    assert max(found) < worst


def test_integers_make_the_file_a_quarter_as_large(heads: Heads) -> None:
    sizes = {kind: len(lower(model).data) for kind, model in heads.items()}
    assert sizes["all"] < 0.27 * sizes["fp32"]
    assert sizes["layers"] < 0.27 * sizes["fp32"]


def _between(whole: onnx.ModelProto, start: str, end: str) -> onnx.ModelProto:
    """The part of the model that makes one tensor of another."""
    graph = whole.graph
    infos = {i.name: i for i in (*graph.input, *graph.value_info)}
    nodes = nodes_between(graph, [start], [end])
    return assemble(whole, nodes, [infos[start]], [infos[end]], initialisers(graph))


def _segments(layer: Network, model: onnx.ModelProto) -> tuple[SegmentModel, ...]:
    """The head in two segments."""
    head = HeadGraph(layer, model)
    at = head.at(_cut(layer, _MIDDLE))
    assert at is not None
    return device_chain(layer, head, [at])


def _cut(layer: Network, tensor: str) -> NetworkCut:
    nodes = layer.model.graph.node
    names = {node.name for node in nodes_between(layer.model.graph, [], [tensor])}
    return cut_before(layer, frozenset(i for i, node in enumerate(nodes) if node.name in names))


def _as_written(model: onnx.ModelProto) -> Session:
    options = session_options(1)
    options.graph_optimization_level = options.graph_optimization_level.ORT_DISABLE_ALL
    return open_session(model, threads=1, options=options)
