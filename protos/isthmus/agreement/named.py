"""The metric that a manifest names, made again where only the bundle is at hand.

A manifest says in `metric` what its agreement counts, as `Metric.name` has it:

    top-1                         `Classes` of the first output that is a row of scores
    equal texts                   `Lines` of the first output [places,characters]
    cosine                        `Tensors`, all outputs together
    cosine of OUTPUT              `Vectors` of this output
    F1 at IoU 0.5, LAYOUT boxes   `Detections`, read in that layout

A bare "F1 at IoU 0.5" does not say how the boxes are laid out: nobody can compare them. Older
bundles say "cosine" for `Vectors`, too: there all outputs are compared.
"""

import re
from collections.abc import Sequence

from isthmus.agreement.classification import Classes, Lines
from isthmus.agreement.closeness import Metric
from isthmus.agreement.detection import Detections
from isthmus.agreement.distance import Tensors, Vectors
from isthmus.agreement.layouts import decoder
from isthmus.agreement.outputs import first_fitting, is_line, is_row, is_vector
from isthmus.errors import ConfigError
from isthmus.manifest import (
    Manifest,
)
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["metric_of"]

_BOXES = re.compile(r"F1 at IoU (0\.\d+), (\w+) boxes")


def metric_of(manifest: Manifest) -> Metric | None:
    """The manifest's metric; None if the manifest does not say enough to make it again."""
    name, outputs = manifest.metric, manifest.outputs
    if name == Tensors.name:
        return Tensors(outputs)
    row, line = first_fitting(outputs, is_row), first_fitting(outputs, is_line)
    if name == Classes.name and row is not None:
        return Classes(row)
    if name == Lines.name and line is not None:
        return Lines(line)
    vector = first_fitting(outputs, lambda it: is_vector(it) and Vectors(it.name).name == name)
    if vector is not None:
        return Vectors(vector)
    boxes = _BOXES.fullmatch(name)
    return None if boxes is None else _detections(boxes[2], float(boxes[1]), manifest)


def _detections(layout: str, match: float, manifest: Manifest) -> Metric | None:
    try:
        decode = decoder(layout, manifest.outputs, *_picture_size(manifest.inputs))
    except ConfigError:  # of another version, or laid out for another size: nothing to compare by
        return None
    return Detections(decode, match)


def _picture_size(inputs: Sequence[TensorSpec]) -> tuple[int, int]:
    """Height and width of the first input with three channels, last or first; (0, 0) if none."""
    for spec in inputs:
        match spec.shape:
            case (height, width, 3) | (3, height, width):
                return height, width
    return 0, 0
