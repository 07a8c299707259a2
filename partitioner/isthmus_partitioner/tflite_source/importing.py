"""A TFLite file as an ONNX network, which answers what LiteRT answers.

The network that is planned for is of real numbers. A quantised file is dequantised: its weights as
they are after rounding, its activations not rounded. That it was read rightly is shown by a second
drawing that rounds as the file does; how far the real network is from the file is said in a note.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from isthmus import ModelError
from isthmus_partitioner.runtime import open_session, run_one, session_options
from isthmus_partitioner.tflite_source.emitter import emit, is_shifted
from isthmus_partitioner.tflite_source.flatbuffer import read_source
from isthmus_partitioner.tflite_source.records import AnyArray, Source, SourceTensor
from isthmus_partitioner.tflite_source.reference import NoAnswerError, answers_of_litert

__all__ = ["TfliteImport", "import_tflite"]

_SEED = 7
_RUNS = 2
_EXACT = 1e-3  # of two runtimes' arithmetic
_ROUNDED = 0.1  # of a network that rounds as the file does: single steps, here or there
_DEQUANTISED = 0.5  # of the network of real numbers: beyond it, it is another one
_NOTHING = 1e-6
_WAY_OUT = "convert the model to ONNX where it was trained, or serve it whole"


@dataclass(frozen=True, slots=True)
class TfliteImport:
    """A verified import.

    `error` is the largest relative error (L2) of an output beside LiteRT, on made-up inputs.
    `sha256` is the file's.
    """

    model: onnx.ModelProto
    sha256: str
    error: float
    notes: tuple[str, ...]


def import_tflite(path: Path) -> TfliteImport:
    """Read a .tflite file and prove the import beside LiteRT.

    Raises ModelError that names what is wrong with the file, what cannot be imported, or the
    output in which the import would answer otherwise than LiteRT.
    """
    source = read_source(path)
    model = emit(source)
    trial = _tried(source)
    if source.is_quantised:
        _worst(source, emit(source, rounds=True), trial, _ROUNDED)
    error = _worst(source, model, trial, _DEQUANTISED if source.is_quantised else _EXACT)
    return TfliteImport(model, source.sha256, error, tuple(_notes(source, error)))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Inputs as the ONNX network takes them and LiteRT's answers in real numbers, run by run."""

    feeds: tuple[list[AnyArray], ...]
    answers: tuple[list[AnyArray], ...]


def _tried(source: Source) -> _Trial:
    random = np.random.default_rng(_SEED)
    inputs = [source.tensors[index] for index in source.inputs]
    given = [np.stack([_values(tensor, random) for _ in range(_RUNS)]) for tensor in inputs]
    try:
        found = answers_of_litert(source.path, given)
    except NoAnswerError as error:
        raise ModelError(
            f"{source.path}: LiteRT cannot run it ({error}), so that nothing shows what it should "
            "answer; convert the model again"
        ) from error
    shifted = [_shifted(*each) for each in zip(inputs, given, strict=True)]
    real = [
        _real(source.tensors[index], values)
        for index, values in zip(source.outputs, found, strict=True)
    ]
    runs = range(_RUNS)
    return _Trial(
        tuple([values[run] for values in shifted] for run in runs),
        tuple([values[run] for values in real] for run in runs),
    )


def _values(tensor: SourceTensor, random: np.random.Generator) -> AnyArray:
    if tensor.kind.kind == "f":
        return random.uniform(-1, 1, tensor.shape).astype(tensor.kind)
    if tensor.kind.itemsize == 1 and tensor.kind.kind != "b":
        low = np.iinfo(tensor.kind).min
        return random.integers(low, low + 256, tensor.shape).astype(tensor.kind)
    return random.integers(0, 2, tensor.shape).astype(tensor.kind)


def _shifted(tensor: SourceTensor, values: AnyArray) -> AnyArray:
    return (values.astype(np.int16) + 128).astype(np.uint8) if is_shifted(tensor) else values


def _real(tensor: SourceTensor, values: AnyArray) -> AnyArray:
    return values if tensor.quantisation is None else tensor.quantisation.real(values)


def _worst(source: Source, model: onnx.ModelProto, trial: _Trial, most: float) -> float:
    """The largest relative error of an output; ModelError that names one beyond `most`."""
    inputs = [source.tensors[index].name for index in source.inputs]
    outputs = [source.tensors[index].name for index in source.outputs]
    options = session_options(2)
    # Otherwise the runtime quantises weights between roundings by itself, and worse.
    options.graph_optimization_level = options.graph_optimization_level.ORT_DISABLE_ALL
    session = open_session(model, threads=2, options=options)
    worst = 0.0
    for feed, answers in zip(trial.feeds, trial.answers, strict=True):
        found = run_one(session, dict(zip(inputs, feed, strict=True)), outputs)
        for name, *pair in zip(outputs, found, answers, strict=True):
            error = _error(*pair)
            if not error <= most:
                raise ModelError(
                    f"{source.path}: imported, its output {name!r} is not what LiteRT answers "
                    f"(relative error {error:.2g}, allowed {most:g}); {_WAY_OUT}"
                )
            worst = max(worst, error)
    return worst


def _error(found: AnyArray, wanted: AnyArray) -> float:
    """Relative, L2; of labels, the share that differs.

    Infinite where one is of another shape, or not finite where the other is.
    """
    if found.shape != wanted.shape:
        return float("inf")
    if wanted.dtype.kind != "f":
        return float(np.mean(found != wanted))
    left, right = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(np.isfinite(left), finite):
        return float("inf")
    difference = float(np.linalg.norm(left[finite] - right[finite]))
    return difference / (float(np.linalg.norm(right[finite])) + _NOTHING)


def _notes(source: Source, error: float) -> Iterator[str]:
    yield (
        f"imported from TFLite, {len(source.ops)} operations; relative error beside LiteRT "
        f"{error:.1e}"
    )
    if source.is_quantised:
        yield (
            "the file is quantised: it is taken as a network of real numbers with those weights, "
            "and agreement is measured against that network, not against the file"
        )
    for tensor in (source.tensors[index] for index in source.inputs):
        if is_shifted(tensor):
            yield f"input {tensor.name!r} is int8 in the file: here uint8, which is int8 + 128"
    for tensor in (source.tensors[index] for index in source.outputs):
        if tensor.is_quantised:
            yield f"output {tensor.name!r} is {tensor.kind} in the file: here its real numbers"
