"""Which network, which items and which metric the flags of `profile`, `plan` and `build` mean."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from tests.cli.models import float_image
from tests.partitioner.networks import CLASSES, SIZE, Builder, pictures, residual, saved

from isthmus import ConfigError, IsthmusError, ModelError
from isthmus_cli.inputs import add_input_arguments, metric_of, samples_of
from isthmus_cli.networks import ChosenNetwork, add_network_arguments, chosen_network
from isthmus_models import Model
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.samples import SampleSets

Given = tuple[argparse.Namespace, ChosenNetwork]


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Given]:
    """A model with flags, read."""

    def read(model: onnx.ModelProto, *flags: object) -> Given:
        parser = argparse.ArgumentParser()
        add_network_arguments(parser)
        add_input_arguments(parser.add_argument_group())
        path = saved(model, tmp_path / "net.onnx")
        options = parser.parse_args([str(path), *map(str, flags)])
        return options, chosen_network(options, tmp_path / "work")

    return read


def sets_and_metric(given: Given) -> tuple[SampleSets, Metric]:
    sets = samples_of(*given)
    return sets, metric_of(*given, sets)


def with_input(model: onnx.ModelProto, *dims: str | int) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, dims)
    model.graph.input[0].CopyFrom(image)
    return model


def grey_image() -> onnx.ModelProto:
    """A classifier of float images [N,1,32,32]."""
    build = Builder()
    build.classes(build.op("Relu", [build.conv("image", "stem", (1, 8))], "relu"), 8)
    return with_input(build.model(), "N", 1, SIZE, SIZE)


def encoder() -> onnx.ModelProto:
    """Ids of a table of 30 rows, with a mask: the sum of the rows."""
    table = Builder()
    table.weight("table", 30, 4, scale=1.0)
    table.constant("axis", np.array([1]))
    table.op("Gather", ["table", "ids"], "words")
    table.op("Cast", ["mask"], "real", to=TensorProto.FLOAT)
    table.op("Unsqueeze", ["real", "last"], "column")
    table.constant("last", np.array([2]))
    table.op("Mul", ["words", "column"], "masked")
    table.op("ReduceSum", ["masked", "axis"], "sentence", keepdims=0)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["N", 6]) for name in ("ids", "mask")
    ]
    output = helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(table.nodes, "encoder", inputs, [output], table.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def cells() -> onnx.ModelProto:
    """21 rows of six numbers, as a YOLOX of 32 x 32 pixels would answer."""
    build = Builder()
    stem = build.conv(build.picture(), "stem", (3, 6), stride=8, kernel=1)
    build.constant("shape", np.array([0, 6, 16]))
    build.constant("rest", np.zeros((1, 6, 5), np.float32))
    build.op("Reshape", [stem, "shape"], "first")
    build.op("ReduceMean", ["first"], "average", axes=[2], keepdims=1)
    build.op("Add", ["average", "rest"], "others")
    build.op("Concat", ["first", "others"], "columns", axis=2)
    build.op("Transpose", ["columns"], "cells", perm=[0, 2, 1])
    model = build.model()
    output = helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["N", 21, 6])
    model.graph.output[0].CopyFrom(output)
    return model


def shapes(sets: SampleSets, name: str) -> set[tuple[int, ...]]:
    return {each.arrays[name].shape[1:] for each in (sets.fitted, sets.held_back, sets.evaluation)}


def scenes(folder: Path) -> Path:
    """Three sub-folders with four pictures each."""
    for row, picture in enumerate(pictures(12)):
        scene = folder / f"scene-{row % 3}"
        scene.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(scene / f"{row}.png")
    return folder


def test_a_network_of_pictures_gets_photographs_divided_by_source(
    given: Callable[..., Given],
) -> None:
    sets, metric = sets_and_metric(given(residual()))
    assert shapes(sets, "picture") == {(SIZE, SIZE, 3)}
    assert sets.are_real
    assert sets.notes == ()
    sources = [set(each.sources) for each in (sets.fitted, sets.held_back, sets.evaluation)]
    assert sum(map(len, sources)) == len(set.union(*sources))
    assert metric.name == "top-1"


def test_a_float_image_is_assumed_to_want_imagenets_preprocessing(
    given: Callable[..., Given],
) -> None:
    chosen = given(float_image())
    (spec,) = chosen[1].network.inputs
    assert (spec.data_type, spec.shape) == ("uint8", (SIZE, SIZE, 3))
    assert chosen[1].name == "net"
    (note,) = samples_of(*chosen).notes
    for word in ("assumed", "'image'", "ImageNet", "123.675 116.28 103.53", "--mean 0 --std 1"):
        assert word in note


def test_preprocessing_that_was_given_is_not_assumed(given: Callable[..., Given]) -> None:
    assumed = given(float_image())[1].network
    told = given(float_image(), "--mean", 127, "--std", 64)
    assert samples_of(*told).notes == ()
    assert told[1].network.sha256 != assumed.sha256


def test_a_grey_image_stays_a_float_and_gets_scaled_brightness(given: Callable[..., Given]) -> None:
    chosen = given(grey_image())
    (spec,) = chosen[1].network.inputs
    assert (spec.data_type, spec.shape) == ("float32", (1, SIZE, SIZE))
    sets, metric = sets_and_metric(chosen)
    assert ["a grey picture" in note for note in sets.notes] == [True]
    assert -2.5 < float(np.min(sets.evaluation.arrays["image"])) < 0
    assert metric.name == "top-1"
    told = given(grey_image(), "--mean", 0, "--std", 255)
    values = samples_of(*told).evaluation.arrays["image"].astype(np.float64)
    assert samples_of(*told).notes == ()
    assert values.min() >= 0
    assert 0.9 < values.max() <= 1


@pytest.mark.parametrize(
    ("dims", "flags", "shape"),
    [
        (("N", 3, "h", "w"), ("--size", "h=16", "w=24"), (16, 24, 3)),
        (("N", 3, "h", "w"), ("--size", "image:2=16", "--size", "image:3=16"), (16, 16, 3)),
        (("N", 3, "h", "w"), (), (224, 224, 3)),
    ],
)
def test_an_image_of_open_size_gets_the_one_that_is_given_or_guessed(
    given: Callable[..., Given],
    dims: tuple[str | int, ...],
    flags: tuple[str, ...],
    shape: tuple[int, ...],
) -> None:
    _, chosen = given(with_input(float_image(), *dims), *flags)
    assert chosen.network.inputs[0].shape == shape
    guesses = [note for note in chosen.notes if "--size" in note]
    assert len(guesses) == (0 if flags else 2)


def test_what_a_model_declares_wrongly_is_noted_once(given: Callable[..., Given]) -> None:
    model = with_input(float_image(), "N", 3, "h", "w")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = CLASSES + 1
    options, chosen = given(model)
    notes = (*chosen.network.notes, *samples_of(options, chosen).notes)
    assert len([note for note in notes if "is declared as" in note]) == 1
    assert len([note for note in notes if "--size" in note]) == 2
    assert len(set(notes)) == len(notes)


def test_a_network_of_something_else_gets_made_up_inputs_and_is_told_so(
    given: Callable[..., Given],
) -> None:
    sets, metric = sets_and_metric(given(encoder()))
    assert not sets.are_real
    assert ["worthless" in note and "--inputs" in note for note in sets.notes] == [True]
    assert int(np.max(sets.evaluation.arrays["ids"])) == 29
    assert np.all(sets.evaluation.arrays["mask"] == 1)
    assert not set(sets.fitted.sources) & set(sets.evaluation.sources)
    assert metric.name == "top-1"


def test_arrays_of_ones_own_are_divided_by_source(
    given: Callable[..., Given], tmp_path: Path
) -> None:
    files = [tmp_path / f"{name}.npz" for name in "abcd"]
    for value, file in enumerate(files):
        ids = np.full((9, 6), value)
        np.savez(file, ids=ids, mask=np.ones_like(ids))
    sets = samples_of(*given(encoder(), "--inputs", *files))
    assert sets.are_real
    assert sets.notes == ()
    assert {len(each) for each in (sets.fitted, sets.held_back)} == {9}
    for each in (sets.fitted, sets.held_back, sets.evaluation):
        names = {f"{'abcd'[int(row[0])]}.npz" for row in each.arrays["ids"]}
        assert names == set(each.sources)


def test_with_arrays_a_float_image_is_left_as_it_is(
    given: Callable[..., Given], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((10, 3, SIZE, SIZE), np.float32))
    sets = samples_of(*given(float_image(), "--inputs", tmp_path / "a.npz"))
    assert shapes(sets, "image") == {(3, SIZE, SIZE)}
    assert ["one source ('a.npz')" in note for note in sets.notes] == [True]


def test_of_too_many_rows_some_of_each_source_are_taken(
    given: Callable[..., Given], tmp_path: Path
) -> None:
    ids = np.zeros((300, 6), np.int64)
    sources = [f"s{row % 10}" for row in range(300)]
    np.savez(tmp_path / "a.npz", ids=ids, mask=ids, sources=sources)
    sets = samples_of(*given(encoder(), "--inputs", tmp_path / "a.npz"))
    assert ["200 of 300 rows" in note for note in sets.notes] == [True]
    assert sum(map(len, (sets.fitted, sets.held_back, sets.evaluation))) == 200


def test_sub_folders_of_pictures_are_sources(given: Callable[..., Given], tmp_path: Path) -> None:
    for model in (residual(), float_image()):
        sets = samples_of(*given(model, "--pictures", scenes(tmp_path / "scenes")))
        sources = [set(each.sources) for each in (sets.fitted, sets.held_back, sets.evaluation)]
        assert sorted(map(sorted, sources)) == [["scene-0"], ["scene-1"], ["scene-2"]]


class Catalogued:
    """A model of the catalogue, as far as items and metric go."""

    def __init__(self, **changed: object) -> None:
        fields = {"task": "tensor", "boxes": None, "calibration": 5, "evaluation": 4, **changed}
        self.model = Model(
            name="known",
            title="known",
            licence="none",
            make=residual,
            items=self.items,
            **fields,  # type: ignore[arg-type]
        )

    @staticmethod
    def items(part: str, count: int) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        return {"picture": pictures(count)}, tuple(f"{part} {row % 3}" for row in range(count))


def test_a_model_of_the_catalogue_brings_its_items_and_its_task(
    given: Callable[..., Given],
) -> None:
    options, chosen = given(residual())
    chosen = replace(chosen, known=Catalogued().model)
    sets, metric = sets_and_metric((options, chosen))
    assert [len(each) for each in (sets.fitted, sets.held_back, sets.evaluation)] == [3, 2, 4]
    assert set(sets.evaluation.sources) == {f"evaluation {row}" for row in range(3)}
    assert metric.name == "cosine"
    detector = replace(given(cells())[1], known=Catalogued(task="detect", boxes="yolox").model)
    assert metric_of(options, detector, sets).name == "F1 at IoU 0.5, yolox boxes"


def test_items_of_the_catalogue_that_the_flags_made_unfit_are_refused(
    given: Callable[..., Given],
) -> None:
    options, chosen = given(with_input(float_image(), "N", 3, 16, 16))
    known = replace(chosen, known=Catalogued().model)
    with pytest.raises(ConfigError, match=r"known: .*'picture' \[32, 32, 3\].*\[16, 16, 3\]"):
        samples_of(options, known)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (("--task", "tensor"), "cosine"),
        (("--task", "embed"), "cosine of cells"),
        (("--task", "detect", "--boxes", "yolox"), "F1 at IoU 0.5, yolox boxes"),
        (("--boxes", "yolov5"), "F1 at IoU 0.5, yolov5 boxes"),
        ((), "cosine"),
    ],
)
def test_a_flag_says_how_answers_are_compared(
    given: Callable[..., Given], flags: tuple[str, ...], name: str
) -> None:
    chosen = given(cells(), *flags)
    sets, metric = sets_and_metric(chosen)
    assert metric.name == name
    answers = {"cells": np.random.default_rng(0).random((3, 21, 6), np.float32)}
    assert metric.closeness(answers, answers).agreement == 1
    assert len(sets.fitted) > 0


def refusal(given: Callable[..., Given], model: onnx.ModelProto, *flags: object) -> str:
    with pytest.raises(IsthmusError) as caught:
        sets_and_metric(given(model, *flags))
    message = str(caught.value)
    assert isinstance(caught.value, ConfigError | ModelError)
    assert len(message.splitlines()) == 1
    return message


def test_flags_that_do_not_fit_the_network_are_refused_with_what_does(
    given: Callable[..., Given], tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.npz"
    np.savez(nothing, other=np.zeros(3))
    for model, flags, words in (
        (encoder(), ("--pictures", scenes(tmp_path)), ("'ids' int64 [6]", "--inputs")),
        (encoder(), ("--inputs", nothing), ("nothing.npz", "misses 'ids'", "'mask' int64 [n, 6]")),
        (encoder(), ("--mean", 0, "--std", 1), ("2 inputs", "'ids', 'mask'")),
        (residual(), ("--mean", 0, "--std", 1), ("'picture'", "float32")),
        (residual(), ("--boxes", "yolox"), (f"'answer' [{CLASSES}]", "'yolox'")),
        (residual(), ("--boxes", "yolox", "--task", "text"), ("--boxes yolox", "no boxes")),
        (residual(), ("--task", "detect"), ("layout",)),
        (residual(), ("--task", "text"), ("'text'", "[places,characters]", "'answer'")),
        (residual(), ("--size", "depth=4"), ("depth=4", "names no dimension")),
        (float_image(), ("--mean", 0, "--std", 0), ("--std", "above 0")),
    ):
        message = refusal(given, model, *flags)
        assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--size", "h"),
        ("--size", "h=-4"),
        ("--size", "=4"),
        ("--size", "h=many"),
        ("--task", "guess"),
        ("--boxes", "yolo"),
        ("--pictures", "a", "--inputs", "b.npz"),
    ],
    ids=" ".join,
)
def test_flags_that_cannot_be_read_are_wrong_usage(
    given: Callable[..., Given], flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        given(residual(), *flags)
    assert ended.value.code == 2
    assert flags[0] in capsys.readouterr().err
