"""A bundle on its way into the store: what has arrived stays, and becomes a version as a whole.

It gathers in a hidden folder named by its fingerprint, so that whoever pushes the same bundle again
goes on where the last push broke off. Files grow in order, piece by piece; one that is complete is
compared with the manifest at once, and forgotten if it is another. When all are there, the folder
is renamed to its place in one step: no reader ever sees a part of a version.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from isthmus import BundleError, FileEntry, WireError, sha256_of
from isthmus.sizes import size_text
from isthmus_cloud.store.disk import append, explained, free_bytes, sync_file, sync_folder
from isthmus_cloud.store.errors import StoreError, StoreFullError
from isthmus_cloud.store.incoming import Arriving
from isthmus_cloud.store.shelf import StoredVersion

__all__ = ["Lacking", "Push"]

Publish = Callable[[Path | None], StoredVersion]


@dataclass(frozen=True, slots=True)
class Lacking:
    """A file that is not all there: `offset` of `size_bytes` have arrived."""

    path: str
    offset: int
    size_bytes: int


class Push:
    """Made by `Store.begin_push`; every method may take as long as the disk does.

    One call at a time, from any thread. `was_there` says that this bundle has its place already, so
    that only `finish` is left. `spare_bytes` of the disk stay free, whoever else writes to it
    meanwhile. A push that is closed can be begun again.
    """

    def __init__(
        self,
        title: str,
        entries: Mapping[str, FileEntry],
        arriving: Arriving | None,
        publish: Publish,
        spare_bytes: int = 0,
    ) -> None:
        self.was_there = arriving is None
        self._title = title
        self._entries = entries
        self._arriving = arriving
        self._publish = publish
        self._spare_bytes = spare_bytes
        self._open: tuple[str, FileIO] | None = None
        self._offsets: dict[str, int] = {}  # of the files that are not complete
        self._turn = threading.Lock()
        if arriving is not None:
            with self._working():
                self._offsets = self._arrived(arriving.bundle)

    @property
    def lacks(self) -> tuple[Lacking, ...]:
        """Files that are not complete, in the manifest's order."""
        return tuple(
            Lacking(path, offset, self._entries[path].size_bytes)
            for path, offset in self._offsets.items()
        )

    def write(self, path: str, offset: int, data: bytes) -> None:
        """The next piece of a file.

        WireError if it is not that; BundleError if the file is complete now and is not what the
        manifest says: then it has to be sent anew, in another push. StoreFullError if there is no
        room: then nothing of this push is left.
        """
        with self._turn, self._working() as bundle:
            have = self._expected(path, offset, data)
            self._require_room(bundle, len(data))
            append(self._file(bundle, path), data)
            self._offsets[path] = have + len(data)
            if have + len(data) == self._entries[path].size_bytes:
                self._complete(bundle / path, path)

    def finish(self) -> StoredVersion:
        """Put it in its place; WireError if something lacks."""
        with self._turn:
            if self.was_there:
                return self._publish(None)
            with self._working() as bundle:
                self._require_all()
                for folder, _, _ in os.walk(bundle):
                    sync_folder(Path(folder))
                stored = self._publish(bundle)
                self._drop()
                return stored

    def close(self) -> None:
        """Leave what has arrived for another push, unless it was finished; idempotent."""
        with self._turn, explained(self._title):
            self._let_go()

    @contextmanager
    def _working(self) -> Iterator[Path]:
        """The folder to work in. When the disk fails the push is over; a full one keeps nothing."""
        if self._arriving is None:
            raise StoreError(f"{self._title}: this push is over; begin another one")
        try:
            with explained(self._title):
                yield self._arriving.bundle
        except StoreFullError:
            with explained(self._title):
                self._drop()
            raise
        except StoreError:
            with explained(self._title):
                self._let_go()
            raise

    def _arrived(self, bundle: Path) -> dict[str, int]:
        """How much of each incomplete file is there; what cannot be right is taken away."""
        offsets: dict[str, int] = {}
        for path, entry in self._entries.items():
            target = bundle / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            have = target.stat().st_size
            if have < entry.size_bytes:
                offsets[path] = have
            elif have > entry.size_bytes or sha256_of(target) != entry.sha256:
                os.truncate(target, 0)
                offsets[path] = 0
            else:
                sync_file(target)  # the crash may have come between its last byte and this
        return offsets

    def _expected(self, path: str, offset: int, data: bytes) -> int:
        """How much of the file is there; WireError unless the piece begins just behind it."""
        have = self._offsets.get(path)
        if have is None:
            raise WireError(f"a piece of {path[:80]!r} came, which was not asked for")
        size = self._entries[path].size_bytes
        if offset != have:
            raise WireError(f"{path}: a piece at {offset} came, the next one begins at {have}")
        if not data or have + len(data) > size:
            raise WireError(
                f"{path}: a piece of {len(data)} bytes at {have} does not fit into the {size} that "
                "the manifest says"
            )
        return have

    def _require_room(self, bundle: Path, size_bytes: int) -> None:
        free = free_bytes(bundle)
        if size_bytes > free - self._spare_bytes:
            raise StoreFullError(
                f"{self._title}: no room on the store's disk any more: others have filled it, and "
                f"of the {size_text(free)} that are free {size_text(self._spare_bytes)} stay so; "
                "remove versions that are not used, or give it a larger disk"
            )

    def _require_all(self) -> None:
        if self._offsets:
            raise WireError(
                f"{self._title}: {len(self._offsets)} files are not complete, the first is "
                f"{next(iter(self._offsets))}; push it again to go on"
            )

    def _file(self, bundle: Path, path: str) -> FileIO:
        """The file to append to; one is open at a time."""
        if self._open is None or self._open[0] != path:
            self._shut()
            self._open = (path, FileIO(bundle / path, "a"))
        return self._open[1]

    def _complete(self, target: Path, path: str) -> None:
        self._shut()
        if sha256_of(target) != self._entries[path].sha256:
            os.truncate(target, 0)
            self._offsets[path] = 0
            raise BundleError(
                f"{path}: what arrived is not what the manifest says (another sha256); see that "
                "the bundle is whole (`isthmus inspect`), and push it again"
            )
        sync_file(target)
        del self._offsets[path]

    def _shut(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _let_go(self) -> None:
        self._shut()
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.leave()

    def _drop(self) -> None:
        self._shut()
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.drop()
