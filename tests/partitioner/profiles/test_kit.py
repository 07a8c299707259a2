"""A kit holds the network, prefixes over the same weights, and items; it is whole or not there."""

import errno
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tests.partitioner.networks import Builder, pictures, residual, saved, two_branches

from isthmus import BundleError, ConfigError, ModelError, TensorSpec, sha256_of
from isthmus.profiles import ANSWERS_NAME, INPUTS_NAME, KIT_NAME, Kit, decode_kit
from isthmus_partitioner.graph.network import Network, load_model
from isthmus_partitioner.graph.surgery import initialisers
from isthmus_partitioner.profiles import kit as kit_module
from isthmus_partitioner.profiles.kit import write_kit
from isthmus_partitioner.profiles.prefixes import prefix_cuts
from isthmus_partitioner.profiles.weights import with_weights_outside
from isthmus_partitioner.runtime import open_session
from isthmus_partitioner.samples import Samples


def samples(count: int = 6) -> Samples:
    return Samples({"picture": pictures(count)}, tuple(f"photo {i}" for i in range(count)))


def deep() -> onnx.ModelProto:
    """Eight equal layers, so that each quarter of the work ends behind one."""
    build = Builder()
    before = build.op("Relu", [build.conv(build.picture(), "stem", (3, 16))], "stem.relu")
    for index in range(8):
        name = f"layer{index}"
        before = build.op("Relu", [build.conv(before, name, (16, 16))], f"{name}.relu")
    build.classes(before, 16)
    return build.model()


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_model(saved(deep(), tmp_path_factory.mktemp("deep") / "deep.onnx"))


@pytest.fixture(scope="module")
def written(read: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kit(
        read, {"fp32": read.model}, samples(), tmp_path_factory.mktemp("kits") / "deep" / "kit"
    )


def record(folder: Path) -> Kit:
    return decode_kit((folder / KIT_NAME).read_bytes(), KIT_NAME)


def read_array(folder: Path, name: str) -> NDArray[np.generic]:
    with np.load(folder / ANSWERS_NAME, allow_pickle=False) as arrays:
        found: NDArray[np.generic] = arrays[name]
    return found


def test_prefixes_end_behind_a_layer_and_its_activation_a_quarter_of_the_work_apart(
    read: Network,
) -> None:
    cuts = prefix_cuts(read)
    assert len(cuts) == 3
    assert [cut.title.endswith(".relu") for cut in cuts] == [True] * 3
    assert [cut.macs_share for cut in cuts] == pytest.approx([0.25, 0.5, 0.75], abs=0.07)


def test_a_prefix_ends_where_few_tensors_cross(tmp_path: Path) -> None:
    branches = load_model(saved(two_branches(), tmp_path / "model.onnx"))
    titles = [cut.title for cut in prefix_cuts(branches)]
    assert titles[0] == "stem.relu"
    assert "left.relu + right.relu" not in titles  # `joined` is as far, and one tensor


def test_a_network_without_layers_has_no_prefixes(tmp_path: Path) -> None:
    build = Builder()
    build.op("GlobalAveragePool", [build.picture()], "pool")
    build.op("Flatten", ["pool"], "features")
    build.constant("weights", np.ones((1, 5), np.float32))
    build.op("ReduceMean", ["features"], "average", axes=[1], keepdims=1)
    build.op("Mul", ["average", "weights"], "answer")
    network = load_model(saved(build.model(), tmp_path / "model.onnx"))
    assert prefix_cuts(network) == ()
    kit = write_kit(network, {"fp32": network.model}, samples(), tmp_path / "kit")
    assert record(kit).networks[0].prefixes == ()


def test_the_network_of_a_kit_answers_as_the_network_does(read: Network, written: Path) -> None:
    whole = ort.InferenceSession(read.model.SerializeToString())
    kept = ort.InferenceSession(str(written / "fp32.onnx"))
    feed = {"picture": pictures(1)}
    np.testing.assert_array_equal(kept.run(None, feed)[0], whole.run(None, feed)[0])


def test_a_prefix_computes_the_tensor_that_it_is_named_by(read: Network, written: Path) -> None:
    shown = onnx.ModelProto()
    shown.CopyFrom(read.model)
    prefixes = record(written).networks[0].prefixes
    shown.graph.output.extend(onnx.ValueInfoProto(name=p.tensors[0]) for p in prefixes)
    feed = {"picture": pictures(1)}
    names = [prefix.tensors[0] for prefix in prefixes]
    wanted = ort.InferenceSession(shown.SerializeToString()).run(names, feed)
    for prefix, values in zip(prefixes, wanted, strict=True):
        session = ort.InferenceSession(str(written / prefix.file))
        np.testing.assert_allclose(session.run(None, feed)[0], values, rtol=1e-4, atol=1e-5)


def test_a_prefix_that_the_runtime_refuses_is_left_out(
    read: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def partly(file: Path, **options: object) -> object:
        if file.name == "fp32-0.onnx" and not refused:
            refused.append(file)
            raise ModelError("no such rank")
        return open_session(file, **options)  # type: ignore[arg-type]

    refused: list[Path] = []
    monkeypatch.setattr(kit_module, "open_session", partly)
    folder = write_kit(read, {"fp32": read.model}, samples(), tmp_path / "kit")
    (network,) = record(folder).networks
    kept = [prefix.tensors for prefix in network.prefixes]
    assert refused
    assert kept == [tuple(s.name for s in cut.tensors) for cut in prefix_cuts(read)[1:]]
    assert {p.file for p in network.prefixes} == {"fp32-0.onnx", "fp32-1.onnx"}
    assert not (folder / "fp32-2.onnx").exists()


def test_prefixes_share_the_weights_of_the_network(written: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in written.iterdir()}
    assert sizes["fp32.weights"] > 8 * 16 * 16 * 9 * 4
    assert max(size for name, size in sizes.items() if name.endswith(".onnx")) < 20_000


def test_a_kit_names_its_model_and_holds_a_few_items(read: Network, written: Path) -> None:
    kit = record(written)
    assert (kit.model_name, kit.model_sha256) == ("deep", read.sha256)
    assert (kit.inputs, kit.items) == (read.inputs, 4)
    with np.load(written / INPUTS_NAME, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["input_0"], pictures(6)[:4])
    assert {file.path: file.sha256 for file in kit.files} == {
        path.name: sha256_of(path) for path in written.iterdir() if path.name != KIT_NAME
    }


def test_a_kit_holds_what_each_network_answers_in_onnx_runtime(
    read: Network, tmp_path: Path
) -> None:
    """Of the network in another precision, its own answers."""
    other = onnx.ModelProto()
    other.CopyFrom(read.model)
    for tensor in other.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.5), tensor.name))
    folder = write_kit(read, {"fp32": read.model, "int8": other}, samples(), tmp_path / "kit")
    assert (record(folder).outputs, record(folder).answered) == (read.outputs, 4)
    with np.load(folder / ANSWERS_NAME, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["answer_0_0", "answer_1_0"]
        for name, model in (("answer_0_0", read.model), ("answer_1_0", other)):
            session = ort.InferenceSession(model.SerializeToString())
            wanted = session.run(None, {"picture": pictures(6)[:4]})[0]
            np.testing.assert_allclose(arrays[name], wanted, rtol=1e-4, atol=1e-6)
    assert (read_array(folder, "answer_0_0") != read_array(folder, "answer_1_0")).any()


def test_of_large_answers_a_kit_holds_fewer(
    read: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output,) = read.outputs
    for most, answered in ((2 * output.nbytes, 2), (1, 1)):
        monkeypatch.setattr(kit_module, "_MOST_ANSWER_BYTES", most)
        folder = write_kit(read, {"fp32": read.model}, samples(), tmp_path / "kit")
        assert (record(folder).items, record(folder).answered) == (4, answered)
        assert read_array(folder, "answer_0_0").shape == (answered, *output.shape)


def test_equal_networks_make_equal_kits(read: Network, written: Path, tmp_path: Path) -> None:
    """What was measured of one is of use for the other."""
    again = write_kit(read, {"fp32": read.model}, samples(), tmp_path / "kit")
    assert sha256_of(again / KIT_NAME) == sha256_of(written / KIT_NAME)


def test_only_the_networks_that_cuts_are_proposed_from_have_prefixes(
    read: Network, tmp_path: Path
) -> None:
    models = dict.fromkeys(("fp32", "int8", "head"), read.model)
    kit = record(write_kit(read, models, samples(), tmp_path / "kit"))
    assert [(n.name, len(n.prefixes)) for n in kit.networks] == [
        ("fp32", 3),
        ("int8", 0),
        ("head", 3),
    ]


def test_names_of_any_character_are_fine(tmp_path: Path) -> None:
    model = residual()
    for names in (model.graph.node[0].input, [model.graph.input[0]]):
        if isinstance(names, list):
            names[0].name = "../file:0"
        else:
            names[0] = "../file:0"
    network = load_model(saved(model, tmp_path / "model.onnx"))
    items = Samples({"../file:0": pictures(2)}, ("a", "b"))
    kit = record(write_kit(network, {"fp32": network.model}, items, tmp_path / "kit"))
    assert (kit.inputs[0].name, kit.items) == ("../file:0", 2)
    assert not (tmp_path / "file:0").exists()


def test_items_of_another_size_are_refused(read: Network, tmp_path: Path) -> None:
    items = Samples({"picture": pictures(2, size=16)}, ("a", "b"))
    with pytest.raises(ConfigError, match=r"input 'picture'.*\[16, 16, 3\].*\[32, 32, 3\]"):
        write_kit(read, {"fp32": read.model}, items, tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_an_older_kit_is_replaced_and_anything_else_is_left_alone(
    read: Network, tmp_path: Path
) -> None:
    kit = write_kit(read, {"fp32": read.model, "int8": read.model}, samples(), tmp_path / "kit")
    write_kit(read, {"fp32": read.model}, samples(), kit)
    assert not (kit / "int8.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(BundleError, match="exists and is not a profile kit"):
        write_kit(read, {"fp32": read.model}, samples(), tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_kit_that_cannot_be_finished_leaves_nothing_behind(
    read: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(kit_module, "_save", fail)
    expected = BundleError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left" if isinstance(failure, OSError) else None):
        write_kit(read, {"fp32": read.model}, samples(), tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_lie_outside_already_are_found(read: Network, tmp_path: Path) -> None:
    first = with_weights_outside(read.model, tmp_path, tmp_path / "first")
    assert any(t.data_location == onnx.TensorProto.EXTERNAL for t in first.graph.initializer)
    with_weights_outside(first, tmp_path, tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == (tmp_path / "first").read_bytes()
    before = {name: tensor.raw_data for name, tensor in initialisers(read.model.graph).items()}
    assert all(len(data) for data in before.values())  # the model itself keeps its own


def test_inputs_of_every_type_are_written_as_the_network_reads_them(tmp_path: Path) -> None:
    """A scalar input is [n]; integers that came as other integers are converted."""
    spec = TensorSpec(name="rate", data_type="int64", shape=(), batch_axis=None)
    build = Builder()
    build.picture()
    build.nodes.clear()
    build.op("Cast", ["rate"], "answer", to=onnx.TensorProto.FLOAT)
    graph = onnx.helper.make_graph(
        build.nodes,
        "scalar",
        [onnx.helper.make_tensor_value_info("rate", onnx.TensorProto.INT64, [])],
        [onnx.helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, [])],
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    network = load_model(
        saved(
            onnx.helper.make_model(graph, opset_imports=opset, ir_version=8),
            tmp_path / "model.onnx",
        )
    )
    items = Samples({"rate": np.asarray([8000, 16000], np.int32)}, ("a", "b"))
    kit = write_kit(network, {"fp32": network.model}, items, tmp_path / "kit")
    assert record(kit).inputs == (spec,)
    with np.load(kit / INPUTS_NAME, allow_pickle=False) as arrays:
        assert arrays["input_0"].dtype == np.int64
