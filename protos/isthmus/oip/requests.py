"""What a ModelInferRequest asks for, checked against its model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from isthmus.oip.codec import Given, decode_tensor, quoted
from isthmus.oip.messages import pb
from isthmus.oip.model import Model, Parameter, Tensor
from isthmus.oip.refusal import RefusalError

__all__ = ["Wanted", "Work", "parameters_of", "read_request", "timeout_of"]

MAX_TIMEOUT_US = 24 * 3600 * 1_000_000

_SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that was asked for; with `classes` > 0 as its greatest values with labels."""

    name: str
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A request that can be answered. `timeout_s` is the client's own wish, or None."""

    items: Sequence[Mapping[str, Tensor]]
    wanted: Sequence[Wanted]
    parameters: Mapping[str, Parameter]
    timeout_s: float | None


def read_request(request: pb.ModelInferRequest, model: Model, max_items: int) -> Work:
    """RefusalError (INVALID_ARGUMENT, or UNIMPLEMENTED for shared memory) if it is no request
    for this model."""
    parameters = parameters_of(request.parameters)
    given = _inputs(request, model, max_items)
    count = _batch_of(given)
    if count > 1 and any(spec.batch_axis is None for spec in model.outputs):
        raise _refused(f"model {quoted(model.name)} answers one item at a time, got {count}")
    return Work(
        [{each.spec.name: each.item(index) for each in given} for index in range(count)],
        _wanted(request, model),
        parameters,
        timeout_of(parameters),
    )


def parameters_of(given: Mapping[str, pb.InferParameter]) -> dict[str, Parameter]:
    """Names and values; a parameter without a value is refused."""
    found: dict[str, Parameter] = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise _refused(f"parameter {quoted(name)} has no value")
        found[name] = getattr(parameter, kind)
    return found


def timeout_of(parameters: Mapping[str, Parameter]) -> float | None:
    """Triton's `timeout` in s: the parameter counts microseconds, and 0 is none."""
    timeout_us = parameters.get("timeout", 0)
    if not _is_count(timeout_us) or not 0 <= timeout_us <= MAX_TIMEOUT_US:
        raise _refused(
            "parameter 'timeout' is a number of microseconds (int64) from 0 (none) to "
            f"{MAX_TIMEOUT_US}, got {str(timeout_us)[:32]}"
        )
    return timeout_us / 1e6 if timeout_us else None


def _inputs(request: pb.ModelInferRequest, model: Model, max_items: int) -> list[Given]:
    names = [tensor.name for tensor in request.inputs]
    specs = {spec.name: spec for spec in model.inputs}
    _compare_names(names, list(specs), model)
    raw = request.raw_input_contents
    for tensor in request.inputs:
        if _SHARED_MEMORY in tensor.parameters:
            raise RefusalError(
                "UNIMPLEMENTED",
                f"input {quoted(tensor.name)}: shared memory is not served here; "
                "send the tensor in the message",
            )
        if raw and tensor.HasField("contents"):
            raise _refused(
                "contents field must not be specified when using raw_input_contents for "
                f"{quoted(tensor.name)} for model {quoted(model.name)}"
            )
    if raw and len(raw) != len(names):
        raise _refused(
            f"expected {len(names)} raw_input_contents for model {quoted(model.name)}, "
            f"got {len(raw)}"
        )
    contents: Iterable[bytes | None] = raw or [None] * len(names)
    return [
        decode_tensor(tensor, content, specs[tensor.name], max_items)
        for tensor, content in zip(request.inputs, contents, strict=True)
    ]


def _compare_names(names: list[str], known: list[str], model: Model) -> None:
    if len(names) != len(known):
        raise _refused(
            f"expected {len(known)} inputs but got {len(names)} inputs for model "
            f"{quoted(model.name)}: {_listed(known)}"
        )
    for index, name in enumerate(names):
        if name not in known:
            raise _refused(
                f"unexpected inference input {quoted(name)} for model {quoted(model.name)}; "
                f"its inputs are {_listed(known)}"
            )
        if name in names[:index]:
            raise _refused(f"input {quoted(name)} already exists in the request")


def _batch_of(given: Iterable[Given]) -> int:
    """How many items there are: the same in every input that has a batch dimension."""
    counts = {each.spec.name: each.count for each in given if each.count is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{quoted(name)} {count}" for name, count in counts.items())
        raise _refused(f"the inputs have different batch sizes: {listed}")
    return next(iter(counts.values()), 1)


def _wanted(request: pb.ModelInferRequest, model: Model) -> list[Wanted]:
    """Outputs in the order asked for; all of them where none is named."""
    known = [spec.name for spec in model.outputs]
    if not request.outputs:
        return [Wanted(name) for name in known]
    names: set[str] = set()
    wanted = []
    for output in request.outputs:
        if output.name not in known:
            raise _refused(
                f"unexpected inference output {quoted(output.name)} for model "
                f"{quoted(model.name)}; its outputs are {_listed(known)}"
            )
        if output.name in names:
            raise _refused(f"output {quoted(output.name)} is asked for twice")
        names.add(output.name)
        wanted.append(Wanted(output.name, _classes(output)))
    return wanted


def _classes(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> int:
    parameters = parameters_of(output.parameters)
    if _SHARED_MEMORY in parameters:
        raise RefusalError(
            "UNIMPLEMENTED",
            f"output {quoted(output.name)}: shared memory is not served here; "
            "outputs come in the message",
        )
    classes = parameters.get("classification", 0)
    if not _is_count(classes) or classes < 0:
        raise _refused(
            f"output {quoted(output.name)}: 'classification' is a number of classes, "
            f"got {str(classes)[:32]}"
        )
    return classes


def _is_count(value: Parameter) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


def _refused(message: str) -> RefusalError:
    return RefusalError("INVALID_ARGUMENT", message)
