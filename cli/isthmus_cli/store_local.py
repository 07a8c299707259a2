"""A store that is a folder of this machine. A service on it notices on SIGHUP or at its start."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus import ConfigError
from isthmus.manifest import MANIFEST_NAME
from isthmus_cli.store_places import Moved, Outgoing, Progress, Pushed, Row
from isthmus_cloud.store import Push, Store, StoredVersion, StoreError, stays_active

PIECE_BYTES = 1024 * 1024

__all__ = ["LocalStore"]


class LocalStore:
    """The store below `root`; only a push makes it."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)

    def versions(self, name: str | None, *, verify: bool) -> list[Row]:
        """See `StorePlace.versions`."""
        with self._located():
            self._require()
            if name is None:
                return [_row(each) for each in self._store.versions_of_all(verify=verify)]
            return [_row(each) for each in self._store.versions(name, verify=verify)]

    def push(self, bundle: Outgoing, name: str, version: str, progress: Progress) -> Pushed:
        """See `StorePlace.push`."""
        self._refuse_a_bundle()
        with self._located():
            push = self._store.begin_push(name, version, bundle.manifest, bundle.signature)
            try:
                sent_bytes = _copy(bundle, push, progress)
                stored = push.finish()
            finally:
                push.close()
        row = _row(stored)
        return Pushed(
            name=row.name,
            version=row.version,
            fingerprint=row.fingerprint,
            size_bytes=row.size_bytes,
            sent_bytes=sent_bytes,
            signed=row.signed,
            was_there=push.was_there,
            state=row.state,
            way_out=row.way_out,
        )

    def activate(self, name: str, version: str) -> Moved:
        """See `StorePlace.activate`; every file is compared with the manifest first."""
        with self._located():
            self._require()
            self._store.version(name, version)  # or there is nothing that could be active
            with stays_active(name, version, self._store.active_or_none(name)):
                self._store.check(name, version)
            previous = self._store.set_active(name, version)
        return Moved(name=name, version=version, previous=previous)

    def rollback(self, name: str) -> Moved:
        """See `StorePlace.rollback`."""
        with self._located():
            self._require()
            previous, target = self._store.active(name), self._store.rollback_target(name)
            with stays_active(name, target, previous):
                self._store.check(name, target)
            version = self._store.rollback(name, target)
        return Moved(name=name, version=version, previous=previous)

    def remove(self, name: str, version: str) -> None:
        """See `StorePlace.remove`."""
        with self._located():
            self._require()
            self._store.remove(name, version)

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Errors of the store say which store; it does not, as it may answer strangers, too."""
        try:
            yield
        except StoreError as error:
            raise StoreError(f"{self._store.root}: {error}") from error
        except OSError as error:
            raise ConfigError(
                f"{self._store.root}: {error.strerror}; name the directory of a store that this "
                "user may read and write"
            ) from error

    def _require(self) -> None:
        self._refuse_a_bundle()
        if not self._store.root.is_dir():
            raise ConfigError(
                f"{self._store.root}: no store here; `isthmus push BUNDLE --store DIR` makes one"
            )

    def _refuse_a_bundle(self) -> None:
        root = self._store.root
        with self._located():
            is_bundle, is_file = (root / MANIFEST_NAME).is_file(), root.is_file()
        if is_bundle or is_file:
            raise ConfigError(
                f"{root}: is a {'bundle' if is_bundle else 'file'}, no store; name the directory "
                "that holds NAME/VERSION, or a new one for `isthmus push`"
            )


def _copy(bundle: Outgoing, push: Push, progress: Progress) -> int:
    """Write what lacks; how many bytes that were."""
    lacking_bytes = sum(each.size_bytes - each.offset for each in push.lacks)
    whole, sent_bytes = max(bundle.size_bytes, 1), 0
    for lacking in push.lacks:
        for offset, data in bundle.pieces(lacking.path, lacking.offset, PIECE_BYTES):
            progress((whole - lacking_bytes + sent_bytes) / whole, lacking.path)
            push.write(lacking.path, offset, data)
            sent_bytes += len(data)
    progress(1.0, "verified")
    return sent_bytes


def _row(stored: StoredVersion) -> Row:
    return Row(
        name=stored.name,
        version=stored.version,
        fingerprint=stored.fingerprint,
        size_bytes=stored.size_bytes,
        signed=stored.signed,
        active=stored.active,
        loaded=None,
        streams=None,
        fault=stored.fault or "",
        verified=stored.verified,
        new_devices=None,
    )
