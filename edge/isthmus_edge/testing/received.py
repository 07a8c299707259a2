"""What a fake cloud gets, and what it gives back for it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import (
    ConfigError,
    Kept,
    Manifest,
    SymbolCoder,
    TensorSpec,
    decode_frame,
    encode_answer,
    left_to_answer,
)
from isthmus.v1 import split_pb2 as pb

__all__ = ["AnswerWith", "Outputs", "Received", "Receiver", "encoded", "zeros"]

AnyArray = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Received:
    """A frame as it came over the wire.

    `tensors` are those of the candidate's cut, each of its wire's `TensorSpec.graph_shape`: the
    model's inputs for an `input` candidate. `deadline_ms` is what was left when it was sent, None
    without a deadline.
    """

    sequence: int
    candidate: str
    rung: int
    payload_bytes: int
    deadline_ms: int | None
    tensors: tuple[AnyArray, ...]


Outputs = AnyArray | Mapping[str, AnyArray]
AnswerWith = Outputs | Callable[[Received], Outputs]


class Receiver:
    """Decodes the frames of one stream, with its memory of the frame before."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._coder = SymbolCoder()
        self._kept: Kept | None = None

    def received(self, frame: pb.Frame) -> Received:
        """The frame; KeyFrameNeededError if it refers to one that did not come on this stream."""
        candidate = self._manifest.candidate(frame.candidate)
        cut = self._manifest.cut_of(candidate)
        tensors, self._kept = decode_frame(frame, candidate, cut, self._coder, self._kept)
        return Received(
            frame.sequence,
            frame.candidate,
            frame.rung,
            sum(len(payload.data) for payload in frame.payloads),
            frame.deadline_ms or None,
            tensors,
        )


def zeros(specs: Collection[TensorSpec]) -> dict[str, AnyArray]:
    """An answer without news."""
    return {spec.name: np.zeros(spec.graph_shape, spec.data_type) for spec in specs}


def encoded(manifest: Manifest, candidate: str, outputs: Outputs, top_k: int) -> list[pb.Tensor]:
    """The model's outputs as the cloud sends them after this candidate's head.

    Raises ConfigError for an output that is missing or of another shape.
    """
    answers = manifest.cut_of(manifest.candidate(candidate)).answers
    return [
        encode_answer(spec, _fitting(outputs, spec, manifest), top_k)
        for spec in left_to_answer(manifest.outputs, answers)
    ]


def _fitting(outputs: Outputs, spec: TensorSpec, manifest: Manifest) -> AnyArray:
    names = [each.name for each in manifest.outputs]
    by_name = outputs if isinstance(outputs, Mapping) else dict.fromkeys(names[:1], outputs)
    if spec.name not in by_name:
        raise ConfigError(
            f"the fake cloud's answer has no output {spec.name!r}; the model's are "
            f"{', '.join(names)}: give an array for each, by name"
        )
    output = np.asarray(by_name[spec.name], spec.data_type, order="C")
    if output.shape not in {spec.shape, spec.graph_shape}:
        raise ConfigError(
            f"the fake cloud's answer {spec.name!r} is {list(output.shape)}, "
            f"the model gives {list(spec.shape)} (one item)"
        )
    return output.reshape(spec.graph_shape)
