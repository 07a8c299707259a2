"""A bundle on disk: trusted only after every byte was checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isthmus.errors import BundleError
from isthmus.files import check_file
from isthmus.manifest import LABELS_NAME, MANIFEST_NAME, Manifest
from isthmus.manifest_file import decode_manifest

MAX_MANIFEST_BYTES = 4 * 1024 * 1024

__all__ = ["Bundle", "open_bundle", "read_manifest"]

_WAY_OUT = "copy the bundle again, or build it again with `isthmus build`"


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
    except PermissionError as error:
        raise BundleError(
            f"{manifest_path}: {error.strerror}; let this user read the bundle"
        ) from error
    except OSError as error:
        raise BundleError(
            f"{path}: no bundle here ({error.strerror}: {MANIFEST_NAME}); "
            "make one with `isthmus build MODEL.onnx --out DIR`"
        ) from error
    return decode_manifest(data, str(manifest_path)), hashlib.sha256(data).hexdigest()


def open_bundle(path: Path, side: Literal["device", "cloud"], way_out: str = _WAY_OUT) -> Bundle:
    """Read the manifest and check size and sha256 of every file that `side` needs.

    Records belong to both sides: they are small, and a plan is as good as what it was made of.
    Raises BundleError that names the file which is missing or damaged, and says what to do.
    """
    manifest, fingerprint = read_manifest(path)
    for entry in manifest.files:
        if entry.side in {side, "both", "record"}:
            check_file(path / entry.path, entry, "the manifest", way_out)
    labels = _read_labels(path) if manifest.has_labels else ()
    return Bundle(path, manifest, fingerprint, labels)


def _read_labels(bundle: Path) -> tuple[str, ...]:
    path = bundle / LABELS_NAME
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); build the bundle again") from error
