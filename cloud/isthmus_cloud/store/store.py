"""The store: a plain directory of bundles, of which one version a model is active.

    NAME/VERSION/           a bundle as `isthmus build` writes it, with or without a signature
    NAME/.active.json       which version is active, and which were before
    .incoming/FINGERPRINT/  a push that is not complete
    .trash/                 what was removed, for the moment that it takes
    .lock                   whoever moves a name holds it, over all processes

Everything that others see comes about by one rename of what was synced before. A version never
changes; a bundle that somebody copied here by hand counts like one that was pushed.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isthmus import BundleError, ConfigError, FileEntry, decode_manifest
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.manifest import MANIFEST_NAME
from isthmus.signing import SIGNATURE_BYTES, SIGNATURE_NAME, read_signature
from isthmus.sizes import size_text
from isthmus_cloud.store.disk import explained, free_bytes, locked, sync_folder, write_whole
from isthmus_cloud.store.errors import StoreError, StoreFullError, UnknownVersionError
from isthmus_cloud.store.incoming import Backyard
from isthmus_cloud.store.names import check_files, check_name
from isthmus_cloud.store.pointer import (
    POINTER_NAME,
    Pointer,
    forget,
    read_pointer,
    repaired_pointer,
    write_pointer,
)
from isthmus_cloud.store.push import Push
from isthmus_cloud.store.reading import Shelves, Verifier, names_in
from isthmus_cloud.store.shelf import StoredVersion, damaged_files, shelved, stranger
from isthmus_cloud.store.strangers import LOOK

SHORT = 12  # digits of a fingerprint that people compare

__all__ = ["Store", "StoreLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """`max_bundle_bytes` of all files of one bundle; `spare_bytes` of the disk that no push may
    take; `keep_partial_s` is how long a push that broke off can be gone on with."""

    max_bundle_bytes: int = 16 * 1024**3
    spare_bytes: int = 64 * 1024**2
    keep_partial_s: float = 7 * 24 * 3600

    def __post_init__(self) -> None:
        if self.max_bundle_bytes < 1 or self.spare_bytes < 0 or self.keep_partial_s <= 0:
            raise ConfigError(
                "limits of a store: max_bundle_bytes and keep_partial_s must be above 0, "
                "spare_bytes not below 0"
            )


class Store(Shelves):
    """One directory; any number of threads and processes may use it at once.

    Every method reads or writes the disk and blocks for as long as that takes. With `verify`, a
    version without a right signature is neither taken nor given away. A root that does not exist is
    made by the first push.
    """

    def __init__(
        self, root: Path, verify: Verifier | None = None, limits: StoreLimits | None = None
    ) -> None:
        super().__init__(root, verify)
        self._limits = limits or StoreLimits()
        self._yard = Backyard(self.root)

    def begin_push(
        self, name: str, version: str, manifest: bytes, signature: bytes | None = None
    ) -> Push:
        """Take a bundle in, of which these are `bundle.json` and its signature.

        What lacks of it is then written to the returned `Push`, which must be closed. If the same
        bundle is there already, nothing lacks but what is damaged of it. Raises ConfigError for
        names, BundleError for a manifest or a signature that is not taken, StoreError if another
        bundle has this version or this one is being pushed already, StoreFullError if there is no
        room.
        """
        check_name("model name", name)
        check_name("version", version)
        title = f"{name} {version}"
        entries = self._inspected(f"{name}/{version}", manifest, signature)
        fingerprint = hashlib.sha256(manifest).hexdigest()
        publish = partial(self._publish, name, version, fingerprint)
        with explained(title):
            if (self.root / name / version).exists():
                entries = self._damaged(name, version, fingerprint, signature)
                if not entries:  # before anything is written: the disk may be full
                    return Push(title, entries, None, publish)
                publish = partial(self._mend, name, version, fingerprint, tuple(entries))
            self._yard.prepare()
            self._yard.sweep(self._limits.keep_partial_s)
            arriving = self._yard.arriving(fingerprint, title)
        try:
            with explained(title):
                _write_manifest(arriving.bundle, manifest, signature)
            push = Push(title, entries, arriving, publish, self._limits.spare_bytes)
            self._require_room(title, push)
        except StoreFullError:
            arriving.drop()
            raise
        except BaseException:
            arriving.leave()
            raise
        return push

    def set_active(self, name: str, version: str) -> str | None:
        """Move the pointer; what was active before. The files are not looked at: see `check`."""
        self.open(name, version)
        folder = self.root / name
        if repaired_pointer(folder).active == version:
            return version  # nothing is written: the disk may be full
        with explained(f"{name} {version}"), locked(self._yard.lock):
            self._require(name, version)  # nobody has removed it meanwhile
            before = repaired_pointer(folder)
            write_pointer(folder, before.moved_to(version))
        return before.active or None

    def rollback_target(self, name: str) -> str:
        """The version that `rollback` goes back to; StoreError if there is none,
        UnknownVersionError if there is no such model."""
        check_name("model name", name)
        return self._one_before(name).previous[-1]

    def rollback(self, name: str, to: str | None = None) -> str:
        """Move the pointer back to what was active before; that version.

        What was active until now is forgotten: another rollback goes back one more. StoreError if
        there is nothing to go back to, or it is another version than `to`, for which somebody
        looked before.
        """
        target = self.rollback_target(name)
        self.open(name, target)
        with explained(name), locked(self._yard.lock):
            pointer = self._one_before(name)
            if pointer.previous[-1] != (to or target):
                raise StoreError(f"{name}: somebody else has moved it meanwhile; look again")
            write_pointer(self.root / name, pointer.rolled_back())
        return pointer.previous[-1]

    def remove(self, name: str, version: str) -> None:
        """Remove a version, and give its room back. StoreError for the active one, and for a folder
        that is no version: what no push has written stays."""
        folder = self._require(name, version).parent
        with explained(f"{name} {version}"):
            self._require_no_stranger(name, version)
            self._yard.prepare()
            with locked(self._yard.lock):
                pointer = read_pointer(folder)
                if pointer.active == version:
                    raise StoreError(self._stays(name, version))
                self._require(name, version)
                forgotten = forget(folder, version)  # before it goes: a crash leaves no dead end
                hidden = self._yard.hide(folder / version)
                _remove_if_empty(folder)
            self._yard.shred(hidden)
            if not forgotten:  # there was no room: now there is
                with locked(self._yard.lock):
                    forget(folder, version)

    def _inspected(
        self, where: str, manifest: bytes, signature: bytes | None
    ) -> Mapping[str, FileEntry]:
        """The files that a manifest lists, by path, after everything in it was checked."""
        if len(manifest) > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"{where}: the manifest has {len(manifest)} bytes; {MAX_MANIFEST_BYTES} are taken"
            )
        if signature is not None and len(signature) != SIGNATURE_BYTES:
            raise BundleError(
                f"{where}: a signature of {len(signature)} bytes; it has {SIGNATURE_BYTES}"
            )
        if self._verify is not None:
            self._verify.verify(manifest, signature, where)
        decoded = decode_manifest(manifest, f"{where}/{MANIFEST_NAME}")
        check_files(decoded.files, self._limits.max_bundle_bytes)
        return {entry.path: entry for entry in decoded.files}

    def _damaged(
        self, name: str, version: str, fingerprint: str, signature: bytes | None
    ) -> Mapping[str, FileEntry]:
        """The version is there: it must be the same bundle, and may get another signature. What
        of its files is not right, by path."""
        folder, where = self._require_same(name, version, fingerprint), f"{name}/{version}"
        damaged = {entry.path: entry for entry in damaged_files(shelved(folder, where), where)}
        if signature == _signature_in(folder):
            signature = None
        if folder.is_symlink() and (damaged or signature is not None):
            what = "is damaged" if damaged else "lacks this signature"
            raise StoreError(
                f"{name} {version} {what}, and is a link to a folder outside the store, in which "
                "nothing is changed; mend what it leads to, or take the link away and push again"
            )
        if signature is not None:
            with locked(self._yard.lock):
                self._require_same(name, version, fingerprint)
                write_whole(folder / SIGNATURE_NAME, signature)
        self.open(name, version)
        return damaged

    def _require_room(self, title: str, push: Push) -> None:
        lacking_bytes = sum(each.size_bytes - each.offset for each in push.lacks)
        free, spare = free_bytes(self.root), self._limits.spare_bytes
        if lacking_bytes > free - spare:
            raise StoreFullError(
                f"{title}: no room: {size_text(lacking_bytes)} are to come, and of the "
                f"{size_text(free)} that are free on the store's disk {size_text(spare)} stay so; "
                "remove versions that are not used, or give it a larger disk"
            )

    def _publish(
        self, name: str, version: str, fingerprint: str, bundle: Path | None
    ) -> StoredVersion:
        """The step by which a version is there; None where it should be already."""
        folder = self.root / name
        if bundle is None:
            self._require_same(name, version, fingerprint)
            return self.version(name, version)
        with explained(f"{name} {version}"), locked(self._yard.lock):
            if (folder / version).exists():
                self._require_same(name, version, fingerprint)
            else:
                folder.mkdir(exist_ok=True)
                sync_folder(self.root)
                bundle.rename(folder / version)
                sync_folder(folder)
        return self.version(name, version)

    def _mend(
        self, name: str, version: str, fingerprint: str, paths: Sequence[str], bundle: Path | None
    ) -> StoredVersion:
        """Put files that are right in the places of damaged ones, one after the other."""
        assert bundle is not None
        with explained(f"{name} {version}"), locked(self._yard.lock):
            folder = self._require_same(name, version, fingerprint)
            for path in paths:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (bundle / path).replace(folder / path)
            for each, _, _ in os.walk(folder):
                sync_folder(Path(each))
        return self.version(name, version)

    def _require_same(self, name: str, version: str, fingerprint: str) -> Path:
        """The folder of a version, which must be this bundle; StoreError if it is another."""
        folder = self._require(name, version)
        try:
            found = shelved(folder, f"{name}/{version}").fingerprint
        except BundleError as error:
            with explained(f"{name} {version}"):
                self._require_no_stranger(name, version)
            raise StoreError(
                f"{name} {version} is there already, and no bundle that can be read ({error}); "
                "remove it first, or push this one as another version"
            ) from error
        if found != fingerprint:
            raise StoreError(
                f"{name} {version} is another bundle already ({found[:SHORT]}), and a version "
                f"never changes; push this one ({fingerprint[:SHORT]}) as another version"
            )
        return folder

    def _require_no_stranger(self, name: str, version: str) -> None:
        """StoreError if files would go with a version that are none of its own."""
        found = stranger(self.root / name / version, f"{name}/{version}")
        if found is not None:
            raise StoreError(
                f"{name} {version} is no version, or not only that: it holds {found}, which is "
                f"none of a version's files, and stays; {LOOK}; if it is, take out what does not "
                f"belong there, or delete the folder {name}/{version} yourself"
            )

    def _one_before(self, name: str) -> Pointer:
        """The pointer, without versions that are gone; StoreError if there is no way back."""
        pointer, here = read_pointer(self.root / name), names_in(self.root / name)
        if not here:
            raise UnknownVersionError(f"there is no model {name} in the store; {self._has(name)}")
        for version in {*pointer.previous} - {*here}:
            pointer = pointer.without(version)
        if not pointer.previous:
            now = f"{pointer.active} is active and none was" if pointer.active else "none is or was"
            raise StoreError(
                f"{name}: there is no version to go back to: {now} before; activate the one that "
                f"you want with `isthmus activate {name} VERSION` ({self._has(name)})"
            )
        return pointer

    def _stays(self, name: str, version: str) -> str:
        """Why the active version is not removed, and what helps."""
        others = [each for each in names_in(self.root / name) if each != version]
        if others:
            return (
                f"{name} {version} is the active version and stays; activate another one first "
                f"({self._has(name)})"
            )
        return (
            f"{name} {version} is the active version and stays; it is the only one of {name}: push "
            f"and activate another first, or, to give the model up, end the service and delete the "
            f"folder {name} of the store"
        )


def _write_manifest(bundle: Path, manifest: bytes, signature: bytes | None) -> None:
    write_whole(bundle / MANIFEST_NAME, manifest)
    if signature is None:
        (bundle / SIGNATURE_NAME).unlink(missing_ok=True)
    else:
        write_whole(bundle / SIGNATURE_NAME, signature)


def _signature_in(folder: Path) -> bytes | None:
    """None also for one that cannot be read: another takes its place."""
    try:
        return read_signature(folder)
    except BundleError:
        return None


def _remove_if_empty(folder: Path) -> None:
    """A model without versions is none; only one that never was active comes to that."""
    if not names_in(folder):
        (folder / POINTER_NAME).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
