"""The QDQ graph: what is quantised, how, and whether the runtime computes in integers."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from tests.partitioner.graph.graphs import parsed, weights
from tests.partitioner.precision.tiny import (
    network_of,
    node_of,
    noise,
    quantised,
    splicer_of,
    with_skip,
)

from isthmus import ModelError
from isthmus_partitioner import Network
from isthmus_partitioner.precision.qdq import (
    integer_layers,
    quantisable,
    quantised_graph,
    tensors_to_range,
)
from isthmus_partitioner.precision.ranges import collect_ranges


@pytest.fixture
def skip(tmp_path: Path) -> Network:
    return network_of(with_skip(), tmp_path)


def test_weights_are_int8_per_channel_and_activations_uint8(skip: Network) -> None:
    constants = {tensor.name: tensor for tensor in quantised(skip).model.graph.initializer}
    assert constants["wb_quantized"].data_type == TensorProto.INT8
    assert list(constants["wb_scale"].dims) == [6]
    assert constants["x_zero_point"].data_type == TensorProto.UINT8


def test_preprocessing_and_softmax_stay_float(tmp_path: Path) -> None:
    model = parsed(
        """g (float[N,4] x) => (float[N,3] y) {
            centred = Add (x, m)
            a = MatMul (centred, w)
            y = Softmax (a)
        }""",
        m=weights(4), w=weights(4, 3),
    )  # fmt: skip
    network = network_of(model, tmp_path)
    ops = [network.model.graph.node[index].op_type for index in quantisable(network)]
    assert ops == ["MatMul"]


def test_layers_that_really_run_in_integers_are_counted(skip: Network) -> None:
    splicer = splicer_of(skip)
    assert integer_layers(splicer.mix(())) == 3
    assert integer_layers(splicer.mix({node_of(skip, "b")})) == 2
    assert integer_layers(skip.model) == 0


def test_a_tensor_without_a_range_keeps_its_nodes_in_float(skip: Network) -> None:
    ranges = collect_ranges(skip, noise(skip, 2, 0), tensors_to_range(skip) - {"b", "s", "rs"})
    nodes = skip.model.graph.node
    kept = {nodes[index].output[0] for index in quantised_graph(skip, ranges["minmax"]).nodes}
    assert kept == {"a", "ra", "y"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{ y = Relu (x) }", "no layer"),
        ("{ q = QuantizeLinear (x, s) d = DequantizeLinear (q, s) y = MatMul (d, w) }", "already"),
    ],
)
def test_what_cannot_be_quantised_is_refused_with_the_reason(
    tmp_path: Path, body: str, words: str
) -> None:
    scale = np.asarray(0.1, np.float32)
    model = parsed(f"g (float[N,4] x) => (float[N,4] y) {body}", w=weights(4, 4), s=scale)
    network = network_of(model, tmp_path)
    with pytest.raises(ModelError, match=words):
        quantised_graph(network, dict.fromkeys(network.tensors, (-1.0, 1.0)))
