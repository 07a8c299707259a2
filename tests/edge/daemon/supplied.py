"""A daemon whose bundle comes from a cloud: its file, and versions that will not do."""

import shutil
from pathlib import Path

import msgspec
from tests.edge.daemon.files import write_config
from tests.tinybundle import build_tiny_bundle

from isthmus import decode_manifest, encode_manifest, sha256_of
from isthmus.manifest import FileEntry

SHELF = "shelf"


def supplied_config(folder: Path, cloud: str, more: str = "", model: str = "tiny") -> Path:
    """As `write_config`, with `[bundle] from = "cloud"`; bundles are kept in `shelf`."""
    path = write_config(folder, Path("none"), more, agent=f'cloud = "{cloud}"')
    table = f'[bundle]\nfrom = "cloud"\nmodel = "{model}"\nkeep_in = "{SHELF}"\n'
    lines = path.read_text(encoding="utf-8").replace('bundle = "none"\n', "")
    path.write_text(table + lines, encoding="utf-8")
    return path


def unopenable_bundle(directory: Path, seed: int) -> Path:
    """Whole by its manifest, and no runtime can load the device's half."""
    bundle = build_tiny_bundle(directory, seed)
    (bundle / "device/segment-0.onnx").write_bytes(b"no model")
    record = bundle / "bundle.json"
    manifest = decode_manifest(record.read_bytes(), "here")
    files = tuple(_as_it_is(bundle, entry) for entry in manifest.files)
    record.write_bytes(encode_manifest(msgspec.structs.replace(manifest, files=files)))
    return bundle


def _as_it_is(bundle: Path, entry: FileEntry) -> FileEntry:
    path = bundle / entry.path
    return FileEntry(
        path=entry.path,
        side=entry.side,
        size_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def copied(bundle: Path, to: Path) -> Path:
    return Path(shutil.copytree(bundle, to))
