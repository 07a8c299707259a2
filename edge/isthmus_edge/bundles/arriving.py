"""A bundle on its way to a device: files grow in a hidden folder until each is right.

What a break leaves is gone on with; its sha256 counts from the first byte, so that what a loss of
power has made of the beginning is found at the end, and fetched once more.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from isthmus import BundleError, FileEntry
from isthmus.durable_files import append, free_bytes, sync_folder, write_whole
from isthmus.manifest import MANIFEST_NAME
from isthmus.signing import SIGNATURE_NAME
from isthmus.sizes import size_text
from isthmus_edge.bundles.errors import ShelfFullError
from isthmus_edge.bundles.offer import Half

SPARE_BYTES = 64 * 1024**2  # of the disk, for everybody else
_CHUNK_BYTES = 256 * 1024

__all__ = ["SPARE_BYTES", "Arriving", "Growing"]


class Growing:
    """One file. `have_bytes` are there; `came_before` says whether another fetch brought some."""

    def __init__(self, file: FileIO, entry: FileEntry) -> None:
        self._file = file
        self._entry = entry
        self._digest = hashlib.sha256()
        self.have_bytes = 0
        self._read()
        self.came_before = self.have_bytes > 0

    @property
    def lacks_bytes(self) -> int:
        """How much is to come."""
        return self._entry.size_bytes - self.have_bytes

    @property
    def is_right(self) -> bool:
        """Whether all is there, and is what the manifest says."""
        return not self.lacks_bytes and self._digest.hexdigest() == self._entry.sha256

    def add(self, data: bytes) -> None:
        """The next piece. BundleError for none, and for more than the manifest says."""
        if not 0 < len(data) <= self.lacks_bytes:
            raise BundleError(
                f"{self._entry.path}: the service sends {len(data)} bytes where "
                f"{self.lacks_bytes} lack; nothing more of it is taken"
            )
        append(self._file, data)
        self._digest.update(data)
        self.have_bytes += len(data)

    def begin_anew(self) -> None:
        """Nothing of it is there."""
        self._file.truncate(0)
        self._file.seek(0)
        self._digest = hashlib.sha256()
        self.have_bytes, self.came_before = 0, False

    def finish(self) -> None:
        """It outlives a loss of power from now on; BundleError if it is not right: then it goes."""
        if not self.is_right:
            self.begin_anew()
            raise BundleError(
                f"{self._entry.path}: damaged (sha256 is not what the manifest says); see that the "
                "service's copy is whole, or push the bundle again"
            )
        os.fsync(self._file.fileno())

    def _read(self) -> None:
        """What is there; all goes that cannot be a beginning."""
        if os.fstat(self._file.fileno()).st_size > self._entry.size_bytes:
            self._file.truncate(0)
        while data := self._file.read(_CHUNK_BYTES):
            self._digest.update(data)
            self.have_bytes += len(data)


class Arriving:
    """The folder of one bundle while it comes; everything may raise OSError, like the disk."""

    def __init__(self, folder: Path, half: Half) -> None:
        self.folder = folder
        self._half = half

    def prepare(self) -> None:
        """Make the folders, unless there is no room for what lacks: then ShelfFullError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lacks_bytes = self._half.size_bytes - self.have_bytes
        room_bytes = free_bytes(self.folder) - SPARE_BYTES
        if lacks_bytes > room_bytes:
            raise ShelfFullError(
                f"{self.folder.parent.parent}: {size_text(lacks_bytes)} are to come and "
                f"{size_text(max(room_bytes, 0))} may be taken; give this disk more room"
            )
        for entry in self._half.entries:
            (self.folder / entry.path).parent.mkdir(parents=True, exist_ok=True)

    @property
    def have_bytes(self) -> int:
        """What has come, by the sizes of the files: not compared yet."""
        return sum(
            min(_size(self.folder / entry.path), entry.size_bytes) for entry in self._half.entries
        )

    @contextmanager
    def growing(self, entry: FileEntry) -> Iterator[Growing]:
        """One of its files, with what is there of it."""
        handle = os.open(
            self.folder / entry.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
        )
        with FileIO(handle, "r+") as file:
            yield Growing(file, entry)

    def publish(self, place: Path) -> None:
        """All files are right: put the bundle where others find it, in one step."""
        if self._half.signature is not None:
            write_whole(self.folder / SIGNATURE_NAME, self._half.signature)
        write_whole(self.folder / MANIFEST_NAME, self._half.manifest)
        for folder, _, _ in os.walk(self.folder):
            sync_folder(Path(folder))
        self.folder.rename(place)
        sync_folder(place.parent)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
