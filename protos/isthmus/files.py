"""Files that a record announces: trusted only after every byte was checked."""

import hashlib
from pathlib import Path

from isthmus.errors import BundleError
from isthmus.manifest import FileEntry
from isthmus.profiles import KitFile

__all__ = ["check_file", "sha256_of"]


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path, entry: FileEntry | KitFile, record: str, way_out: str) -> None:
    """Compare size and sha256 of a file with its entry in `record`.

    BundleError if it is missing or another; `way_out` says what then helps.
    """
    try:
        size = path.stat().st_size
        if size != entry.size_bytes:
            raise BundleError(f"{path}: {size} bytes, {record} says {entry.size_bytes}; {way_out}")
        digest = sha256_of(path)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; {way_out}") from error
    if digest != entry.sha256:
        raise BundleError(f"{path}: damaged (sha256 is not what {record} says); {way_out}")
