"""The way of a candidate's frames: what they may hold, how they decode, which tail runs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isthmus import (
    Candidate,
    Cut,
    Kept,
    Manifest,
    SymbolCoder,
    TensorSpec,
    WireError,
    decode_frame,
    max_candidate_bytes,
    require_formats,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.feeds import AnyArray, Scalars, feeds_of, scalars_of
from isthmus_cloud.engines.onnx_runtime import TailEngine, outputs_of

__all__ = ["Route", "Tensors", "routes_of"]

Tensors = tuple[AnyArray, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """How the frames of one candidate are answered; `scalars` by rung, then by cut tensor.

    `outputs` are those of the tail.
    """

    candidate: Candidate
    cut: Cut
    engine: TailEngine
    outputs: tuple[TensorSpec, ...]
    scalars: tuple[tuple[Scalars, ...], ...]

    @property
    def max_bytes(self) -> int:
        """The most that a right frame takes; see `frame_bytes`."""
        return max_candidate_bytes(self.candidate, self.cut) + self._decoded_bytes

    def frame_bytes(self, frame: pb.Frame) -> int:
        """The memory of a frame: its payloads, and the tensors that they decode to.

        WireError if it has another number of payloads than the cut has tensors.
        """
        count, expected = len(frame.payloads), len(self.cut.tensors)
        if count != expected:
            names = ", ".join(tensor.wire.name for tensor in self.cut.tensors)
            raise WireError(
                f"candidate {self.candidate.id!r} takes one payload for each of {names}; "
                f"the frame has {count}"
            )
        return sum(len(payload.data) for payload in frame.payloads) + self._decoded_bytes

    def decode(
        self, frame: pb.Frame, coder: SymbolCoder, kept: Kept | None
    ) -> tuple[Tensors, Kept | None]:
        """See `isthmus.decode_frame`."""
        return decode_frame(frame, self.candidate, self.cut, coder, kept)

    def run(self, rung: int, tensors: Tensors) -> Sequence[AnyArray]:
        """The outputs of the tail for the decoded tensors of a frame of this rung."""
        return self.engine.run(feeds_of(tensors, self.scalars[rung]))

    @property
    def _decoded_bytes(self) -> int:
        return sum(tensor.wire.nbytes for tensor in self.cut.tensors)


def routes_of(manifest: Manifest, engines: Mapping[str, TailEngine]) -> dict[str, Route]:
    """By candidate id, for all that send anything; `engines` by cut id.

    ConfigError if a candidate's picture format cannot be read on this machine.
    """
    require_formats(manifest.candidates)
    routes = {}
    for candidate in manifest.candidates:
        if not candidate.is_local:
            cut = manifest.cut_of(candidate)
            routes[candidate.id] = Route(
                candidate=candidate,
                cut=cut,
                engine=engines[cut.id],
                outputs=outputs_of(manifest, cut),
                scalars=_scalars_by_rung(candidate, cut),
            )
    return routes


def _scalars_by_rung(candidate: Candidate, cut: Cut) -> tuple[tuple[Scalars, ...], ...]:
    return tuple(
        tuple(scalars_of(*pair) for pair in zip(cut.tensors, rung.encodings, strict=True))
        for rung in candidate.rungs
    )
