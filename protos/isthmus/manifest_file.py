"""The manifest as a file: versioned, and validated whenever it is read."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import PurePosixPath

import msgspec

from isthmus.errors import BundleError
from isthmus.manifest import FORMAT_VERSION, LABELS_NAME, Candidate, Cut, Jpeg, Manifest, Symbols

MAX_TENSOR_BYTES = 256 * 1024 * 1024

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
    if sum(c.encoding is None for c in manifest.candidates) != 1:
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
    specs += [spec for segment in manifest.segments for spec in (segment.input, *segment.outputs)]
    for spec in specs:
        if any(n < 1 for n in spec.shape) or spec.nbytes > MAX_TENSOR_BYTES:
            yield f"tensor {spec.name!r} has the impossible shape {spec.shape}"
    for before, after in pairwise(manifest.segments):
        if before.outputs != (after.input,):
            yield f"{after.file} does not begin where {before.file} ends"
    if manifest.segments[0].input != manifest.input:
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
        if cut.tensor is not None or cut.tail is not None:
            yield f"cut {cut.id!r} is the whole network and cannot have a tail"
    elif cut.tensor is None or cut.tail is None:
        yield f"cut {cut.id!r} lacks its tensor or its tail"
    elif cut.tensor != chain[cut.depth].input:
        yield f"cut {cut.id!r} is not the tensor between segments {cut.depth - 1} and {cut.depth}"
    if (cut.quantisation is not None) != (0 < cut.depth < len(chain)):
        yield f"cut {cut.id!r} needs a quantisation exactly if a head ends in it"
    elif cut.quantisation is not None and not _is_quantisation(
        cut.quantisation.scale, cut.quantisation.zero_point, 256
    ):
        yield f"cut {cut.id!r} has an impossible scale or zero point"


def _candidate_problems(manifest: Manifest, candidate: Candidate) -> Iterator[str]:
    cut = next((c for c in manifest.cuts if c.id == candidate.cut), None)
    if cut is None:
        yield f"candidate {candidate.id!r} names the unknown cut {candidate.cut!r}"
        return
    encoding = candidate.encoding
    if (encoding is None) != (cut.tail is None):
        yield f"candidate {candidate.id!r} needs an encoding exactly if its cut has a tail"
    if isinstance(encoding, Symbols) and (
        cut.quantisation is None
        or not _is_quantisation(encoding.step, encoding.zero_point, encoding.levels)
    ):
        yield f"candidate {candidate.id!r} has an impossible step or zero point"
    if isinstance(encoding, Jpeg) and not (1 <= encoding.quality <= 100 and _is_picture(cut)):
        yield f"candidate {candidate.id!r}: JPEG needs a picture and a quality from 1 to 100"


def _is_quantisation(step: float, zero_point: int, levels: int) -> bool:
    return math.isfinite(step) and step > 0 and 0 <= zero_point < levels


def _is_picture(cut: Cut) -> bool:
    spec = cut.tensor
    return (
        spec is not None
        and spec.data_type == "uint8"
        and len(spec.shape) == 3
        and spec.shape[2] == 3
    )
