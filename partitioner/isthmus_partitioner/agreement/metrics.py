"""What it means that two answers agree: one metric for each kind of task.

Agreement is always with the unsplit fp32 network, never with labels: it is the sensitive measure.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from isthmus import ConfigError, TensorSpec
from isthmus.agreement.classification import Classes, Lines, are_distributions
from isthmus.agreement.closeness import Answers, AnyArray, Closeness, Metric
from isthmus.agreement.detection import Decode, Detections
from isthmus.agreement.distance import Tensors, Vectors, is_float
from isthmus.agreement.outputs import first_fitting, is_line, is_row, is_vector

__all__ = ["Answers", "Closeness", "Metric", "Task", "metric_for"]

Task = Literal["auto", "classify", "detect", "embed", "tensor", "text"]


def metric_for(
    task: Task,
    outputs: tuple[TensorSpec, ...],
    decode: Decode | None = None,
    reference: Answers | None = None,
) -> Metric:
    """The metric of a task for these outputs; "auto" guesses from shapes and, if given, answers.

    The guess: one float output of two values or more is a class for each (`Classes`) - unless the
    reference's answers have the length 1, which only embeddings have (`Vectors`); one of
    [places,characters] whose rows add up to 1 in the reference is a text (`Lines`); anything else
    is compared as it is (`Tensors`). Boxes are never guessed: `decode` makes them (see `layouts`).

    Raises ConfigError for a task that no output fits, or "detect" without `decode`.
    """
    match task:
        case "auto":
            return _guessed(outputs, decode, reference)
        case "classify":
            return Classes(_first(outputs, task, "with two values or more", is_row))
        case "text":
            return Lines(_first(outputs, task, "[places,characters]", is_line))
        case "embed":
            return Vectors(_first(outputs, task, "with two values or more", is_vector))
        case "detect":
            return _detections(decode)
        case "tensor":
            return Tensors(outputs)


def _detections(decode: Decode | None) -> Metric:
    if decode is None:
        raise ConfigError(
            "task 'detect' needs the layout of the boxes; name one, or compare with task 'tensor'"
        )
    return Detections(decode)


def _guessed(
    outputs: tuple[TensorSpec, ...], decode: Decode | None, reference: Answers | None
) -> Metric:
    if decode is not None:
        return Detections(decode)
    floats = [spec for spec in outputs if is_float(spec)]
    if len(floats) == 1:
        (only,) = floats
        rows = None if reference is None else reference[only.name]
        if is_row(only):
            is_unit = rows is not None and _have_unit_length(rows) and not are_distributions(rows)
            return Vectors(only.name) if is_unit else Classes(only.name)
        if is_line(only) and rows is not None and are_distributions(rows):
            return Lines(only.name)
    return Tensors(outputs)


def _first(
    outputs: tuple[TensorSpec, ...], task: str, wanted: str, fits: Callable[[TensorSpec], bool]
) -> str:
    name = first_fitting(outputs, fits)
    if name is not None:
        return name
    described = ", ".join(f"{spec.name!r} {spec.data_type} {list(spec.shape)}" for spec in outputs)
    raise ConfigError(
        f"no output fits task {task!r}, which needs a float output {wanted} (there is "
        f"{described}); choose another task, 'tensor' fits all"
    )


def _have_unit_length(rows: AnyArray) -> bool:
    lengths = np.linalg.norm(rows.reshape(len(rows), -1).astype(np.float64), axis=1)
    return bool(np.allclose(lengths, 1, atol=1e-3))
