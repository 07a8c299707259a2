"""The manifest as a file: versioned, and validated whenever it is read."""

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from isthmus.errors import BundleError
from isthmus.manifest import (
    FORMAT_VERSION,
    LABELS_NAME,
    Candidate,
    CutTensor,
    Figures,
    Manifest,
)
from isthmus.manifest_chains import chain_problems, cut_problems, is_quantisation, repeated
from isthmus.tensors import (
    Encoding,
    Picture,
    Symbols,
    TensorSpec,
)

MAX_TENSOR_BYTES = 256 * 1024 * 1024
MAX_RANK = 16  # numpy ends at 32 or 64, with an error that is none of ours
RECORD_FOLDER = "record"

_NEVER_NEGATIVE = (
    "edge_ms",
    "encode_ms",
    "decode_ms",
    "tail_ms",
    "payload_bytes",
    "payload_bytes_p95",
    "divergence",
    "memory_bytes",
)

__all__ = ["decode_manifest", "encode_manifest"]


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as indented JSON, the bytes that the fingerprint is taken of."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Read and validate a manifest; `where` names the file in errors."""
    _check_version(data, where)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(
            f"{where}: not a valid manifest: {error}; build the bundle again"
        ) from error
    problem = next(_problems(manifest), None)
    if problem is not None:
        raise BundleError(f"{where}: {problem}; build the bundle again with `isthmus build`")
    return manifest


class _VersionOnly(msgspec.Struct):
    format_version: int


def _check_version(data: bytes, where: str) -> None:
    try:
        version = msgspec.json.decode(data, type=_VersionOnly).format_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(
            f"{where}: not a bundle manifest: {error}; build the bundle again"
        ) from error
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{where}: bundle format {version}, this Isthmus reads {FORMAT_VERSION}; "
            "build the bundle again, or install the version that made it"
        )


def _problems(manifest: Manifest) -> Iterator[str]:
    """What is inconsistent in a manifest whose types are already right."""
    yield from repeated("cut", (c.id for c in manifest.cuts))
    yield from repeated("candidate", (c.id for c in manifest.candidates))
    for spec in _specs(manifest):
        yield from _tensor_problems(spec)
    yield from chain_problems(manifest)
    yield from _file_problems(manifest)
    for cut in manifest.cuts:
        yield from cut_problems(manifest, cut)
    for candidate in manifest.candidates:
        yield from _candidate_problems(manifest, candidate)
    if sum(c.is_local for c in manifest.candidates if c.rungs) != 1:
        yield "a plan has exactly one candidate that sends nothing"


def _specs(manifest: Manifest) -> Iterator[TensorSpec]:
    yield from manifest.inputs
    yield from manifest.outputs
    for chain in manifest.chains:
        for segment in chain.segments:
            yield from (*segment.inputs, *segment.outputs)
    for cut in manifest.cuts:
        for tensor in cut.tensors:
            yield from (tensor.boundary, tensor.wire)


def _tensor_problems(spec: TensorSpec) -> Iterator[str]:
    rank = len(spec.shape)
    impossible = any(n < 1 for n in spec.shape) or rank > MAX_RANK
    if impossible or spec.nbytes > MAX_TENSOR_BYTES:
        yield f"tensor {spec.name!r} has the impossible shape {spec.shape}"
    if spec.batch_axis is not None and not 0 <= spec.batch_axis <= rank:
        yield f"tensor {spec.name!r} of rank {rank} has the batch axis {spec.batch_axis}"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    yield from repeated("file", (f.path for f in manifest.files))
    for entry in manifest.files:
        parts = PurePosixPath(entry.path).parts
        if not parts or ".." in parts or entry.path.startswith("/") or "\\" in entry.path:
            yield f"file name {entry.path!r} leads out of the bundle"
        if entry.side == "record" and parts[:1] != (RECORD_FOLDER,):
            yield f"{entry.path} is listed as a record, but is not below {RECORD_FOLDER}/"
    sides = {f.path: f.side for f in manifest.files}
    wanted = {(each.file, "device") for chain in manifest.chains for each in chain.segments}
    wanted |= {(part, "cloud") for cut in manifest.cuts for part in cut.tail}
    wanted |= {
        (each.tflite.file, "device")
        for chain in manifest.chains
        for each in chain.segments
        if each.tflite is not None
    }
    wanted |= {
        (tensor.stage.projection, "device")
        for cut in manifest.cuts
        for tensor in cut.tensors
        if tensor.stage is not None and tensor.stage.projection is not None
    }
    for path, side in sorted(wanted):
        if sides.get(path) not in {side, "both"}:
            yield f"{path} is used by the {side} side but not listed for it"
    if manifest.has_labels and sides.get(LABELS_NAME) != "both":
        yield f"{LABELS_NAME} is used by both sides but not listed for them"


def _candidate_problems(manifest: Manifest, candidate: Candidate) -> Iterator[str]:
    cut = next((c for c in manifest.cuts if c.id == candidate.cut), None)
    where = f"candidate {candidate.id!r}"
    if cut is None:
        yield f"{where} names the unknown cut {candidate.cut!r}"
        return
    if not 0 <= candidate.chosen < len(candidate.rungs):
        yield f"{where} chooses rung {candidate.chosen} of {len(candidate.rungs)}"
    for rung in candidate.rungs:
        yield from _figure_problems(where, rung.figures)
        if len(rung.encodings) != len(cut.tensors):
            yield f"{where} has {len(rung.encodings)} encodings for {len(cut.tensors)} tensors"
            return
        for encoding, tensor in zip(rung.encodings, cut.tensors, strict=True):
            yield from _encoding_problems(where, encoding, tensor)


def _figure_problems(where: str, figures: Figures) -> Iterator[str]:
    if not 0 <= figures.agreement_low <= figures.agreement <= figures.agreement_high <= 1:
        yield (
            f"{where} has the agreement {figures.agreement}, which is not within its interval "
            f"[{figures.agreement_low}, {figures.agreement_high}] within [0, 1]"
        )
    for name in _NEVER_NEGATIVE:
        value = getattr(figures, name)
        if not (math.isfinite(value) and value >= 0):
            yield f"{where} has the impossible {name} {value}"


def _encoding_problems(where: str, encoding: Encoding, tensor: CutTensor) -> Iterator[str]:
    shape = tensor.wire.shape
    match encoding:
        case Symbols(levels=levels, step=step, zero_point=zero_point, predictor=predictor):
            if not tensor.is_quantised or not is_quantisation(step, zero_point, levels):
                yield f"{where} has an impossible step or zero point"
            if len(shape) < {"none": 0, "left": 1, "up": 2}[predictor]:
                yield f"{where}: shape {shape} has no neighbour for the predictor {predictor!r}"
        case _ if tensor.is_quantised and tensor.quantisation is None:
            yield f"{where} sends what its stage quantises in another form than symbols"
        case Picture(quality=quality):
            if not _is_picture(tensor.wire) or not (quality is None or 1 <= quality <= 100):
                yield f"{where} needs a picture and a quality from 1 to 100"
            if quality is None and encoding.format != "webp":
                yield f"{where}: only WebP is lossless"


def _is_picture(spec: TensorSpec) -> bool:
    return spec.data_type == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3
