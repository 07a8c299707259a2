"""A manifest's metric is made again from its name, or not at all."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from isthmus import Manifest, TensorSpec, open_bundle
from isthmus.agreement.classification import Classes, Lines
from isthmus.agreement.detection import Detections
from isthmus.agreement.distance import Tensors
from isthmus.agreement.layouts import decoder
from isthmus.agreement.named import metric_of

ROW = TensorSpec(name="scores", data_type="float32", shape=(10,))
LINE = TensorSpec(name="places", data_type="float32", shape=(5, 40))
CELLS = TensorSpec(name="cells", data_type="float32", shape=(21, 6))  # of a picture of 32x32
INDEX = TensorSpec(name="index", data_type="int64", shape=(1,))


def named(tiny_bundle: Path, metric: str, *outputs: TensorSpec) -> Manifest:
    manifest = open_bundle(tiny_bundle, "device").manifest
    return msgspec.structs.replace(manifest, metric=metric, outputs=outputs)


def test_each_metric_is_known_by_its_name(tiny_bundle: Path) -> None:
    assert metric_of(named(tiny_bundle, Classes.name, INDEX, ROW)) == Classes("scores")
    assert metric_of(named(tiny_bundle, Lines.name, ROW, LINE)) == Lines("places")
    assert metric_of(named(tiny_bundle, Tensors.name, ROW, LINE)) == Tensors((ROW, LINE))


def test_boxes_are_read_in_the_layout_that_the_name_says(tiny_bundle: Path) -> None:
    wanted = Detections(decoder("yolox", (CELLS,), 32, 32))
    metric = metric_of(named(tiny_bundle, wanted.name, CELLS))
    assert metric is not None
    assert metric.name == wanted.name
    random = np.random.default_rng(0)
    answers, others = ({"cells": random.random((3, 21, 6), np.float32)} for _ in range(2))
    assert metric.closeness(answers, others) == wanted.closeness(answers, others)
    assert wanted.closeness(answers, others).agreement < 1


@pytest.mark.parametrize(
    "name",
    ["F1 at IoU 0.5", "F1 at IoU 0.5, unheard-of boxes", "F1 at IoU 0.5, yolox boxes", "beauty"],
)
def test_what_a_manifest_does_not_say_nobody_guesses(tiny_bundle: Path, name: str) -> None:
    """The third one is laid out for another size."""
    assert metric_of(named(tiny_bundle, name, ROW, LINE)) is None


@pytest.mark.parametrize("name", [Classes.name, Lines.name])
def test_a_metric_needs_an_output_that_it_can_read(tiny_bundle: Path, name: str) -> None:
    assert metric_of(named(tiny_bundle, name, INDEX)) is None
