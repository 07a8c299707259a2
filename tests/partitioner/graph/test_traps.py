"""Graphs as exporters really write them: each is planned for, or refused with its reason."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.partitioner.graph.graphs import Read, answers, notes, ops, parsed, weights
from tests.partitioner.networks import residual
from tests.partitioner.single import one_tensor_cuts

from isthmus import ModelError
from isthmus_partitioner.graph.opsets import modern
from isthmus_partitioner.graph.reading import ModelFile
from isthmus_partitioner.graph.surgery import used_by

X = np.random.default_rng(5).standard_normal((1, 8)).astype(np.float32)


def branch(name: str, *nodes: onnx.NodeProto, output: str) -> onnx.GraphProto:
    """A subgraph without inputs, as the bodies of an If are."""
    info = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [info])


def with_if(condition: str, *, inside: str = "picked") -> onnx.ModelProto:
    """Relu or Neg of a MatMul; both branches read the tensor `h` and call their result alike."""
    model = parsed(
        f"""g (float[N, 8] x, int64 rate) => (float[N, 8] y) {{
            h = MatMul (x, w)
            {condition}
            y = MatMul (z, w)
        }}""",
        w=weights(8, 8),
        low=np.array(100),
    )
    then = branch("then", helper.make_node("Relu", ["h"], [inside]), output=inside)
    otherwise = branch("else", helper.make_node("Neg", ["h"], [inside]), output=inside)
    node = helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=otherwise)
    model.graph.node.insert(len(model.graph.node) - 1, node)
    return model


def test_an_if_on_an_input_is_one_node_that_reads_from_outside(read: Read) -> None:
    network = read(with_if("c = Greater (rate, low)"))
    (node,) = (node for node in network.model.graph.node if node.op_type == "If")
    assert "h" in used_by(node)
    assert "picked" not in network.tensors
    assert network.tensors["z"].shape == (8,)
    assert "1 If: no cut inside of these nodes" in notes(network)


@pytest.mark.parametrize(("rate", "kept"), [(7, "Neg"), (16_000, "Relu")])
def test_an_if_is_decided_by_an_input_that_is_fixed(rate: int, kept: str, read: Read) -> None:
    network = read(with_if("c = Greater (rate, low)"), {"rate": rate})
    assert [spec.name for spec in network.inputs] == ["x"]
    assert "If" not in ops(network)
    assert kept in ops(network)


def test_an_if_on_the_shapes_is_decided(read: Read) -> None:
    network = read(with_if("s = Size (w)\n c = Greater (s, low)"))
    assert "If" not in ops(network)
    assert "Neg" in ops(network)  # 64 weights are not more than 100


def test_ifs_inside_of_ifs_with_the_same_names_are_decided(read: Read) -> None:
    """As in silero-vad, whose whole network lies in the branch of an If."""
    model = parsed(
        "g (float[N, 8] x, int64 rate) => (float[N, 8] y) { c = Greater (rate, low) }",
        low=np.array(100),
        w=weights(8, 8),
    )

    def inner(name: str, kind: str) -> onnx.GraphProto:
        leaf = branch(f"{name}.leaf", helper.make_node(kind, ["m"], ["r"]), output="r")
        empty = branch(f"{name}.other", helper.make_node("Exp", ["m"], ["r"]), output="r")
        decided = helper.make_node("If", ["c"], ["z"], then_branch=leaf, else_branch=empty)
        return branch(name, helper.make_node("MatMul", ["x", "w"], ["m"]), decided, output="z")

    then, otherwise = inner("then", "Relu"), inner("else", "Neg")
    model.graph.node.append(
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise)
    )
    whole = read(model)
    assert not one_tensor_cuts(whole)
    assert "the network is one If node: no cut inside; " in notes(whole)
    assert "--size rate=VALUE" in notes(whole)
    decided = read(model, {"rate": 8000})
    assert {"If", "Neg", "Exp"}.isdisjoint(ops(decided))
    assert np.array_equal(
        answers(decided.model, {"x": X}, ["y"])[0],
        answers(whole.model, {"x": X, "rate": np.array(8000)}, ["y"])[0],
    )


def test_a_loop_is_one_node_that_reads_from_outside(read: Read) -> None:
    model = parsed(
        """g (float[N, 8] x) => (float[N, 8] y) {
            h = MatMul (x, w)
            s = Relu (h)
        }""",
        w=weights(8, 8),
        times=np.array(3),
        yes=np.array(True),
    )
    infos = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []),
            ("v", TensorProto.FLOAT, None), ("on", TensorProto.BOOL, []),
            ("u", TensorProto.FLOAT, None),
        )
    ]  # fmt: skip
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Add", ["v", "h"], ["u"]),
    ]
    body = helper.make_graph(nodes, "body", infos[:3], infos[3:])
    model.graph.node.append(helper.make_node("Loop", ["times", "yes", "s"], ["y"], body=body))
    network = read(model)
    (loop,) = (node for node in network.model.graph.node if node.op_type == "Loop")
    assert "h" in used_by(loop)
    assert {"v", "u", "on"}.isdisjoint(network.tensors)
    assert network.tensors["y"].shape == (8,)
    assert "h" not in one_tensor_cuts(network)  # s is alive beside it


def test_a_scan_is_one_node(read: Read) -> None:
    model = parsed("g (float[4, 8] x) => (float[8] y, float[4, 8] all) { z = Relu (first) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights(8), "first"))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [8]) for n in "sxuv"]
    nodes = [
        helper.make_node("Add", ["s", "x"], ["u"]),
        helper.make_node("Identity", ["u"], ["v"]),
    ]
    body = helper.make_graph(nodes, "body", infos[:2], infos[2:])
    scan = helper.make_node("Scan", ["z", "x"], ["y", "all"], body=body, num_scan_inputs=1)
    model.graph.node.append(scan)
    network = read(model)
    assert ops(network).count("Scan") == 1
    assert (network.tensors["all"].shape, network.tensors["y"].shape) == ((4, 8), (8,))


def test_functions_are_inlined(read: Read) -> None:
    model = parsed("g (float[N, 8] x) => (float[N, 8] y) { y = MatMul (x, w) }", w=weights(8, 8))
    body = [
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("mine", "Dense", ["a", "b"], ["d"], body, opsets))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.graph.node[0].domain, model.graph.node[0].op_type = "mine", "Dense"
    network = read(model)
    assert ops(network) == ["MatMul", "Relu"]
    assert len(network.model.functions) == 0


def test_an_input_may_be_passed_through_as_an_output(read: Read) -> None:
    model = parsed("g (float[N, 8] x) => (float[N, 8] y) { y = Relu (x) }")
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8]))
    network = read(model)
    assert [spec.name for spec in network.outputs] == ["y", "x"]
    assert network.outputs[1] == network.inputs[0]


def test_several_inputs_and_outputs_keep_their_order(read: Read) -> None:
    network = read(
        parsed(
            """g (float[N, 8] b, int32[N, 8] a) => (float[N, 8] z, float[N, 8] y) {
                c = Cast <to = 1> (a)
                y = Add (b, c)
                z = MatMul (y, w)
            }""",
            w=weights(8, 8),
        )
    )
    assert [(spec.name, spec.data_type) for spec in network.inputs] == [
        ("b", "float32"), ("a", "int32"),
    ]  # fmt: skip
    assert [spec.name for spec in network.outputs] == ["z", "y"]


def test_initialisers_that_are_inputs_too_are_constants(read: Read) -> None:
    """As in files of the first years."""
    model = parsed("g (float[N, 8] x) => (float[N, 8] y) { y = MatMul (x, w) }", w=weights(8, 8))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 8]))
    assert [spec.name for spec in read(model).inputs] == ["x"]


NAMES = ["model/layer:0", "a b\tc", "Übergröße→层", "n" * 300, "a.b,c[0]/../d", "%s{0}$HOME"]


@pytest.mark.parametrize("name", NAMES)
def test_tensors_may_be_called_anything(name: str, read: Read) -> None:
    model = residual()
    for node in model.graph.node:
        for side in (node.input, node.output):
            for index, tensor in enumerate(side):
                side[index] = {"stem.relu": name, "answer": f"{name}!"}.get(tensor, tensor)
    model.graph.node[4].name = name
    model.graph.output[0].name = f"{name}!"
    network = read(model)
    assert network.tensors[name].shape == (8, 8, 8)
    assert network.outputs[0].name == f"{name}!"
    assert name in one_tensor_cuts(network)


def test_an_output_that_is_left_out_stays_out(read: Read) -> None:
    """An empty name says that nobody wants that output, or that an input is not given."""
    network = read(
        parsed(
            """g (float[steps, N, 8] x) => (float[1, N, 6] y) {
                , y = LSTM <hidden_size = 6> (x, w, r, , , , )
            }""",
            w=weights(1, 24, 8),
            r=weights(1, 24, 6),
        )
    )
    assert network.tensors["y"].shape == (1, 6)
    (node,) = network.model.graph.node
    assert list(node.output) == ["", "y"]
    assert network.macs == (network.inputs[0].shape[0] * (24 * 8 + 24 * 6),)


def test_an_output_called_like_a_tails_input_is_refused(read: Read) -> None:
    model = residual()
    model.graph.node[-1].output[0] = model.graph.output[0].name = "isthmus_symbols_0"
    with pytest.raises(ModelError, match="'isthmus_symbols_0'; give it a name that does not"):
        read(model)


def test_what_cannot_be_converted_keeps_its_old_opset() -> None:
    model = parsed("g (float[N, 8] x) => (float[N, 8] y) { y = Frobnicate (x) }", opset=12)
    file = ModelFile(Path("model.onnx"), "", model)
    kept, reasons = modern(file)
    assert kept is file
    assert reasons[0].startswith("opset 12 is kept, for it cannot be converted (")


def test_sequences_inside_are_no_cut(read: Read) -> None:
    network = read(
        parsed(
            """g (float[N, 8] x) => (float[N, 16] y) {
                r = Relu (x)
                s = SequenceConstruct (x, r)
                y = ConcatFromSequence <axis = 1> (s)
            }"""
        )
    )
    assert "s" not in network.tensors
    assert "1 tensors of a type that cannot cross: no cut there" in notes(network)


def test_strings_inside_are_no_cut(read: Read) -> None:
    network = read(
        parsed(
            """g (float[N, 8] x) => (float[N, 8] y) {
                s = Cast <to = 8> (x)
                y = Cast <to = 1> (s)
            }"""
        )
    )
    assert "s" not in network.tensors
    assert network.tensors["y"].shape == (8,)


def test_a_tensor_whose_size_depends_on_the_values_is_no_cut(read: Read) -> None:
    network = read(
        parsed(
            """g (float[1, 8] x) => (float y) {
                p = Relu (x)
                i = NonZero (p)
                g = Cast <to = 1> (i)
                y = ReduceSum <keepdims = 0> (g)
            }"""
        )
    )
    assert {"i", "g"}.isdisjoint(network.tensors)
    assert "without one size: no cut there" in notes(network)


def test_an_output_whose_size_depends_on_the_values_is_refused(read: Read) -> None:
    model = parsed("g (float[1, 8] x) => (int64[2, k] y) { p = Relu (x) y = NonZero (p) }")
    with pytest.raises(ModelError, match=r"output 'y' has another size for every input"):
        read(model)


def test_random_numbers_are_not_folded_away(read: Read) -> None:
    model = parsed(
        """g (float[1, 8] x) => (float[1, 8] y) {
            n = RandomNormal <shape = [1, 8], scale = 0.0000001> ()
            y = Add (x, n)
        }"""
    )
    assert "RandomNormal" in ops(read(model))


def test_weights_that_are_stored_as_integers_stay_integers(read: Read) -> None:
    """A model of quantised weights must not become four times its size."""
    stored = (weights(64, 512) * 100).astype(np.int8)
    network = read(
        parsed(
            """g (float[N, 64] x) => (float[N, 512] y) {
                w = DequantizeLinear (q, scale)
                y = MatMul (x, w)
            }""",
            q=stored,
            scale=np.array(0.01, np.float32),
        )
    )
    kept = {tensor.name: tensor.data_type for tensor in network.model.graph.initializer}
    assert kept["q"] == TensorProto.INT8
    assert network.macs[ops(network).index("MatMul")] == 64 * 512


def test_integer_convolutions_are_read(read: Read) -> None:
    """`quantize_dynamic` writes these: the range is that of the batch, so nothing is joined."""
    network = read(
        parsed(
            """g (float[N, 3, 8, 8] x) => (float[N, 4, 6, 6] y) {
                q, s, z = DynamicQuantizeLinear (x)
                i = ConvInteger (q, w, z)
                f = Cast <to = 1> (i)
                y = Mul (f, s)
            }""",
            w=np.random.default_rng(0).integers(-99, 99, (4, 3, 3, 3)).astype(np.int8),
        )
    )
    assert not network.batches
    assert network.tensors["q"].data_type == "uint8"
    assert network.tensors["i"].data_type == "int32"
    assert network.macs[ops(network).index("ConvInteger")] == 4 * 6 * 6 * 27


def test_half_and_double_precision_are_read(read: Read) -> None:
    network = read(
        parsed(
            """g (float16[N, 8] x) => (double[N, 8] y, bool[N, 8] b) {
                h = Relu (x)
                y = Cast <to = 11> (h)
                b = Cast <to = 9> (h)
            }"""
        )
    )
    types = {spec.name: spec.data_type for spec in network.tensors.values()}
    assert (types["x"], types["y"], types["b"]) == ("float16", "float64", "bool")
