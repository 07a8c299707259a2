"""Writing so that a crash leaves the old or the new, and one writer at a time.

Used by both ends of a bundle's way: the service's store, and the device's shelf. OSErrors are the
caller's to explain.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

__all__ = [
    "append",
    "free_bytes",
    "held_lock",
    "locked",
    "sync_file",
    "sync_folder",
    "write_whole",
]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all threads and processes that lock this file; waits for the others.

    Only for the moment that moving a name takes.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def held_lock(path: Path) -> int | None:
    """Lock a file for as long as the returned handle is open; None if somebody else holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


def write_whole(path: Path, data: bytes) -> None:
    """Make `path` hold these bytes: a reader, and whoever comes after a crash, sees all or none.

    One writer at a time: what a crash leaves beside it is written over by the next.
    """
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def free_bytes(path: Path) -> int:
    """Room on the disk of `path` for whoever is not root."""
    return shutil.disk_usage(path).free


def append(file: FileIO, data: bytes) -> None:
    """Write all of it at the end of an unbuffered file: its size always says what has arrived."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def sync_file(path: Path) -> None:
    """Its content outlives a loss of power from here on."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """The names in it outlive a loss of power from here on."""
    sync_file(path)
