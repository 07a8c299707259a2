from typing import Literal

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.sessions import calm_session

from isthmus.errors import ModelError
from isthmus_models import with_picture_input

Layout = Literal["nchw", "nhwc"]
Dims = list[str | int]


def identity_model(
    dims: Dims,
    *,
    data_type: int = TensorProto.FLOAT,
    inputs: tuple[str, ...] = ("image",),
    result: str = "answer",
    opset: int = 13,
) -> onnx.ModelProto:
    """Hands its (first) input on, so that what the preprocessing made can be seen."""
    infos = [helper.make_tensor_value_info(name, data_type, dims) for name in inputs]
    node = helper.make_node("Identity", [inputs[0]], [result])
    output = helper.make_tensor_value_info(result, data_type, dims)
    graph = helper.make_graph([node], "identity", infos, [output])
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    onnx.checker.check_model(model, full_check=True)
    session = calm_session(model.SerializeToString())
    (answer,) = session.run(None, {session.get_inputs()[0].name: pictures})
    return np.asarray(answer, np.float32)


def random_pictures(count: int = 2, height: int = 5, width: int = 7) -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("mean", "std"), [(127.0, 128.0), ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))]
)
def test_the_graph_computes_what_numpy_computes(
    layout: Layout,
    channels: Literal["rgb", "bgr"],
    mean: float | tuple[float, ...],
    std: float | tuple[float, ...],
) -> None:
    dims: Dims = ["N", 3, 5, 7] if layout == "nchw" else ["N", 5, 7, 3]
    model = with_picture_input(
        identity_model(dims), mean=mean, std=std, channels=channels, layout=layout
    )
    pictures = random_pictures()
    pixels = pictures[..., ::-1] if channels == "bgr" else pictures
    expected = (pixels.astype(np.float32) - np.asarray(mean, np.float32)) / np.asarray(
        std, np.float32
    )
    if layout == "nchw":
        expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(run(model, pictures), expected)


def test_steps_that_change_nothing_are_left_out() -> None:
    model = with_picture_input(identity_model(["N", 5, 7, 3]), mean=0, std=1, layout="nhwc")
    assert [node.op_type for node in model.graph.node] == ["Cast", "Identity"]


def test_the_input_is_a_picture_with_the_batch_of_the_model() -> None:
    model = with_picture_input(identity_model([4, 3, 5, 7]), mean=0, std=255, name="photo")
    (picture,) = model.graph.input
    kind = picture.type.tensor_type
    assert (picture.name, kind.elem_type) == ("photo", TensorProto.UINT8)
    assert [dim.dim_value for dim in kind.shape.dim] == [4, 5, 7, 3]


def test_the_given_model_stays_as_it_is() -> None:
    model = identity_model(["N", 3, 5, 7])
    before = model.SerializeToString(deterministic=True)
    with_picture_input(model, mean=1, std=2)
    assert model.SerializeToString(deterministic=True) == before


def test_a_weight_listed_as_an_input_is_no_second_input() -> None:
    """Models of IR version 3 list their initialisers among the inputs."""
    model = identity_model(["N", 3, 5, 7], inputs=("image", "weight"))
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1, 3, 5, 7], [0.0] * 105)
    model.graph.initializer.append(weight)
    pictured = with_picture_input(model, mean=0, std=1)
    assert [info.name for info in pictured.graph.input] == ["picture", "weight"]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (identity_model(["N", 3, 5, 7], inputs=("left", "right")), r"has 2 inputs \('left', 'righ"),
        (identity_model(["N", 3, 5, 7], data_type=TensorProto.INT64), r"'image' is int64 \[N,3,5"),
        (identity_model(["N", 3, 5]), "needed: float32 with four dimensions"),
        (identity_model(["N", 3, "H", "W"]), "no fixed height and width"),
        (identity_model(["N", 1, 5, 7]), "does not have 3 channels"),
        (identity_model(["N", 5, 7, 3]), "name the other layout"),
        (identity_model(["N", 3, 5, 7], opset=6), "has opset 6; needed: 7"),
        (identity_model(["N", 3, 5, 7], result="picture"), "'picture' already"),
        (identity_model(["N", 3, 5, 7], result="picture.float"), "'picture' already"),
    ],
)
def test_a_model_that_takes_no_picture_is_refused(model: onnx.ModelProto, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        with_picture_input(model, mean=0, std=1)


def test_a_mean_for_two_channels_is_refused() -> None:
    with pytest.raises(ModelError, match="mean has shape"):
        with_picture_input(identity_model(["N", 3, 5, 7]), mean=(1, 2), std=1)


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(ModelError, match="std is"):
        with_picture_input(identity_model(["N", 3, 5, 7]), mean=0, std=(1, 0, 1))
