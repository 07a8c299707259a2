"""Cut tensors to a frame's payloads and back; docs/wire.md has the bytes.

A receiver trusts nothing: what a payload may be stands in the manifest, and every size is compared
with it before memory is taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import KeyFrameNeededError, WireError
from isthmus.lossless import (
    decode_exactly,
    encode_exactly,
    exact_bytes,
    raw_bytes,
    raw_values,
)
from isthmus.manifest import (
    Candidate,
    Cut,
    CutTensor,
    Manifest,
)
from isthmus.pictures import (
    decode_picture,
    encode_picture,
    max_picture_bytes,
    require_format,
)
from isthmus.prediction import added, predicted, restored, subtracted
from isthmus.scene import Held, Relation, Scene
from isthmus.symbols import Coded, Packing, SymbolCoder, max_coded_bytes
from isthmus.tables import Requantiser
from isthmus.tensors import (
    Encoding,
    Lossless,
    Picture,
    Raw,
    Symbols,
    TensorSpec,
)
from isthmus.v1 import split_pb2 as pb

__all__ = [
    "MESSAGE_HEADROOM_BYTES",
    "FrameEncoder",
    "Kept",
    "decode_frame",
    "max_candidate_bytes",
    "max_frame_bytes",
    "max_payload_bytes",
    "require_formats",
]

AnyArray = NDArray[np.generic]
UInt8Array = NDArray[np.uint8]

MESSAGE_HEADROOM_BYTES = 64 * 1024  # names, numbers, and the padding of a heartbeat

_PACKINGS: dict[Packing, pb.Packing] = {
    "bytes": pb.PACKING_BYTES,
    "pairs": pb.PACKING_PAIRS,
    "mask": pb.PACKING_MASK,
}
_PACKING_NAMES = {number: name for name, number in _PACKINGS.items()}


class FrameEncoder:
    """Encodes the frames of one stream, in the order in which they are sent; for one thread.

    Without `video` every frame stands for itself.
    """

    def __init__(self, *, video: bool = False) -> None:
        self._scene = Scene() if video else None
        self._coder = SymbolCoder()
        self._requantisers: dict[tuple[CutTensor, Symbols], Requantiser] = {}

    def forget(self) -> None:
        """Begin anew with a key frame: after a reconnect, or where a reference was missing."""
        if self._scene is not None:
            self._scene.forget()

    def held(self, candidate: Candidate, rung: int) -> Held | None:
        """What the stages of this candidate have to stick to, while the scene stands still."""
        return None if self._scene is None else self._scene.held((candidate.id, rung))

    def encode(
        self,
        candidate: Candidate,
        cut: Cut,
        rung: int,
        tensors: Sequence[AnyArray],
        *,
        alone: bool = False,
        fast_link: bool = False,
    ) -> pb.Frame:
        """The frame, but for its sequence number.

        `tensors` are the cut's wire tensors, each of its `graph_shape`, as the stages give them;
        where a table makes the symbols, its integers. They are remembered, not copied: leave them
        as they are.
        `alone`: a key frame that no other will refer to.
        """
        if alone:
            self.forget()
        held = self.held(candidate, rung)
        encodings = candidate.rungs[rung].encodings
        symbols = {
            index: self._symbols(cut.tensors[index], encoding, tensors[index], index, held)
            for index, encoding in enumerate(encodings)
            if isinstance(encoding, Symbols)
        }
        relation = Relation() if alone else self._related((candidate.id, rung), symbols)
        before = relation.before or {}
        payloads = []
        for index, encoding in enumerate(encodings):
            spec, values = cut.tensors[index].wire, symbols.get(index, tensors[index])
            payloads.append(self._payload(encoding, spec, values, before.get(index), fast_link))
        return pb.Frame(
            candidate=candidate.id,
            rung=rung,
            payloads=payloads,
            mark=relation.mark,
            reference=relation.reference,
        )

    def _related(self, place: tuple[str, int], symbols: Mapping[int, UInt8Array]) -> Relation:
        """To the frame before it at this place, a candidate and its rung; to none without video."""
        if self._scene is None or not symbols:
            return Relation()
        return self._scene.relate(place, symbols)

    def _symbols(
        self, tensor: CutTensor, encoding: Symbols, values: AnyArray, index: int, held: Held | None
    ) -> UInt8Array:
        integers = values.view(np.uint8)
        if tensor.quantisation is None:
            return integers  # the stage has quantised, and stuck to what is held
        key = (tensor, encoding)
        if key not in self._requantisers:
            self._requantisers[key] = Requantiser(tensor.quantisation, encoding)
        requantiser = self._requantisers[key]
        if held is None:
            return requantiser.symbols(integers)
        return requantiser.sticky(integers, held.symbols[index], held.hold)

    def _payload(
        self,
        encoding: Encoding,
        spec: TensorSpec,
        values: AnyArray,
        before: UInt8Array | None,
        fast_link: bool,
    ) -> pb.Payload:
        match encoding:
            case Symbols(levels=levels, predictor=predictor):
                symbols = values.view(np.uint8)
                blank = 0
                if before is not None:
                    symbols = subtracted(symbols, before, levels)
                elif predictor != "none":
                    symbols = predicted(symbols.reshape(spec.shape), predictor, levels)
                else:
                    blank = encoding.zero_point
                coded = self._coder.encode(symbols, levels, blank=blank, fast_link=fast_link)
            case Lossless():
                coded = encode_exactly(values, self._coder)
            case Picture(format=picture_format, quality=quality):
                picture = values.view(np.uint8).reshape(spec.shape)
                coded = Coded(encode_picture(picture, picture_format, quality), "bytes")
            case Raw():
                coded = Coded(raw_bytes(values), "bytes", stored=True)
        return pb.Payload(
            data=coded.data,
            packing=_PACKINGS[coded.packing],
            stored=coded.stored,
            mask_bytes=coded.mask_bytes,
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """The symbols of one frame that later ones of its stream may refer to, by tensor."""

    mark: int
    candidate: str
    rung: int
    symbols: Mapping[int, UInt8Array]


def decode_frame(
    frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
) -> tuple[tuple[AnyArray, ...], Kept | None]:
    """A frame's wire tensors, each of its `graph_shape`, and what its stream keeps from now on.

    Raises KeyFrameNeededError if the frame refers to anything but `kept`, and WireError, which
    names the tensor, for all that is not as the plan says.
    """
    rung = frame.rung
    if rung >= len(candidate.rungs):
        raise WireError(
            f"rung {rung} of candidate {candidate.id!r}, which has {len(candidate.rungs)}"
        )
    encodings = candidate.rungs[rung].encodings
    if len(frame.payloads) != len(encodings):
        raise WireError(
            f"candidate {candidate.id!r} carries {len(encodings)} tensors, "
            f"the frame has {len(frame.payloads)}"
        )
    before = _before(frame, kept)
    tensors = []
    for index, (payload, encoding) in enumerate(zip(frame.payloads, encodings, strict=True)):
        spec = cut.tensors[index].wire
        reference = None if before is None else before.get(index)
        try:
            tensors.append(_decode(payload, spec, encoding, reference, coder))
        except WireError as error:
            raise WireError(
                f"tensor {spec.name!r} of candidate {candidate.id!r}: {error}"
            ) from error
    if frame.mark:
        symbols = {
            index: tensors[index].view(np.uint8)
            for index, encoding in enumerate(encodings)
            if isinstance(encoding, Symbols)
        }
        kept = Kept(frame.mark, candidate.id, rung, symbols)
    return tuple(tensors), kept


def _before(frame: pb.Frame, kept: Kept | None) -> Mapping[int, UInt8Array] | None:
    if not frame.reference:
        return None
    held = None if kept is None else (kept.mark, kept.candidate, kept.rung)
    if kept is None or held != (frame.reference, frame.candidate, frame.rung):
        raise KeyFrameNeededError(
            f"the frame is a difference to the symbols marked {frame.reference}, which are not "
            "held; send it again as a key frame"
        )
    return kept.symbols


def _decode(
    payload: pb.Payload,
    spec: TensorSpec,
    encoding: Encoding,
    reference: UInt8Array | None,
    coder: SymbolCoder,
) -> AnyArray:
    coded = _coded(payload, spec, encoding)
    shape = spec.graph_shape
    match encoding:
        case Symbols(levels=levels, predictor=predictor):
            is_plain = reference is None and predictor == "none"
            blank = encoding.zero_point if is_plain else 0
            symbols = coder.decode(coded, spec.size, levels, blank=blank)
            if reference is not None:
                return added(symbols.reshape(shape), reference, levels)
            return restored(symbols.reshape(spec.shape), predictor, levels).reshape(shape)
        case Lossless():
            return decode_exactly(coded, spec, coder)
        case Picture(format=picture_format, quality=quality):
            height, width, _ = spec.shape
            picture = decode_picture(
                coded.data, picture_format, height, width, lossless=quality is None
            )
            return picture.reshape(shape)
        case Raw():
            return raw_values(coded.data, spec)


def _coded(payload: pb.Payload, spec: TensorSpec, encoding: Encoding) -> Coded:
    """The payload's header and size, as far as the plan allows them."""
    size, limit = len(payload.data), max_payload_bytes(spec, encoding)
    packing = _PACKING_NAMES.get(payload.packing)
    is_symbols = isinstance(encoding, Symbols)
    if packing is None or (packing != "bytes" and not is_symbols):
        raise WireError(f"packing {payload.packing} is not one of this encoding's")
    if bool(payload.mask_bytes) != (packing == "mask"):
        raise WireError(f"{payload.mask_bytes} mask bytes with packing {packing!r}")
    if payload.stored and isinstance(encoding, Picture):
        raise WireError("a picture format is never marked as stored")
    if size > limit or (isinstance(encoding, Raw) and (size != limit or not payload.stored)):
        raise WireError(f"payload of {size} bytes, the plan allows {limit}")
    return Coded(payload.data, packing, payload.stored, payload.mask_bytes)


def max_payload_bytes(spec: TensorSpec, encoding: Encoding) -> int:
    """The most bytes that a wire tensor may take in an encoding."""
    match encoding:
        case Symbols(levels=levels):
            return max_coded_bytes(spec.size, levels)
        case Lossless():
            return exact_bytes(spec)
        case Picture():
            height, width, _ = spec.shape
            return max_picture_bytes(height, width)
        case Raw():
            return spec.nbytes


def require_formats(candidates: Iterable[Candidate]) -> None:
    """ConfigError if this machine cannot write and read the picture formats of these candidates.

    To be asked when a bundle is loaded: later, each frame of such a candidate would fail.
    """
    for candidate in candidates:
        for rung in candidate.rungs:
            for encoding in rung.encodings:
                if isinstance(encoding, Picture):
                    require_format(encoding.format)


def max_candidate_bytes(candidate: Candidate, cut: Cut) -> int:
    """The most bytes that the payloads of one frame of a candidate may take, at any rung."""
    return max(
        sum(
            max_payload_bytes(tensor.wire, encoding)
            for tensor, encoding in zip(cut.tensors, rung.encodings, strict=True)
        )
        for rung in candidate.rungs
    )


def max_frame_bytes(manifest: Manifest) -> int:
    """The largest message that a device of this plan ever sends: gRPC's bound, never unlimited."""
    frames = (max_candidate_bytes(c, manifest.cut_of(c)) for c in manifest.candidates)
    return max(frames, default=0) + MESSAGE_HEADROOM_BYTES
