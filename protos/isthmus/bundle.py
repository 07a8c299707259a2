"""A bundle on disk: trusted only after every byte was checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isthmus.errors import BundleError
from isthmus.manifest import LABELS_NAME, MANIFEST_NAME, FileEntry, Manifest
from isthmus.manifest_file import decode_manifest

MAX_MANIFEST_BYTES = 4 * 1024 * 1024

__all__ = ["Bundle", "open_bundle", "read_manifest", "sha256_of"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle. `fingerprint` is what both halves compare before the first frame."""

    path: Path
    manifest: Manifest
    fingerprint: str
    labels: tuple[str, ...]

    def file(self, name: str) -> Path:
        """The path of one of the manifest's files."""
        return self.path / name


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest and the bundle's fingerprint; no file but `bundle.json` is looked at.

    Raises BundleError where there is none or it is not valid.
    """
    manifest_path = path / MANIFEST_NAME
    try:
        if manifest_path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{manifest_path}: larger than any manifest; build the bundle again")
        data = manifest_path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: no bundle here ({error.strerror}: {MANIFEST_NAME}); "
            "make one with `isthmus build MODEL.onnx --out DIR`"
        ) from error
    return decode_manifest(data, str(manifest_path)), hashlib.sha256(data).hexdigest()


def open_bundle(path: Path, side: Literal["device", "cloud"]) -> Bundle:
    """Read the manifest and check size and sha256 of every file that `side` needs.

    Records belong to both sides: they are small, and a plan is as good as what it was made of.
    Raises BundleError that names the file which is missing or damaged.
    """
    manifest, fingerprint = read_manifest(path)
    for entry in manifest.files:
        if entry.side in {side, "both", "record"}:
            _check_file(path, entry)
    labels = _read_labels(path) if manifest.has_labels else ()
    return Bundle(path, manifest, fingerprint, labels)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(bundle: Path, entry: FileEntry) -> None:
    path = bundle / entry.path
    way_out = "copy the bundle again, or build it again with `isthmus build`"
    try:
        size = path.stat().st_size
        if size != entry.size_bytes:
            raise BundleError(
                f"{path}: {size} bytes, the manifest says {entry.size_bytes}; {way_out}"
            )
        digest = sha256_of(path)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; {way_out}") from error
    if digest != entry.sha256:
        raise BundleError(f"{path}: damaged (sha256 is not the manifest's); {way_out}")


def _read_labels(bundle: Path) -> tuple[str, ...]:
    path = bundle / LABELS_NAME
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); build the bundle again") from error
