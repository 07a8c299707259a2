"""The wide bundle with a .tflite form of every segment, or of all but some."""

from collections.abc import Collection
from pathlib import Path

import msgspec
import onnx
from tests.widebundle import build_wide_bundle

from isthmus import (
    Chain,
    FileEntry,
    RuntimeName,
    Segment,
    TfliteForm,
    decode_manifest,
    encode_manifest,
    sha256_of,
)
from isthmus_partitioner.tflite import lower

__all__ = ["build_twin_bundle"]


def build_twin_bundle(
    directory: Path, without: Collection[str] = (), runtime: RuntimeName = "litert"
) -> Path:
    """Write it into `directory`; segments whose file is in `without` stay ONNX alone."""
    build_wide_bundle(directory)
    manifest = decode_manifest((directory / "bundle.json").read_bytes(), "bundle.json")
    chains = tuple(_twinned(directory, chain, without, runtime) for chain in manifest.chains)
    twins = {s.tflite.file for chain in chains for s in chain.segments if s.tflite is not None}
    entries = tuple(_entry(directory, file) for file in sorted(twins))
    made = msgspec.structs.replace(manifest, chains=chains, files=(*manifest.files, *entries))
    (directory / "bundle.json").write_bytes(encode_manifest(made))
    return directory


def _twinned(
    directory: Path, chain: Chain, without: Collection[str], runtime: RuntimeName
) -> Chain:
    segments = tuple(s if s.file in without else _with_twin(directory, s) for s in chain.segments)
    return msgspec.structs.replace(chain, segments=segments, runtime=runtime)


def _with_twin(directory: Path, segment: Segment) -> Segment:
    lowered = lower(onnx.load(directory / segment.file))
    file = segment.file.removesuffix(".onnx") + ".tflite"
    (directory / file).write_bytes(lowered.data)
    return msgspec.structs.replace(
        segment, tflite=TfliteForm(file=file, channels_last=lowered.channels_last)
    )


def _entry(directory: Path, file: str) -> FileEntry:
    path = directory / file
    return FileEntry(
        path=file, side="device", size_bytes=path.stat().st_size, sha256=sha256_of(path)
    )
