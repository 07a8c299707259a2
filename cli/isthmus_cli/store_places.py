"""What can be done with a model store, be it one of a service or a folder of this machine."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from isthmus import BundleError, check_file, decode_manifest
from isthmus.bundle import read_manifest
from isthmus.manifest import MANIFEST_NAME
from isthmus.signing import read_signature

__all__ = ["Moved", "Outgoing", "Progress", "Pushed", "Row", "State", "StorePlace", "outgoing"]

State = Literal["active", "unloaded", "given", "served", "-"]
Progress = Callable[[float, str], None]  # the share (0-1) that is there, and what is being sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version in a store. `active` is what the store says, `new_devices` whether they get it now.

    `loaded`, `streams` and `new_devices` are None where nobody can tell: of a folder, the last one
    also of a service that is too old.

    `fault` says why it cannot be used, "" if nothing of that was found; `verified` that every file
    was read for that. A model whose versions cannot be read is one row, with the version "".
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
    verified: bool
    new_devices: bool | None

    @property
    def usable(self) -> bool:
        """Whether nothing was found that is wrong with it."""
        return not self.fault

    @property
    def state(self) -> State:
        """For people; "-" of a version that is in the store, and no more."""
        get_it = self.active if self.new_devices is None else self.new_devices
        if self.active:
            return "active" if get_it else "unloaded"
        if get_it:
            return "given"
        return "served" if self.loaded else "-"

    @property
    def way_out(self) -> str:
        """What to do where store and service say different things, "" where they do not."""
        say = f"`isthmus activate {self.name} {self.version}`"
        if self.state == "unloaded":
            return (
                f"the store calls it active, but new devices do not get it: {say} gives it to them"
            )
        if self.state == "given":
            return f"new devices get it, but the store does not call it active: {say} says so there"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What is in the store now; `sent_bytes` of it came by this push. `was_there` says that this
    very bundle was there before, and whole; `state` and `way_out` are as in `Row`."""

    name: str
    version: str
    fingerprint: str
    size_bytes: int
    sent_bytes: int
    signed: bool
    was_there: bool
    state: State
    way_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`version` is active from now on; `previous` was before, None for none."""

    name: str
    version: str
    previous: str | None

    @property
    def text(self) -> str:
        """For people."""
        if self.version == self.previous:
            return f"{self.name} {self.version} is active, as it was before"
        return f"{self.name} {self.version} is active (before: {self.previous or 'none'})"


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

    def versions(self, name: str | None, *, verify: bool) -> list[Row]:
        """All of a model, or of all models; with `verify` every file is read."""

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
    try:
        data = (path / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path / MANIFEST_NAME}: cannot be read ({error.strerror}); let this user read it"
        ) from error
    manifest = decode_manifest(data, str(path / MANIFEST_NAME))
    for entry in manifest.files:
        check_file(
            path / entry.path,
            entry,
            "the manifest",
            "build the bundle again, or copy it again so that this user may read it",
        )
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    return Outgoing(path, data, read_signature(path), sizes), manifest.model_name
