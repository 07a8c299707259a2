"""What can be done with a model store, be it one of a service or a folder of this machine."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isthmus import BundleError, check_file, decode_manifest
from isthmus.bundle import read_manifest
from isthmus.manifest import MANIFEST_NAME
from isthmus.signing import read_signature

__all__ = ["Moved", "Outgoing", "Progress", "Pushed", "Row", "StorePlace", "outgoing", "size_text"]

Progress = Callable[[float, str], None]  # the share (0-1) that is there, and what is being sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version in a store. `loaded` and `streams` are None where nothing serves it: in a folder.

    `fault` says why it cannot be used, "" if it can.
    """

    name: str
    version: str
    fingerprint: str
    size_bytes: int
    signed: bool
    active: bool
    loaded: bool | None
    streams: int | None
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What is in the store now; `sent_bytes` of it came by this push, 0 if it was there already."""

    name: str
    version: str
    fingerprint: str
    size_bytes: int
    sent_bytes: int
    signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`version` is active from now on; `previous` was before, None for none."""

    name: str
    version: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A whole bundle on this machine: its manifest and signature as they are, and file sizes."""

    path: Path
    manifest: bytes
    signature: bytes | None
    sizes: dict[str, int]

    @property
    def fingerprint(self) -> str:
        """The sha256 of the manifest."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(self.sizes.values())

    def pieces(self, path: str, offset: int, most_bytes: int) -> Iterator[tuple[int, bytes]]:
        """The rest of a file from `offset` on, each piece with where it begins.

        BundleError if it cannot be read any more.
        """
        try:
            with (self.path / path).open("rb") as file:
                file.seek(offset)
                while data := file.read(most_bytes):
                    yield offset, data
                    offset += len(data)
        except OSError as error:
            raise BundleError(
                f"{self.path / path}: {error.strerror} while it was sent; push again to go on"
            ) from error


class StorePlace(Protocol):
    """A store; every verb raises an IsthmusError if it is not done."""

    def versions(self, name: str | None) -> list[Row]:
        """All of a model, or of all models."""

    def push(self, bundle: Outgoing, name: str, version: str, progress: Progress) -> Pushed:
        """Send what lacks; after a break the next push goes on there."""

    def activate(self, name: str, version: str) -> Moved:
        """New devices get this version."""

    def rollback(self, name: str) -> Moved:
        """New devices get the version that was active before."""

    def remove(self, name: str, version: str) -> None:
        """It is gone, with its files."""


def outgoing(path: Path) -> tuple[Outgoing, str]:
    """A bundle to push and its model's name, after every file of it was compared with its manifest.

    BundleError if it is not whole.
    """
    read_manifest(path)  # with its own words for a folder that is no bundle
    data = (path / MANIFEST_NAME).read_bytes()
    manifest = decode_manifest(data, str(path / MANIFEST_NAME))
    for entry in manifest.files:
        check_file(
            path / entry.path, entry, "the manifest", "build the bundle again, or copy it again"
        )
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    return Outgoing(path, data, read_signature(path), sizes), manifest.model_name


def size_text(size_bytes: int) -> str:
    """For people: in MB from half of one on, else in KB."""
    if size_bytes >= 500_000:
        return f"{size_bytes / 1e6:.1f} MB"
    return f"{size_bytes / 1e3:.1f} KB"
