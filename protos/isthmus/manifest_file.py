"""The manifest as a file: versioned, and validated whenever it is read."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import PurePosixPath

import msgspec

from isthmus.errors import BundleError
from isthmus.manifest import (
    FORMAT_VERSION,
    LABELS_NAME,
    Candidate,
    Cut,
    CutTensor,
    Encoding,
    Manifest,
    Picture,
    Symbols,
    TensorSpec,
)

MAX_TENSOR_BYTES = 256 * 1024 * 1024
MAX_RANK = 16  # numpy ends at 32 or 64, with an error that is none of ours

__all__ = ["decode_manifest", "encode_manifest"]


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as indented JSON, the bytes that the fingerprint is taken of."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Read and validate a manifest; `where` names the file in errors."""
    _check_version(data, where)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
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
    except msgspec.DecodeError as error:
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
    yield from _repeated("cut", (c.id for c in manifest.cuts))
    yield from _repeated("candidate", (c.id for c in manifest.candidates))
    yield from _tensor_problems(manifest)
    yield from _file_problems(manifest)
    for cut in manifest.cuts:
        yield from _cut_problems(manifest, cut)
    for candidate in manifest.candidates:
        yield from _candidate_problems(manifest, candidate)
    if sum(c.is_local for c in manifest.candidates if c.rungs) != 1:
        yield "a plan has exactly one candidate that sends nothing"


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} stands in it twice"
        seen.add(name)


def _tensor_problems(manifest: Manifest) -> Iterator[str]:
    if not manifest.segments or not manifest.outputs:
        yield "it has no segments or no outputs"
        return
    specs = [manifest.input, *manifest.outputs]
    specs += [spec for segment in manifest.segments for spec in (*segment.inputs, *segment.outputs)]
    specs += [tensor.wire for cut in manifest.cuts for tensor in cut.tensors]
    for spec in specs:
        impossible = any(n < 1 for n in spec.shape) or len(spec.shape) > MAX_RANK
        if impossible or spec.nbytes > MAX_TENSOR_BYTES:
            yield f"tensor {spec.name!r} has the impossible shape {spec.shape}"
    for before, after in pairwise(manifest.segments):
        if before.outputs != after.inputs:
            yield f"{after.file} does not begin where {before.file} ends"
    if manifest.segments[0].inputs != (manifest.input,):
        yield f"{manifest.segments[0].file} does not begin with the model's input"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    yield from _repeated("file", (f.path for f in manifest.files))
    for entry in manifest.files:
        parts = PurePosixPath(entry.path).parts
        if not parts or ".." in parts or entry.path.startswith("/") or "\\" in entry.path:
            yield f"file name {entry.path!r} leads out of the bundle"
    sides = {f.path: f.side for f in manifest.files}
    wanted = {(segment.file, "device") for segment in manifest.segments}
    wanted |= {(cut.tail, "cloud") for cut in manifest.cuts if cut.tail is not None}
    wanted |= {
        (tensor.stage, "device")
        for cut in manifest.cuts
        for tensor in cut.tensors
        if tensor.stage is not None
    }
    for path, side in sorted(wanted):
        if sides.get(path) not in {side, "both"}:
            yield f"{path} is used by the {side} side but not listed for it"
    if manifest.has_labels and sides.get(LABELS_NAME) != "both":
        yield f"{LABELS_NAME} is used by both sides but not listed for them"


def _cut_problems(manifest: Manifest, cut: Cut) -> Iterator[str]:
    chain = manifest.segments
    if not 0 <= cut.depth <= len(chain):
        yield f"cut {cut.id!r} has depth {cut.depth}, the chain has {len(chain)} segments"
    elif cut.depth == len(chain):
        if cut.tensors or cut.tail is not None:
            yield f"cut {cut.id!r} is the whole network and cannot have a tail"
    elif not cut.tensors or cut.tail is None:
        yield f"cut {cut.id!r} lacks its tensors or its tail"
    elif tuple(tensor.boundary for tensor in cut.tensors) != chain[cut.depth].inputs:
        yield f"cut {cut.id!r} is not what segments {cut.depth - 1} and {cut.depth} share"
    for tensor in cut.tensors:
        yield from _cut_tensor_problems(cut, tensor)


def _cut_tensor_problems(cut: Cut, tensor: CutTensor) -> Iterator[str]:
    where = f"tensor {tensor.boundary.name!r} of cut {cut.id!r}"
    if tensor.stage is None and tensor.wire != tensor.boundary:
        yield f"{where} crosses in another form, but no stage makes it"
    if tensor.is_quantised and (cut.depth == 0 or tensor.wire.data_type != "uint8"):
        yield f"{where} cannot be quantised"
    known = tensor.quantisation
    if known is not None and (
        tensor.boundary.data_type != "uint8"
        or not _is_quantisation(known.scale, known.zero_point, 256)
    ):
        yield f"{where} has an impossible scale or zero point"


def _candidate_problems(manifest: Manifest, candidate: Candidate) -> Iterator[str]:
    cut = next((c for c in manifest.cuts if c.id == candidate.cut), None)
    where = f"candidate {candidate.id!r}"
    if cut is None:
        yield f"{where} names the unknown cut {candidate.cut!r}"
        return
    if not 0 <= candidate.chosen < len(candidate.rungs):
        yield f"{where} chooses rung {candidate.chosen} of {len(candidate.rungs)}"
    for rung in candidate.rungs:
        if len(rung.encodings) != len(cut.tensors):
            yield f"{where} has {len(rung.encodings)} encodings for {len(cut.tensors)} tensors"
            return
        for encoding, tensor in zip(rung.encodings, cut.tensors, strict=True):
            yield from _encoding_problems(where, encoding, tensor)


def _encoding_problems(where: str, encoding: Encoding, tensor: CutTensor) -> Iterator[str]:
    shape = tensor.wire.shape
    match encoding:
        case Symbols(levels=levels, step=step, zero_point=zero_point, predictor=predictor):
            if not tensor.is_quantised or not _is_quantisation(step, zero_point, levels):
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


def _is_quantisation(step: float, zero_point: int, levels: int) -> bool:
    return math.isfinite(step) and step > 0 and 0 <= zero_point < levels


def _is_picture(spec: TensorSpec) -> bool:
    return spec.data_type == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3
