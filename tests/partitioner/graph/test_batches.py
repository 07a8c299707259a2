"""Whether frames can be joined is tried out, never believed."""

import numpy as np
from tests.partitioner.graph.graphs import Read, answers, notes, ops, parsed, weights


def test_the_batch_axis_is_where_a_run_of_two_grows(read: Read) -> None:
    network = read(
        parsed(
            """g (float[N, 5, 8] x) => (float[5, N, 8] y, float[8] same) {
                t = Transpose <perm = [1, 0, 2]> (x)
                y = MatMul (t, w)
                same = Relu (c)
            }""",
            w=weights(8, 8),
            c=weights(8),
        )
    )
    assert network.batches
    assert network.tensors["x"].batch_axis == 0
    assert (network.tensors["y"].shape, network.tensors["y"].batch_axis) == ((5, 8), 1)
    constant = network.outputs[1]
    assert (constant.name, constant.shape, constant.batch_axis) == ("same", (8,), None)
    assert "same" not in network.tensors


def test_a_tensor_with_the_batch_folded_into_it_is_listed(read: Read) -> None:
    network = read(
        parsed(
            """g (float[N, 4, 8] x) => (float[N, 4, 8] y) {
                f = Reshape (x, flat)
                m = MatMul (f, w)
                r = Relu (m)
                y = Reshape (r, back)
            }""",
            flat=np.array([-1, 8]),
            back=np.array([-1, 4, 8]),
            w=weights(8, 8),
        )
    )
    assert network.batches
    folded = network.tensors["r"]
    assert (folded.shape, folded.batch_axis) == ((4, 8), None)
    assert "r" in network.unjoinable
    assert "batch folded into another dimension" in notes(network)


def test_shapes_computed_inside_the_graph_become_constants(read: Read) -> None:
    """The way of every exporter: Shape, Gather, Concat, Reshape, Expand."""
    network = read(
        parsed(
            """g (float[N, 6, 8] x) => (float[N, 6, 8] y) {
                s = Shape (x)
                n = Gather (s, zero)
                nn = Unsqueeze (n, zero1)
                target = Concat <axis = 0> (nn, tail)
                h = Reshape (x, target)
                t = Transpose <perm = [0, 2, 1, 3]> (h)
                b = Transpose <perm = [0, 2, 1, 3]> (t)
                r = Relu (b)
                f = Reshape (r, s)
                ones = Expand (one, s)
                y = Add (f, ones)
            }""",
            zero=np.array(0),
            zero1=np.array([0]),
            tail=np.array([6, 2, 4]),
            one=np.ones(1, np.float32),
        )
    )
    assert network.batches
    assert {"Shape", "Gather", "Concat"}.isdisjoint(ops(network))
    x = np.random.default_rng(1).standard_normal((3, 6, 8)).astype(np.float32)
    (found,) = answers(network.model, {"x": x}, ["y"])
    np.testing.assert_allclose(found, np.maximum(x, 0) + 1)


def test_an_expand_that_makes_the_batch_stays(read: Read) -> None:
    """A start token for every item has to know how many there are."""
    network = read(
        parsed(
            """g (float[N, 4] x) => (float[N, 6] y) {
                s = Shape (x)
                n = Slice (s, zero, one)
                target = Concat <axis = 0> (n, two)
                start = Expand (token, target)
                y = Concat <axis = 1> (start, x)
            }""",
            zero=np.array([0]),
            one=np.array([1]),
            two=np.array([2]),
            token=weights(1, 2),
        )
    )
    assert network.batches
    assert "Shape" in ops(network)
    assert network.tensors["start"].batch_axis == 0
    assert answers(network.model, {"x": np.ones((3, 4), np.float32)}, ["y"])[0].shape == (3, 6)


def test_a_network_that_mixes_its_items_stays_at_one(read: Read) -> None:
    """As dynamic quantisation does, whose range is that of the whole batch."""
    network = read(
        parsed(
            """g (float[N, 8] x) => (float[N, 8] y) {
                most = ReduceMax <keepdims = 1> (x)
                y = Div (x, most)
            }"""
        )
    )
    assert not network.batches
    assert "output 'y' of two items differs from theirs alone" in notes(network)
    assert network.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert network.inputs[0].shape == (8,)


def test_a_network_without_a_batch_dimension_stays_as_it_is(read: Read) -> None:
    network = read(
        parsed("g (float[3, 8] x) => (float[3, 4] y) { y = MatMul (x, w) }", w=weights(8, 4))
    )
    assert not network.batches
    assert (network.inputs[0].shape, network.inputs[0].batch_axis) == ((3, 8), None)
    assert "no input has a batch dimension" in notes(network)


def test_a_state_is_batched_in_its_second_dimension(read: Read) -> None:
    network = read(
        parsed(
            """g (float[batch, 6] x, float[2, batch, 6] state) => (float[batch, 6] y,
                float[2, batch, 6] next) {
                next = Add (state, x)
                y = ReduceSum <keepdims = 0> (next, zero)
            }""",
            zero=np.array([0]),
        )
    )
    assert network.batches
    assert (network.tensors["state"].shape, network.tensors["state"].batch_axis) == ((2, 6), 1)
    assert network.tensors["next"].graph_shape == (2, 1, 6)


def test_a_wrong_rank_is_corrected_by_the_run(read: Read) -> None:
    model = parsed(
        "g (float[N, 4] x) => (float[N, 4] y) { t = Relu (x) y = Transpose <perm = [1, 0]> (t) }"
    )
    dims = model.graph.output[0].type.tensor_type.shape.dim
    dims.add().dim_value = 7
    network = read(model)
    assert (network.outputs[0].shape, network.outputs[0].batch_axis) == ((4,), 1)
    assert "output 'y' is declared as [N, 4, 7] and is [4, 1]: the run is believed" in notes(
        network
    )
