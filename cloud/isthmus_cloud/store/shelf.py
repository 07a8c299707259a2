"""What lies in a version's folder: manifest, signature, and whether every file is whole."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from isthmus import BundleError, Manifest, check_file, decode_manifest
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.manifest import MANIFEST_NAME
from isthmus.regular_files import open_regular
from isthmus.signing import SIGNATURE_NAME, read_signature

__all__ = ["Shelved", "StoredVersion", "check_shelved", "shelved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version in the store, as it is listed.

    `fault` says why it cannot be used; fingerprint and size (of all files) are "" and 0 where the
    manifest may not be used. `signed` says that a signature is there, not that it is right.
    """

    name: str
    version: str
    fingerprint: str
    size_bytes: int
    signed: bool
    active: bool
    written_ns: int  # when its manifest was
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Shelved:
    """A bundle in a folder: the bytes of its manifest, what they say, and their sha256."""

    path: Path
    data: bytes
    manifest: Manifest
    fingerprint: str

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(entry.size_bytes for entry in self.manifest.files)

    @property
    def is_signed(self) -> bool:
        """Whether a signature lies beside the manifest."""
        return (self.path / SIGNATURE_NAME).exists()

    def signature(self) -> bytes | None:
        """It, None without one; BundleError if it is no such."""
        return read_signature(self.path)


def shelved(path: Path, where: str) -> Shelved:
    """Read the manifest in a folder; BundleError calls it `where`."""
    file = path / MANIFEST_NAME
    try:
        state = file.stat()
        return _read(path, state.st_mtime_ns, state.st_size, state.st_ino, where)
    except OSError as error:
        raise BundleError(f"{where}: its manifest cannot be read ({error.strerror})") from error


def check_shelved(bundle: Shelved, where: str) -> None:
    """Compare every file with the manifest; BundleError names the first that is not right."""
    for entry in bundle.manifest.files:
        check_file(bundle.path / entry.path, entry, f"the manifest of {where}", "push it again")


@lru_cache(maxsize=32)  # devices ask for the same few again and again
def _read(path: Path, _mtime_ns: int, size: int, _inode: int, where: str) -> Shelved:
    if size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{where}: its manifest is larger than any; push it again")
    with open_regular(path / MANIFEST_NAME) as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    return Shelved(
        path,
        data,
        decode_manifest(data, f"{where}/{MANIFEST_NAME}"),
        hashlib.sha256(data).hexdigest(),
    )
