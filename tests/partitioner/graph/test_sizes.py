"""Open dimensions are fixed for a plan: by the user, or by a guess that is noted."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner.graph.graphs import Read, notes, parsed, weights
from tests.partitioner.networks import saved

from isthmus import ConfigError, ModelError
from isthmus_partitioner import load_model


def convolution(dims: str, channels: int = 3) -> onnx.ModelProto:
    """A Conv over pictures of open sizes, then the mean of each channel."""
    return parsed(
        f"""g (float[{dims}] x) => (float[n, 4] y) {{
            h = Conv <pads = [1, 1, 1, 1]> (x, w)
            r = Relu (h)
            m = GlobalAveragePool (r)
            y = Flatten (m)
        }}""",
        w=weights(4, channels, 3, 3),
    )


def encoder(**sizes: str) -> onnx.ModelProto:
    """Ids and a mask, both [batch, sequence], embedded and mixed over the sequence."""
    dims = sizes.get("dims", "batch, sequence")
    return parsed(
        f"""g (int64[{dims}] ids, int64[{dims}] mask) => (float[batch, s, 8] y) {{
            e = Gather (table, ids)
            m = Cast <to = 1> (mask)
            u = Unsqueeze (m, last)
            k = Mul (e, u)
            y = MatMul (k, w)
        }}""",
        table=weights(300, 8),
        last=np.array([-1]),
        w=weights(8, 8, seed=1),
    )


def test_open_height_and_width_become_those_of_most_classifiers(read: Read) -> None:
    network = read(convolution("N, 3, height, width"))
    assert network.inputs[0].shape == (3, 224, 224)
    assert network.tensors["h"].shape == (4, 224, 224)
    assert "axis 2 is open and fixed to 224; another size: --size height=N" in notes(network)


def test_a_line_of_text_is_wider_than_high(read: Read) -> None:
    assert read(convolution("N, 3, 48, width")).inputs[0].shape == (3, 48, 320)


def test_an_open_sequence_becomes_128_steps_in_all_inputs(read: Read) -> None:
    network = read(encoder())
    assert [(spec.shape, spec.batch_axis) for spec in network.inputs] == [((128,), 0)] * 2
    assert network.tensors["k"].graph_shape == (1, 128, 8)


def test_a_size_fixes_every_dimension_of_that_name(tmp_path: Path) -> None:
    network = load_model(saved(encoder(), tmp_path / "m.onnx"), {"sequence": 16})
    assert [spec.shape for spec in network.inputs] == [(16,)] * 2
    assert network.notes == ()


def test_one_name_for_two_sizes_can_be_told_apart(tmp_path: Path) -> None:
    """The runtime's own tool gives both the same size; PP-OCRv6 names height and width alike."""
    path = saved(convolution("N, 3, side, side"), tmp_path / "m.onnx")
    sizes = {"side": 32, "x:3": 64}
    assert load_model(path, sizes).inputs[0].shape == (3, 32, 64)


def test_dimensions_without_a_name_are_addressed_by_their_input(tmp_path: Path) -> None:
    path = saved(convolution("?, 3, ?, ?"), tmp_path / "m.onnx")
    network = load_model(path, {"x:2": 40})
    assert network.inputs[0].shape[:2] == (3, 40)
    assert "--size x:3=N" in notes(network)


def test_a_guess_that_the_model_refuses_is_followed_by_the_next(read: Read) -> None:
    """As a recogniser whose height has to shrink to one."""
    model = parsed(
        """g (float[N, 3, h, w] x) => (float[N, c, v] y) {
            p = MaxPool <kernel_shape = [48, 8], strides = [48, 8]> (x)
            y = Squeeze (p, two)
        }""",
        two=np.array([2]),
    )
    assert read(model).inputs[0].shape == (3, 48, 320)


def test_sound_gets_as_many_samples_as_the_model_takes(read: Read) -> None:
    model = parsed(
        """g (float[batch, samples] x) => (float[batch, 1] y) {
            f = Reshape (x, frames)
            m = ReduceMax <axes = [2], keepdims = 0> (f)
            y = MatMul (m, w)
        }""",
        frames=np.array([-1, 4, 4000]),
        w=weights(4, 1),
    )
    assert read(model).inputs[0].shape == (16_000,)


def test_a_model_that_takes_no_guess_names_the_flags(read: Read) -> None:
    model = parsed(
        "g (float[N, 3, h, w] x) => (float[N, k] y) { y = Reshape (x, s) }",
        s=np.array([-1, 3 * 37 * 41]),
    )
    wanted = r"'x' float32 \[1, 3, 224, 224\] .*give the sizes that it wants: --size h=N --size w=N"
    with pytest.raises(ModelError, match=wanted):
        read(model)


def test_what_the_model_wants_may_be_told(tmp_path: Path) -> None:
    model = parsed(
        "g (float[N, 3, h, w] x) => (float[N, k] y) { y = Reshape (x, s) }",
        s=np.array([-1, 3 * 37 * 41]),
    )
    network = load_model(saved(model, tmp_path / "m.onnx"), {"h": 37, "w": 41})
    assert network.outputs[0].shape == (3 * 37 * 41,)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depth": 3}, "--size depth=3 names no dimension; known: "),
        ({"height": 0}, "--size height=0; needed: 1 or more"),
        ({"height": 10**6, "width": 10**6}, "more than 1 GiB"),
    ],
)
def test_a_size_that_cannot_be_is_refused(
    sizes: dict[str, int], message: str, tmp_path: Path
) -> None:
    path = saved(convolution("N, 3, height, width"), tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_model(path, sizes)


def test_an_input_without_a_shape_is_refused(read: Read) -> None:
    model = parsed("g (float x) => (float y) { y = Relu (x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="input 'x' has no shape; export it with one"):
        read(model)


@pytest.mark.parametrize("kind", ["string", "bfloat16", "uint16"])
def test_an_input_of_a_type_that_cannot_cross_is_refused_by_name(kind: str, read: Read) -> None:
    model = parsed(f"g ({kind}[N, 2] x) => ({kind}[N, 2] y) {{ y = Identity (x) }}")
    with pytest.raises(ModelError, match=rf"input 'x' is tensor\({kind}\); possible: .*float64"):
        read(model)


def test_an_output_of_a_type_that_cannot_cross_is_refused_by_name(read: Read) -> None:
    model = parsed("g (float[N, 2] x) => (seq(float[N, 2]) y) { y = SequenceConstruct (x) }")
    with pytest.raises(ModelError, match=r"output 'y' is seq\(tensor\(float\)\); possible:"):
        read(model)
