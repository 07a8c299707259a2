"""A model is read, or refused with one message that names the thing and the way out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.partitioner.graph.graphs import Read
from tests.partitioner.networks import CLASSES, SIZE, Builder, pictures, residual, saved
from tests.partitioner.single import one_tensor_cuts

from isthmus import ModelError
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.runtime import open_session, run_batches


def with_node(kind: str, domain: str = "") -> onnx.ModelProto:
    """The residual network with one more node before its answer."""
    model = residual()
    node = helper.make_node(kind, ["answer"], ["final"], name="strange node", domain=domain)
    model.graph.node.append(node)
    model.graph.output[0].name = "final"
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def test_a_network_knows_its_picture_its_answer_and_its_cuts(network: Network) -> None:
    assert (network.inputs[0].name, network.inputs[0].shape) == ("picture", (SIZE, SIZE, 3))
    assert [(o.name, o.data_type, o.shape) for o in network.outputs] == [
        ("answer", "float32", (CLASSES,))
    ]
    assert list(one_tensor_cuts(network)) == [
        "stem.relu", "sum", "last.relu", "pool", "features"
    ]  # fmt: skip


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx: cannot be read \(No such file"):
        load_model(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 64, b"this is not a model" * 20, b"\x89PNG\r\n\x1a\n" + b"\x07" * 99]
)
def test_what_is_not_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="ONNX"):
        load_model(path)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = saved(residual(), tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        load_model(path)


def test_an_op_that_onnx_does_not_know_is_named_with_its_node(read: Read) -> None:
    with pytest.raises(ModelError, match=r"'strange node' is a ai\.onnx:Frobnicate.* replace it"):
        read(with_node("Frobnicate"))


def test_an_op_of_a_domain_that_the_runtime_lacks_is_named_with_its_node(read: Read) -> None:
    with pytest.raises(ModelError, match=r"'strange node' is a my\.ops:Blur, which ONNX Runtime"):
        read(with_node("Blur", domain="my.ops"))


def test_an_op_without_an_implementation_for_its_types_is_named(read: Read) -> None:
    model = residual()
    cast = helper.make_node("Cast", ["answer"], ["wide"], to=TensorProto.BFLOAT16)
    model.graph.node.append(cast)
    model.graph.node.append(helper.make_node("Selu", ["wide"], ["curved"], name="curve"))
    model.graph.node.append(helper.make_node("Cast", ["curved"], ["final"], to=TensorProto.FLOAT))
    model.graph.output[0].name = "final"
    model.opset_import[0].version = 22
    with pytest.raises(ModelError, match=r"node 'curve' is a ai\.onnx:Selu"):
        read(model)


def test_a_broken_graph_is_refused(read: Read) -> None:
    model = residual()
    model.graph.node[5].input[0] = "no such tensor"
    with pytest.raises(ModelError, match="not a valid model"):
        read(model)


def test_an_input_that_nobody_reads_is_one_of_the_inputs(read: Read) -> None:
    model = residual()
    second = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", CLASSES])
    model.graph.input.append(second)
    assert [spec.name for spec in read(model).inputs] == ["picture", "mask"]


def test_a_model_exported_for_one_picture_runs_many(read: Read) -> None:
    network = read(residual(batch=1))
    several = pictures(3)
    answers = run_batches(open_session(network.model, threads=1), {"picture": several})[0]
    assert answers.shape == (3, CLASSES)


def test_a_reshape_that_states_a_batch_of_one_is_freed(read: Read) -> None:
    build = Builder()
    build.constant("one", np.asarray([1, SIZE * SIZE * 3], np.int64))
    build.op("Cast", ["picture"], "real", to=TensorProto.FLOAT)
    build.op("Reshape", ["real", "one"], "flat")
    weights = build.weight("w", SIZE * SIZE * 3, CLASSES, scale=0.01)
    build.op("MatMul", ["flat", weights], "answer")
    network = read(build.model(batch=1))
    assert network.batches
    assert network.tensors["answer"].shape == (CLASSES,)
    feed = {"picture": pictures(3)}
    assert run_batches(open_session(network.model, threads=1), feed)[0].shape == (3, CLASSES)


def test_nodes_without_names_get_names_of_their_own(read: Read) -> None:
    model = residual()
    for node in model.graph.node:
        node.name = ""
    names = [node.name for node in read(model).model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_batch_normalisation_is_merged_into_its_layer(read: Read) -> None:
    build = Builder()
    build.conv(build.picture(), "stem", (3, 8))
    for name, value in (("scale", 1.5), ("shift", 0.5), ("mean_of", 0.2), ("variance", 2.0)):
        build.constant(name, np.full(8, value, np.float32))
    inputs = ["stem", "scale", "shift", "mean_of", "variance"]
    build.op("BatchNormalization", inputs, "normal")
    build.op("Relu", ["normal"], "last")
    build.classes("last", 8)
    network = read(build.model())
    assert "BatchNormalization" not in {node.op_type for node in network.model.graph.node}
    assert list(one_tensor_cuts(network)) == ["last", "pool", "features"]


def test_an_old_opset_is_converted(read: Read) -> None:
    model = residual()
    model.opset_import[0].version = 11
    opsets = read(model).model.opset_import
    assert next(opset.version for opset in opsets if not opset.domain) >= 13


def test_tensors_named_like_a_tails_inputs_are_renamed(read: Read) -> None:
    build = Builder()
    first = build.op("Relu", [build.conv(build.picture(), "step", (3, 8))], "isthmus_symbols_0")
    build.op("Relu", [build.conv(first, "zero_point", (8, 8))], "last")
    build.classes("last", 8)
    names = {name for node in read(build.model()).model.graph.node for name in node.output}
    assert "inner_isthmus_symbols_0" in names
    assert not any(name.startswith("isthmus_") for name in names)


def test_the_networks_answers_are_those_of_the_file(network: Network) -> None:
    several = pictures(4)
    asked = [open_session(source, threads=1) for source in (network.path, network.model)]
    of_file, of_network = (
        run_batches(session, {"picture": several})[0].astype(np.float32) for session in asked
    )
    assert np.abs(of_network - of_file).max() < 1e-6
