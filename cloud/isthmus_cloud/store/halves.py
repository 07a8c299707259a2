"""What a device may have of the store: the manifest of what is active, and the files of its half.

Those of the cloud's half stay here, and so does every version that is neither active nor served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from isthmus import BundleError, FileEntry, WireError, sha256_of
from isthmus.manifest import MANIFEST_NAME
from isthmus.regular_files import open_regular
from isthmus_cloud.store.deployer import Deployed
from isthmus_cloud.store.errors import StoreError, UnknownVersionError
from isthmus_cloud.store.names import is_fingerprint
from isthmus_cloud.store.reading import Shelves, names_in, names_or_none
from isthmus_cloud.store.shelf import Shelved

__all__ = ["Current", "Halves", "OpenFile"]


@dataclass(frozen=True, slots=True)
class Current:
    """The version that a device should have, and the bundle that it is."""

    name: str
    version: str
    bundle: Shelved


class OpenFile:
    """A file from some offset to the end that the manifest says."""

    def __init__(self, file: BinaryIO, left_bytes: int) -> None:
        self._file = file
        self._left_bytes = left_bytes

    def read(self, most_bytes: int) -> bytes:
        """The next bytes, b"" at the end."""
        data = self._file.read(min(most_bytes, self._left_bytes))
        self._left_bytes -= len(data)
        return data

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


class Halves:
    """Answers devices out of a store; every method blocks for as long as the disk does.

    `deployed` is what is served now: devices that are on an old version may still fetch it.
    """

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves

    def current(self, model: str, held: str, deployed: Sequence[Deployed]) -> Current:
        """The active version of a model, or of the model that has the fingerprint `held`.

        UnknownVersionError if there is no such model, or no version of it is active.
        """
        name = model or self._model_with(held, deployed)
        version = self._shelves.active(name)
        if version is None:
            known = (
                "no version of it is active" if names_in(self._shelves.root / name) else "unknown"
            )
            raise UnknownVersionError(
                f"model {name} is not served here: {known}; an operator sees with `isthmus list` "
                "what there is, and gives it to devices with `isthmus activate NAME VERSION`"
            )
        return Current(name, version, self._shelves.open(name, version))

    def open(
        self, fingerprint: str, path: str, offset: int, deployed: Sequence[Deployed]
    ) -> OpenFile:
        """A file of the device's half, from `offset` on.

        UnknownVersionError if it is none, or of a version that is neither active nor served.
        """
        bundle = self._served(fingerprint, deployed)
        entry = _of_device(bundle, path)
        if not 0 <= offset <= entry.size_bytes:
            raise WireError(f"{path}: has {entry.size_bytes} bytes; {offset} is beyond its end")
        try:
            file = open_regular(bundle.path / path)
            file.seek(offset)
        except OSError as error:
            raise StoreError(f"{path}: cannot be read here ({error.strerror})") from error
        return OpenFile(file, entry.size_bytes - offset)

    def _served(self, fingerprint: str, deployed: Sequence[Deployed]) -> Shelved:
        _require_fingerprint(fingerprint)
        for name, version, has in self._given(deployed):
            if has == fingerprint:
                return self._shelves.open(name, version)
        raise UnknownVersionError("no version with this fingerprint is active or served here")

    def _given(self, deployed: Sequence[Deployed]) -> Iterator[tuple[str, str, str | None]]:
        """Name, version and fingerprint of what devices may fetch."""
        yield from ((each.name, each.version, each.fingerprint) for each in deployed)
        for name in self._shelves.models():
            version = self._shelves.active_or_none(name)
            if version is not None:
                yield name, version, self._fingerprint(name, version)

    def _model_with(self, held: str, deployed: Sequence[Deployed]) -> str:
        """The model that has a version with this fingerprint, active or not."""
        _require_fingerprint(held)
        for name, _, has in self._given(deployed):
            if has == held:
                return name
        for name in self._shelves.models():
            for version in names_or_none(self._shelves.root / name):
                if self._fingerprint(name, version) == held:
                    return name
        raise UnknownVersionError("no model here has a version with this fingerprint")

    def _fingerprint(self, name: str, version: str) -> str | None:
        """None where there is no manifest."""
        path = self._shelves.root / name / version / MANIFEST_NAME
        try:
            state = path.stat()
            return _sha256_at(path, state.st_mtime_ns, state.st_size, state.st_ino)
        except OSError:
            return None


def _of_device(bundle: Shelved, path: str) -> FileEntry:
    for entry in bundle.manifest.files:
        if entry.path == path and entry.side != "cloud":
            return entry
    raise UnknownVersionError(f"{path[:80]!r} is no file of a device in this bundle")


def _require_fingerprint(text: str) -> None:
    if not is_fingerprint(text):
        raise BundleError(
            "this is no fingerprint: it is the sha256 of a bundle's manifest, 64 hexadecimal digits"
        )


@lru_cache(maxsize=4096)
def _sha256_at(path: Path, _mtime_ns: int, _size: int, _inode: int) -> str:
    return sha256_of(path)
