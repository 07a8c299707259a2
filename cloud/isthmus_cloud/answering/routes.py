"""The way of a candidate's frames: what they may hold, how they decode, which tail runs them."""

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus import (
    Candidate,
    Cut,
    Kept,
    Manifest,
    SymbolCoder,
    WireError,
    decode_frame,
    max_candidate_bytes,
    max_payload_bytes,
    require_formats,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.feeds import Scalars, Tensors, scalars_of
from isthmus_cloud.answering.parts import Tail, tensor_bytes

__all__ = ["Route", "routes_of"]


@dataclass(frozen=True, slots=True)
class Route:
    """How the frames of one candidate are answered.

    `scalars` and the `most_bytes` of a payload by rung, then by cut tensor; `tensor_bytes` is what
    a frame's tensors take.
    """

    candidate: Candidate
    tail: Tail
    scalars: tuple[tuple[Scalars, ...], ...]
    most_bytes: tuple[tuple[int, ...], ...]
    tensor_bytes: int

    @property
    def cut(self) -> Cut:
        """That of the candidate."""
        return self.tail.cut

    @property
    def max_bytes(self) -> int:
        """The most that a right frame takes; see `frame_bytes`."""
        return max_candidate_bytes(self.candidate, self.cut) + self.tensor_bytes

    def frame_bytes(self, frame: pb.Frame) -> int:
        """The memory of a frame: its payloads, the tensors that they decode to, and its answer.

        WireError if it has another number of payloads than the cut has tensors, or names a rung
        that the candidate has not.
        """
        if frame.rung >= len(self.most_bytes):
            raise WireError(
                f"rung {frame.rung} of candidate {self.candidate.id!r}, which has "
                f"{len(self.most_bytes)}"
            )
        allowed = self.most_bytes[frame.rung]
        if len(frame.payloads) != len(allowed):
            names = ", ".join(tensor.wire.name for tensor in self.cut.tensors)
            raise WireError(
                f"candidate {self.candidate.id!r} takes one payload for each of {names}; "
                f"the frame has {len(frame.payloads)}"
            )
        taken_bytes = self.tensor_bytes
        for index, (payload, most_bytes) in enumerate(zip(frame.payloads, allowed, strict=True)):
            size_bytes = len(payload.data)
            if size_bytes > most_bytes:
                raise WireError(
                    f"tensor {self.cut.tensors[index].wire.name!r}: payload of {size_bytes} bytes, "
                    f"the plan allows {most_bytes}"
                )
            taken_bytes += size_bytes
        return taken_bytes

    def decode(
        self, frame: pb.Frame, coder: SymbolCoder, kept: Kept | None
    ) -> tuple[Tensors, Kept | None]:
        """See `isthmus.decode_frame`."""
        return decode_frame(frame, self.candidate, self.cut, coder, kept)


def routes_of(manifest: Manifest, tails: Mapping[str, Tail]) -> dict[str, Route]:
    """By candidate id, for all that send anything; `tails` by cut id.

    ConfigError if a candidate's picture format cannot be read on this machine.
    """
    require_formats(manifest.candidates)
    routes = {}
    for candidate in manifest.candidates:
        if not candidate.is_local:
            cut = manifest.cut_of(candidate)
            routes[candidate.id] = Route(
                candidate=candidate,
                tail=tails[cut.id],
                scalars=_scalars_by_rung(candidate, cut),
                most_bytes=_most_bytes_by_rung(candidate, cut),
                tensor_bytes=tensor_bytes(tails[cut.id]),
            )
    return routes


def _scalars_by_rung(candidate: Candidate, cut: Cut) -> tuple[tuple[Scalars, ...], ...]:
    return tuple(
        tuple(scalars_of(*pair) for pair in zip(cut.tensors, rung.encodings, strict=True))
        for rung in candidate.rungs
    )


def _most_bytes_by_rung(candidate: Candidate, cut: Cut) -> tuple[tuple[int, ...], ...]:
    wires = [tensor.wire for tensor in cut.tensors]
    return tuple(
        tuple(max_payload_bytes(*pair) for pair in zip(wires, rung.encodings, strict=True))
        for rung in candidate.rungs
    )
