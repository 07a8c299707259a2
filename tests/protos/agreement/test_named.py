"""A manifest's metric is made again from its name, or not at all."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from isthmus import Manifest, TensorSpec, open_bundle
from isthmus.agreement.classification import Classes, Lines
from isthmus.agreement.closeness import Metric
from isthmus.agreement.detection import Detections
from isthmus.agreement.distance import Tensors, Vectors
from isthmus.agreement.layouts import LAYOUTS, decoder
from isthmus.agreement.named import metric_of

ROW = TensorSpec(name="scores", data_type="float32", shape=(10,))
LINE = TensorSpec(name="places", data_type="float32", shape=(5, 40))
CELLS = TensorSpec(name="cells", data_type="float32", shape=(21, 6))  # of a picture of 32x32
INDEX = TensorSpec(name="index", data_type="int64", shape=(3,))
ODD = TensorSpec(name="a b\nc, F1 at IoU 0.5", data_type="float32", shape=(2, 3))


def named(tiny_bundle: Path, metric: str, *outputs: TensorSpec) -> Manifest:
    manifest = open_bundle(tiny_bundle, "device").manifest
    return msgspec.structs.replace(manifest, metric=metric, outputs=outputs)


@pytest.mark.parametrize(
    ("metric", "outputs"),
    [
        (Classes("scores"), (INDEX, ROW, LINE)),
        (Lines("places"), (ROW, LINE)),
        (Tensors((ROW, LINE)), (ROW, LINE)),
        (Vectors("scores"), (LINE, ROW)),
        (Vectors("places"), (LINE, ROW)),
        (Vectors(ODD.name), (ROW, ODD)),
        *((Detections(decoder(layout, (CELLS,), 32, 32), 0.75), (CELLS,)) for layout in LAYOUTS),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_each_metric_is_made_again_from_its_name(
    tiny_bundle: Path, metric: Metric, outputs: tuple[TensorSpec, ...]
) -> None:
    assert metric_of(named(tiny_bundle, metric.name, *outputs)) == metric


def test_an_older_bundle_that_says_cosine_is_compared_in_all_outputs(tiny_bundle: Path) -> None:
    assert metric_of(named(tiny_bundle, "cosine", ROW, LINE)) == Tensors((ROW, LINE))


def test_boxes_are_read_in_the_layout_that_the_name_says(tiny_bundle: Path) -> None:
    wanted = Detections(decoder("yolox", (CELLS,), 32, 32))
    metric = metric_of(named(tiny_bundle, wanted.name, CELLS))
    assert metric is not None
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


@pytest.mark.parametrize("name", [Classes.name, Lines.name, "cosine of index", "cosine of gone"])
def test_a_metric_needs_an_output_that_it_can_read(tiny_bundle: Path, name: str) -> None:
    assert metric_of(named(tiny_bundle, name, INDEX)) is None
