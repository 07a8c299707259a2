"""A store that is a folder of this machine. A service that runs on it notices when it starts."""

from pathlib import Path

from isthmus import ConfigError
from isthmus_cli.store_places import Moved, Outgoing, Progress, Pushed, Row
from isthmus_cloud.store import Push, Store, StoredVersion

PIECE_BYTES = 1024 * 1024

__all__ = ["LocalStore"]


class LocalStore:
    """The store below `root`; only a push makes it."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)

    def versions(self, name: str | None) -> list[Row]:
        """See `StorePlace.versions`."""
        self._require()
        names = self._store.models() if name is None else (name,)
        return [_row(each) for model in names for each in self._store.versions(model)]

    def push(self, bundle: Outgoing, name: str, version: str, progress: Progress) -> Pushed:
        """See `StorePlace.push`."""
        push = self._store.begin_push(name, version, bundle.manifest, bundle.signature)
        try:
            sent_bytes = _copy(bundle, push, progress)
            stored = push.finish()
        finally:
            push.close()
        return Pushed(
            name=stored.name,
            version=stored.version,
            fingerprint=stored.fingerprint,
            size_bytes=stored.size_bytes,
            sent_bytes=sent_bytes,
            signed=stored.signed,
        )

    def activate(self, name: str, version: str) -> Moved:
        """See `StorePlace.activate`; every file is compared with the manifest first."""
        self._require()
        self._store.check(name, version)
        previous = self._store.set_active(name, version)
        return Moved(name=name, version=version, previous=previous)

    def rollback(self, name: str) -> Moved:
        """See `StorePlace.rollback`."""
        self._require()
        previous, target = self._store.active(name), self._store.rollback_target(name)
        self._store.check(name, target)
        return Moved(name=name, version=self._store.rollback(name, target), previous=previous)

    def remove(self, name: str, version: str) -> None:
        """See `StorePlace.remove`."""
        self._require()
        self._store.remove(name, version)

    def _require(self) -> None:
        if not self._store.root.is_dir():
            raise ConfigError(
                f"{self._store.root}: no store here; `isthmus push BUNDLE --store DIR` makes one"
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
    )
