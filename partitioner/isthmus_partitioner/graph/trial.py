"""Two made-up items and what the file answers to them: what every later graph is held against."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isthmus import ModelError
from isthmus_partitioner.graph.inputs import OpenInput, data_type_of, open_inputs, with_sizes
from isthmus_partitioner.graph.reading import ModelFile
from isthmus_partitioner.graph.refusals import first_line, refusal
from isthmus_partitioner.runtime import (
    RUNTIME_ERRORS,
    AnyArray,
    Session,
    inference_session,
    open_session,
    session_options,
)

__all__ = ["Feed", "Trial", "differences", "joined_differences", "try_out"]

Feed = Mapping[str, AnyArray]

TOLERANCE = 1e-3  # of the largest value
NOTHING = 1e-6  # what is left of a probability where noise shows nothing
_RATE_NAME = re.compile(r"^(sr|fs|rate)$|sampl\w*rate", re.IGNORECASE)
_RATE = 16_000
_SEED = 20
# Integers are made up below these, in turn: ids or bytes; flags, small vocabularies; ones; zeros.
_BELOW = (256, 2, 1, 0)
_FLAG_NAME = re.compile("mask|type|segment|flag", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trial:
    """Items that the network ran, each a batch of one, and its answers to them."""

    inputs: tuple[OpenInput, ...]
    outputs: tuple[str, ...]
    feeds: tuple[Feed, Feed]
    answers: tuple[Feed, Feed]
    notes: tuple[str, ...]

    @property
    def fixed(self) -> dict[str, AnyArray]:
        """Inputs that were fixed to one value: constants from now on."""
        return {
            each.name: np.full(each.shape, each.value, each.data_type)
            for each in self.inputs
            if each.value is not None
        }

    @property
    def free(self) -> tuple[OpenInput, ...]:
        """The other inputs."""
        return tuple(each for each in self.inputs if each.value is None)

    @property
    def items(self) -> tuple[Feed, Feed]:
        """The feeds without what was fixed."""
        names = {each.name for each in self.free}
        first, second = ({n: v for n, v in feed.items() if n in names} for feed in self.feeds)
        return first, second

    @property
    def joined(self) -> Feed:
        """Both items as a batch of two."""
        first, second = self.items
        axes = {each.name: each.batch_axis for each in self.free}
        return {
            name: value if axes[name] is None else np.concatenate([value, second[name]], axes[name])
            for name, value in first.items()
        }


def try_out(file: ModelFile, sizes: Mapping[str, int]) -> Trial:
    """Run the file as it is, at the sizes given or at the first guess that it takes.

    Raises ModelError if the runtime refuses the model, if no guess fits, or if an output is of a
    type or changes its size, so that no plan can be made for it.
    """
    inputs = open_inputs(file.model.graph, sizes, file.path)
    session = _reference(file)
    for info in session.get_outputs():
        data_type_of(info.type, f"output {info.name!r}", file.path)
    first_error: Exception | None = None
    for shaped, notes in with_sizes(inputs):
        for below in _BELOW:
            try:
                return _checked(_run(session, shaped, below), notes, file)
            except RUNTIME_ERRORS as error:
                first_error = first_error or error
    raise _refused_sizes(inputs, file, first_error) from first_error


def differences(found: Feed, wanted: Feed) -> list[str]:
    """Names of the outputs that are not what they should be."""
    return [name for name, value in wanted.items() if not _is_same(found[name], value)]


def joined_differences(found: Feed, wanted: tuple[Feed, Feed]) -> list[str]:
    """Names of the outputs of a batch of two that are not those of the two items alone."""
    first, second = wanted
    return [name for name in first if not _is_joined(found[name], first[name], second[name])]


def _reference(file: ModelFile) -> Session:
    if file.is_imported:
        return open_session(file.model, threads=2)
    try:
        source = str(file.path)  # its weights are read from where they lie
        return inference_session(source, session_options(2))
    except RUNTIME_ERRORS as error:
        raise refusal(file.model, file.path, error) from error


def _run(session: Session, inputs: Sequence[OpenInput], below: int) -> Trial:
    random = np.random.default_rng(_SEED)
    first = {each.name: _values(each, random, below) for each in inputs}
    second = {
        each.name: first[each.name] if each.batch_axis is None else _values(each, random, below)
        for each in inputs
    }
    if all(each.batch_axis is None for each in inputs):  # only to see whether sizes change
        second = {each.name: _values(each, random, below) for each in inputs}
    outputs = tuple(info.name for info in session.get_outputs())
    answers = [dict(zip(outputs, session.run(None, feed), strict=True)) for feed in (first, second)]
    return Trial(tuple(inputs), outputs, (first, second), (answers[0], answers[1]), ())


def _values(each: OpenInput, random: np.random.Generator, below: int) -> AnyArray:
    """Made-up values: noise, and integers that ids, masks and flags may be."""
    shape, kind = each.shape, np.dtype(each.data_type)
    if each.value is not None:
        return np.full(shape, each.value, kind)
    if kind.kind == "f":
        return random.uniform(-1, 1, shape).astype(kind)
    if kind.itemsize == 1 and kind.kind != "b":
        low = np.iinfo(kind).min
        return random.integers(low, low + 256, shape).astype(kind)
    if not [size for size in shape if size > 1]:
        return np.full(shape, _RATE if _RATE_NAME.search(each.name) else below > 0, kind)
    if below < 2:
        return np.full(shape, below, kind)
    is_flag = kind.kind == "b" or _FLAG_NAME.search(each.name)
    values = random.integers(0, 2 if is_flag else below, shape)
    values[..., 0] = 1  # a mask of nothing is no input
    return values.astype(kind)


def _checked(trial: Trial, notes: Iterable[str], file: ModelFile) -> Trial:
    first, second = trial.answers
    stated = {info.name: info for info in file.model.graph.output}
    found = list(notes)
    for name, value in first.items():
        if value.shape != second[name].shape or 0 in value.shape:
            raise ModelError(
                f"{file.path}: output {name!r} has another size for every input "
                f"({list(value.shape)}, then {list(second[name].shape)}); a plan needs outputs of "
                "one size, end the model before what selects (NonMaxSuppression, NonZero)"
            )
        kind = stated[name].type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim]
        if kind.HasField("shape") and sizes and not _agrees(sizes, value.shape):
            found.append(
                f"output {name!r} is declared as {_declared(kind)} and is {list(value.shape)}: "
                "the run is believed"
            )
    return replace(trial, notes=tuple(found))


def _agrees(sizes: Sequence[int], shape: tuple[int, ...]) -> bool:
    return len(sizes) == len(shape) and all(
        size in {0, found} for size, found in zip(sizes, shape, strict=True)
    )


def _declared(kind: object) -> str:
    dims = kind.shape.dim  # type: ignore[attr-defined]
    return "[" + ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims) + "]"


def _refused_sizes(
    inputs: Sequence[OpenInput], file: ModelFile, error: Exception | None
) -> ModelError:
    tried = next(iter(with_sizes(inputs)))[0]
    shapes = ", ".join(f"{each.name!r} {each.data_type} {list(each.shape)}" for each in tried)
    addresses = [each.address(axis) for each in inputs for axis in each.open_axes]
    advice = "it runs no made-up input; export it again"
    if addresses:
        advice = "give the sizes that it wants: " + " ".join(f"--size {a}=N" for a in addresses)
    reason = first_line(error) if error else ""
    return ModelError(f"{file.path}: cannot run with {shapes} ({reason}); {advice}")


def _is_joined(found: AnyArray, first: AnyArray, second: AnyArray) -> bool:
    if found.shape == first.shape:
        return _is_same(found, first) and _is_same(found, second)
    axis = batch_axis_of(first.shape, found.shape)
    if axis is None:
        return False
    return _is_same(found, np.concatenate([first, second], axis))


def batch_axis_of(single: Sequence[int], double: Sequence[int]) -> int | None:
    """Which dimension of a tensor grew from 1 to 2 with the batch; None unless exactly one did."""
    if len(single) != len(double):
        return None
    pairs = enumerate(zip(single, double, strict=True))
    grown = [(axis, pair) for axis, pair in pairs if pair[0] != pair[1]]
    return grown[0][0] if len(grown) == 1 and grown[0][1] == (1, 2) else None


def _is_same(found: AnyArray, wanted: AnyArray) -> bool:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind != "f" or not wanted.size:
        return bool(np.array_equal(found, wanted))
    left, right = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(right)
    largest = float(np.abs(right[finite]).max(initial=0))
    same = np.isclose(
        left, right, rtol=TOLERANCE, atol=TOLERANCE * largest + NOTHING, equal_nan=True
    )
    return bool(same.all())
