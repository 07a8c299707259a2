"""Inputs that nobody gave."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isthmus import TensorSpec
from isthmus_partitioner import load_model
from isthmus_partitioner.inputs.made_up import MADE_UP, made_up, made_up_sets, table_sizes


def spec(name: str, data_type: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, data_type=data_type, shape=shape)  # type: ignore[arg-type]


INPUTS = (
    spec("image", "float32", 3, 8, 8),
    spec("sound", "float32", 1, 16_000),
    spec("half", "float16", 5),
    spec("ids", "int64", 128),
    spec("attention_mask", "int64", 128),
    spec("token_type_ids", "int64", 128),
    spec("bytes", "uint8", 100),
    spec("is_first", "bool", 9),
    spec("sr", "int64"),
)


def test_every_input_has_its_type_and_shape() -> None:
    samples = made_up(INPUTS, 12)
    assert len(samples) == 12
    for each in INPUTS:
        array = samples.arrays[each.name]
        assert (array.dtype.name, array.shape) == (each.data_type, (12, *each.shape))


def test_values_are_what_such_inputs_may_be() -> None:
    arrays = made_up(INPUTS, 12).arrays
    assert np.abs(arrays["image"].mean()) < 0.1
    assert arrays["image"].std() == pytest.approx(1, abs=0.1)
    assert arrays["ids"].min() >= 0
    assert 900 < arrays["ids"].max() < 1000
    assert np.all(arrays["attention_mask"] == 1)
    assert set(np.unique(arrays["token_type_ids"])) == {0, 1}
    assert arrays["bytes"].max() > 250
    assert 0 < np.count_nonzero(arrays["is_first"]) < arrays["is_first"].size
    assert np.all(arrays["sr"] == 16_000)


def test_sound_is_smooth_and_not_too_loud() -> None:
    sound = made_up(INPUTS, 4).arrays["sound"].astype(np.float64)
    assert sound.std() == pytest.approx(0.1, rel=0.2)
    assert np.diff(sound).std() < sound.std()  # white noise: 1.4 times


def test_an_id_is_one_of_the_table_that_it_is_looked_up_in() -> None:
    ids = made_up(INPUTS, 12, limits={"ids": 7}).arrays["ids"]
    assert set(np.unique(ids)) == set(range(7))


def test_the_size_of_a_table_is_found_in_the_graph() -> None:
    table = numpy_helper.from_array(np.zeros((30, 4), np.float32), "table")
    turned = numpy_helper.from_array(np.zeros((4, 20), np.float32), "turned")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Gather", ["turned", "ids"], ["b"], axis=1),
        helper.make_node("Gather", ["a", "others"], ["c"]),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N"])
    graph = helper.make_graph(nodes, "g", [ids], [], [table, turned])
    assert table_sizes(graph) == {"ids": 20}


def looked_up(rows: int) -> onnx.ModelProto:
    """Ids are looked up in a table of so many rows, behind a Cast that hides whose table it is."""
    table = numpy_helper.from_array(np.eye(rows, 4, dtype=np.float32), "table")
    nodes = [
        helper.make_node("Cast", ["ids"], ["inner"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "inner"], ["words"]),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 5])
    words = helper.make_tensor_value_info("words", TensorProto.FLOAT, ["N", 5, 4])
    graph = helper.make_graph(nodes, "g", [ids], [words], [table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(("rows", "highest"), [(2000, 999), (300, 255), (30, 1), (1, 0)])
def test_ids_are_made_up_until_the_network_takes_them(
    rows: int, highest: int, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(looked_up(rows), path)
    sets = made_up_sets(load_model(path), 60)
    assert int(np.max(sets.evaluation.arrays["ids"])) == pytest.approx(highest, rel=0.1)
    assert not sets.are_real
    assert sets.notes == (MADE_UP,)
    assert not set(sets.fitted.sources) & set(sets.evaluation.sources)


def test_items_take_turns_over_sources_and_come_again_the_same() -> None:
    once, again = (made_up(INPUTS, 5, sources=3) for _ in range(2))
    assert once.sources == ("seed 0", "seed 1", "seed 2", "seed 0", "seed 1")
    for name, array in once.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert not np.array_equal(once.arrays["ids"][0], once.arrays["ids"][3])
    assert not np.array_equal(once.arrays["ids"][0], once.arrays["ids"][1])
