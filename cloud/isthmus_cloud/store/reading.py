"""The store as its readers see it: models, versions, which is active, and what lies in each."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from isthmus import IsthmusError
from isthmus.manifest import MANIFEST_NAME
from isthmus.signing import SIGNATURE_NAME
from isthmus_cloud.store.deployer import Deployed
from isthmus_cloud.store.disk import explained, written_ns
from isthmus_cloud.store.errors import StoreError, UnknownVersionError
from isthmus_cloud.store.names import check_name, is_name
from isthmus_cloud.store.pointer import read_pointer, repaired_pointer
from isthmus_cloud.store.shelf import (
    Shelved,
    StoredVersion,
    check_shelved,
    check_sizes,
    shelved,
    without_files,
)

MOST_NAMED = 20  # in one message
LOST = (
    "it is called active, but is not in the store; push it again and activate it, or activate "
    "another one"
)
GONE = (
    "it is served, but is not in the store any more, where the next start looks for it; push it "
    "again (and activate it, if new devices are to get it), or leave it so to give it up"
)

__all__ = ["Shelves", "Verifier", "names_in", "names_or_none"]

_logger = logging.getLogger(__name__)


class Verifier(Protocol):
    """Who has signed a manifest; `isthmus.signing.TrustedKeys` is one."""

    def verify(self, manifest: bytes, signature: bytes | None, where: str) -> None:
        """BundleError unless it is somebody whose bundles are taken."""


class Shelves:
    """What can be read of a store; see `Store`. Every method blocks for as long as the disk does.

    A root that does not exist is an empty store. StoreError where the disk fails.
    """

    def __init__(self, root: Path, verify: Verifier | None = None) -> None:
        self.root = root.absolute()
        self._verify = verify

    def models(self) -> tuple[str, ...]:
        """Names of all models that have a version, or call one active that somebody took away,
        sorted; also of those that cannot be read."""
        return tuple(name for name in names_in(self.root) if _is_model(self.root / name))

    def versions(self, name: str, *, verify: bool = False) -> tuple[StoredVersion, ...]:
        """All versions of a model, the oldest first; none of a model that is not here. Last, with
        a `fault`, stands the active one if somebody has taken it away.

        With `verify` every file is read and compared with its sha256.
        """
        check_name("model name", name)
        looked = (self._looked_at(name, version, verify) for version in names_in(self.root / name))
        found = [each for each in looked if each is not None]
        found.sort(key=lambda each: (each.written_ns, each.version))
        return (*found, *self._lost(name))

    def versions_of_all(self, *, verify: bool = False) -> Iterator[StoredVersion]:
        """`versions` of each model in turn; of one that cannot be read a row without a version,
        whose `fault` says why."""
        for name in self.models():
            try:
                yield from self.versions(name, verify=verify)
            except StoreError as error:
                yield without_files(name, "", str(error))

    def versions_that_serve(
        self, deployed: Iterable[Deployed], *, verify: bool = False
    ) -> list[StoredVersion]:
        """These, also those that somebody has taken away meanwhile: they stand here with a
        `fault`."""
        return [
            self._looked_at(each.name, each.version, verify)
            or without_files(
                each.name,
                each.version,
                GONE,
                fingerprint=each.fingerprint,
                active=self.active_or_none(each.name) == each.version,
            )
            for each in deployed
        ]

    def version(self, name: str, version: str) -> StoredVersion:
        """One of them; UnknownVersionError if it is not here."""
        self._require(name, version)
        return self._described(name, version)

    def active(self, name: str) -> str | None:
        """The active version of a model; None where none is, StoreError if that cannot be read."""
        check_name("model name", name)
        return read_pointer(self.root / name).active or None

    def active_or_none(self, name: str) -> str | None:
        """The same; None where it cannot be read, too, which is logged."""
        check_name("model name", name)
        return repaired_pointer(self.root / name).active or None

    def path(self, name: str, version: str) -> Path:
        """Where a version lies, for whoever loads it; the same errors as `open`."""
        return self.open(name, version).path

    def open(self, name: str, version: str) -> Shelved:
        """A version's manifest, after its signature was verified. The files are not looked at.

        UnknownVersionError if it is not here, BundleError if it may not be used.
        """
        folder, where = self._require(name, version), f"{name}/{version}"
        bundle = shelved(folder, where)
        if self._verify is not None:
            self._verify.verify(bundle.data, bundle.signature(), where)
        return bundle

    def check(self, name: str, version: str) -> StoredVersion:
        """`open`, and compare every file with the manifest: BundleError if one is not right."""
        check_shelved(self.open(name, version), f"{name}/{version}")
        return self.version(name, version)

    def _require(self, name: str, version: str) -> Path:
        """The folder of a version; UnknownVersionError if there is none."""
        check_name("model name", name)
        check_name("version", version)
        folder = self.root / name / version
        with explained(f"{name} {version}"):
            is_here = folder.is_dir()
        if not is_here:
            raise UnknownVersionError(
                f"there is no {name} {version} in the store; {self._has(name)}"
            )
        return folder

    def _has(self, name: str) -> str:
        """What there is instead."""
        if versions := names_in(self.root / name):
            return f"versions of {name}: {_some(versions)}"
        return f"models: {_some(self.models()) or 'none'}"

    def _lost(self, name: str) -> Iterator[StoredVersion]:
        """The version that is called active and is not here."""
        for _ in range(2):  # or it was removed, and another one is active, just between two looks
            version = self.active_or_none(name)
            if version is None or _identity(self.root / name / version) is not None:
                return
        if version is not None and version == self.active_or_none(name):
            yield without_files(name, version, LOST, active=True)

    def _looked_at(self, name: str, version: str, verify: bool) -> StoredVersion | None:
        """A version; None if somebody has removed it. One that changes places is no damaged one."""
        folder = self.root / name / version
        while (before := _identity(folder)) is not None:
            stored = self._described(name, version, verify)
            if stored.fault is None or _identity(folder) == before:
                return stored
        return None

    def _described(self, name: str, version: str, verify: bool = False) -> StoredVersion:
        folder, where = self.root / name / version, f"{name}/{version}"
        fingerprint, size_bytes, fault = "", 0, None
        try:
            bundle = self.open(name, version)
            fingerprint, size_bytes = bundle.fingerprint, bundle.size_bytes
            (check_shelved if verify else check_sizes)(bundle, where)
        except IsthmusError as error:
            fault = str(error)
        return StoredVersion(
            name=name,
            version=version,
            fingerprint=fingerprint,
            size_bytes=size_bytes,
            signed=os.path.exists(folder / SIGNATURE_NAME),  # noqa: PTH110 - False for whatever fails
            active=self.active_or_none(name) == version,
            written_ns=written_ns(folder / MANIFEST_NAME),
            fault=fault,
            verified=verify and fault is None,
        )


def names_in(folder: Path) -> tuple[str, ...]:
    """Names of the folders there that can be models or versions, sorted."""
    with explained(f"what is in {folder}"):
        try:
            return tuple(sorted(each.name for each in folder.iterdir() if _is_shelf(each)))
        except (FileNotFoundError, NotADirectoryError):
            return ()


def names_or_none(folder: Path) -> tuple[str, ...]:
    """The same; none where they cannot be read, which is logged."""
    try:
        return names_in(folder)
    except StoreError as error:
        _logger.warning("%s", error)
        return ()


def _some(names: Sequence[str]) -> str:
    """The last of them, where there are too many for one line."""
    left_out = len(names) - MOST_NAMED
    return ", ".join((*(f"{left_out} others",) * (left_out > 0), *names[-MOST_NAMED:]))


def _is_model(folder: Path) -> bool:
    """One that cannot be read counts: whoever asks for it is told why, and others are not."""
    try:
        return bool(names_in(folder) or repaired_pointer(folder).active)
    except StoreError as error:
        _logger.info("%s", error)
        return True


def _identity(folder: Path) -> tuple[int, int] | None:
    """What changes when another folder takes this one's place; None if there is none."""
    try:
        state = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return 0, 0
    return state.st_ino, state.st_ctime_ns


def _is_shelf(folder: Path) -> bool:
    """What cannot be looked at may be one, and whoever opens it is told why."""
    if not is_name(folder.name):
        return False
    try:
        return folder.is_dir()
    except OSError as error:
        _logger.info("%s: %s", folder, error.strerror)
        return True
