"""The store's hidden folders: where pushes gather, and where what is thrown away goes first.

Both are below the store's root, on the same file system, so that moving a folder there is one step.
"""

import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus_cloud.store.disk import held_lock, locked, sync_folder
from isthmus_cloud.store.errors import StoreError
from isthmus_cloud.store.names import is_fingerprint

__all__ = ["Arriving", "Backyard"]

_logger = logging.getLogger(__name__)

_LOCK = "lock"
_BUNDLE = "bundle"
_HIDDEN_BYTES = 8
_HIDDEN = re.compile(rf"[0-9a-f]{{{2 * _HIDDEN_BYTES}}}")


class Arriving:
    """The folder of one push. Nobody else has it until `leave` or `drop`; the first of them counts.

    `lock` is the handle of its locked file.
    """

    def __init__(self, folder: Path, lock: int, yard: "Backyard") -> None:
        self.bundle = folder / _BUNDLE  # what will be the version's folder
        self._folder = folder
        self._lock: int | None = lock
        self._yard = yard

    def leave(self) -> None:
        """Let go of it; what has arrived stays."""
        with self._letting_go() as is_first:
            if is_first:
                os.utime(self._folder / _LOCK)  # it is old from now on, not since it was made

    def drop(self) -> None:
        """Nothing of it is left."""
        with self._letting_go() as is_first:
            if is_first:
                self._yard.throw_away(self._folder)

    @contextmanager
    def _letting_go(self) -> Iterator[bool]:
        lock, self._lock = self._lock, None
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)


class Backyard:
    """The hidden folders below `root`, made if need be. OSErrors are the caller's to explain."""

    def __init__(self, root: Path) -> None:
        self.lock = root / ".lock"  # whoever moves a name in the store has it
        self._incoming = root / ".incoming"
        self._trash = root / ".trash"

    def prepare(self) -> None:
        """Make the folders; what a crash left in the trash goes."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._trash.mkdir(exist_ok=True)
        for each in self._trash.iterdir():
            if _HIDDEN.fullmatch(each.name):  # the folder may be one that others use, too
                self.shred(each)  # somebody else may be at it, too

    def arriving(self, fingerprint: str, title: str) -> Arriving:
        """The folder for a bundle, with what has arrived before; StoreError if it is in use."""
        folder = self._incoming / fingerprint
        with locked(self.lock):  # or somebody could throw it away before it is ours
            (folder / _BUNDLE).mkdir(parents=True, exist_ok=True)
            handle = held_lock(folder / _LOCK)
        if handle is None:
            raise StoreError(
                f"{title}: this bundle is being pushed by somebody else right now, or by a "
                "connection that broke a moment ago; try again later"
            )
        return Arriving(folder, handle, self)

    def sweep(self, older_than_s: float) -> None:
        """Throw away pushes that nobody has gone on with for so long."""
        for folder in filter(_is_push, self._incoming.iterdir()):
            with locked(self.lock):  # somebody else may sweep, or begin with it, just now
                is_old = folder.is_dir() and time.time() - _touched_s(folder) > older_than_s
                handle = held_lock(folder / _LOCK) if is_old else None
            if handle is not None:
                Arriving(folder, handle, self).drop()

    def throw_away(self, folder: Path) -> None:
        """A push goes: out of sight in one step, then file by file."""
        hidden = self._place()
        with locked(self.lock):
            try:
                folder.rename(hidden)
            except OSError as error:  # a disk that is full may not even take another name
                _logger.warning("%s is removed where it is (%s)", folder.name, error.strerror)
                shutil.rmtree(folder, ignore_errors=True)
        self.shred(hidden)

    def hide(self, folder: Path) -> Path:
        """The step out of sight, for whoever has the lock; `shred` what is returned without it."""
        hidden = self._place()
        folder.rename(hidden)
        sync_folder(folder.parent)
        return hidden

    def shred(self, hidden: Path) -> None:
        """Give its room back. What cannot be removed now goes with the next `prepare`."""
        if hidden.is_symlink():  # a version that somebody linked to: what it leads to stays
            hidden.unlink(missing_ok=True)
        else:
            shutil.rmtree(hidden, ignore_errors=True)

    def _place(self) -> Path:
        return self._trash / secrets.token_hex(_HIDDEN_BYTES)


def _is_push(folder: Path) -> bool:
    return is_fingerprint(folder.name)


def _touched_s(folder: Path) -> float:
    """When somebody last let go of a push; of one that a crash ended early, when it was begun."""
    marker = folder / _LOCK
    return (marker if marker.exists() else folder).stat().st_mtime
