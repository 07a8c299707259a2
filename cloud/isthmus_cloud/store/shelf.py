"""What lies in a version's folder: manifest, signature, and whether every file is whole."""

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from isthmus import BundleError, FileEntry, Manifest, check_file, decode_manifest
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.manifest import MANIFEST_NAME
from isthmus.regular_files import open_regular
from isthmus.signing import read_signature
from isthmus_cloud.store.strangers import LOOK, stranger_in

PUSH_AGAIN = "push the same bundle again, and it is mended"

__all__ = [
    "PUSH_AGAIN",
    "Shelved",
    "StoredVersion",
    "check_shelved",
    "check_sizes",
    "damaged_files",
    "shelved",
    "stranger",
    "without_files",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version in the store, as it is listed.

    `fault` says why it cannot be used; fingerprint and size (of all files) are "" and 0 where the
    manifest may not be used, and `version` is "" where nobody can tell which versions there are.
    Files are looked at for their sizes; `verified` says that the sha256 of each was compared, too.
    `signed` says that a signature is there, not that it is right.
    """

    name: str
    version: str
    fingerprint: str
    size_bytes: int
    signed: bool
    active: bool
    written_ns: int  # when its manifest was
    fault: str | None = None
    verified: bool = False


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

    def signature(self) -> bytes | None:
        """It, None without one; BundleError if it is no such."""
        return read_signature(self.path)


def without_files(
    name: str, version: str, fault: str, *, fingerprint: str = "", active: bool = False
) -> StoredVersion:
    """What stands in a list for a version that was taken away; with "" as the version for a model
    whose versions cannot be read."""
    return StoredVersion(
        name=name,
        version=version,
        fingerprint=fingerprint,
        size_bytes=0,
        signed=False,
        active=active,
        written_ns=0,
        fault=fault,
    )


def shelved(path: Path, where: str) -> Shelved:
    """Read the manifest in a folder; BundleError calls it `where`."""
    file = path / MANIFEST_NAME
    try:
        state = file.stat()
        return _read(path, state.st_mtime_ns, state.st_size, state.st_ino, where)
    except OSError as error:
        help_ = _way_out(path)
        if isinstance(error, PermissionError):
            help_ = "let the user that works on the store read it"
        raise BundleError(
            f"{where}: its manifest cannot be read ({error.strerror}); {help_}"
        ) from error


def _way_out(path: Path) -> str:
    """What helps where no manifest can be read; nobody is told to remove what is no version."""
    try:
        is_version = stranger_in(path, None) is None
    except OSError as error:
        return f"see that the store's disk is sound ({error.strerror})"
    if is_version:
        return "remove it, and push it again"
    return f"it holds other files and is no version of a store: {LOOK}"


def stranger(path: Path, where: str) -> str | None:
    """A file in a folder that would be lost with it, though no push has written it; None without.

    OSError if the folder cannot be looked into.
    """
    try:
        paths = {entry.path for entry in shelved(path, where).manifest.files}
    except BundleError:
        return stranger_in(path, None)
    return None if path.is_symlink() else stranger_in(path, paths)  # a link loses no file


def check_shelved(bundle: Shelved, where: str) -> None:
    """Compare every file with the manifest; BundleError names the first that is not right."""
    for entry in bundle.manifest.files:
        _check(bundle, entry, where)


def check_sizes(bundle: Shelved, where: str) -> None:
    """The same by sizes alone, which reads no file."""
    for entry in bundle.manifest.files:
        path = bundle.path / entry.path
        try:
            size_bytes = path.stat().st_size
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}; {PUSH_AGAIN}") from error
        if size_bytes != entry.size_bytes:
            raise BundleError(
                f"{path}: {size_bytes} bytes, the manifest of {where} says {entry.size_bytes}; "
                f"{PUSH_AGAIN}"
            )


def damaged_files(bundle: Shelved, where: str) -> tuple[FileEntry, ...]:
    """The files that `check_shelved` does not find right."""
    return tuple(entry for entry in bundle.manifest.files if not _is_right(bundle, entry, where))


def _is_right(bundle: Shelved, entry: FileEntry, where: str) -> bool:
    try:
        _check(bundle, entry, where)
    except BundleError as error:
        _logger.info("%s", error)
        return False
    return True


def _check(bundle: Shelved, entry: FileEntry, where: str) -> None:
    check_file(bundle.path / entry.path, entry, f"the manifest of {where}", PUSH_AGAIN)


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
