"""A float layer between integers stays float, whatever the runtime would like to make of it."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from tests.partitioner.graph.graphs import parsed, weights

from isthmus_partitioner.precision.barriers import kept_float
from isthmus_partitioner.precision.qdq import integer_layers

BETWEEN = """g (float[N,3,4,4] x) => (float[N,3,4,4] y) {
    q = QuantizeLinear (x, scale, zero)
    d = DequantizeLinear (q, scale, zero)
    %s
    p = QuantizeLinear (c, scale, zero)
    y = DequantizeLinear (p, scale, zero)
}"""
LAYER = "c = Conv (d, w)"
WITH_RELU = "a = Conv (d, w) c = Relu (a)"
POOLED = "a = Conv (d, w) c = MaxPool <kernel_shape = [1,1]> (a)"
BEHIND_POOL = "a = MaxPool <kernel_shape = [1,1]> (d) c = Conv (a, w)"
WITH_SILU = "a = Conv (d, w) s = Sigmoid (a) c = Mul (a, s)"
READ_TWICE = "a = Conv (d, w) c = Add (a, a)"
FROM_FLOAT = "a = Sigmoid (d) c = Conv (a, w)"


def between(body: str) -> onnx.ModelProto:
    return parsed(
        BETWEEN % body,
        w=weights(3, 3, 1, 1), scale=np.asarray(0.02, np.float32), zero=np.asarray(0, np.uint8),
    )  # fmt: skip


def with_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


@pytest.mark.parametrize("body", [LAYER, WITH_RELU, POOLED, BEHIND_POOL])
def test_a_float_layer_that_the_runtime_would_quantise_is_kept_float(body: str) -> None:
    model = between(body)
    assert integer_layers(model) == 1, "the runtime has changed: is the barrier needed still?"
    kept = with_nodes(model, list(kept_float(model.graph.node)))
    onnx.checker.check_model(kept, full_check=True)
    assert integer_layers(kept) == 0


@pytest.mark.parametrize("body", [WITH_SILU, READ_TWICE, FROM_FLOAT])
def test_where_it_stays_float_anyway_nothing_is_added(body: str) -> None:
    model = between(body)
    assert integer_layers(model) == 0
    assert list(kept_float(model.graph.node)) == list(model.graph.node)


def test_an_integer_layer_is_left_alone() -> None:
    model = between("v = DequantizeLinear (u, scale) c = Conv (d, v)")
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.ones((3, 3, 1, 1), np.int8), "u")
    )
    assert list(kept_float(model.graph.node)) == list(model.graph.node)
    assert integer_layers(model) == 1
