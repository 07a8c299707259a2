"""Writing so that a crash leaves the old or the new, and one writer at a time.

Used by both ends of a bundle's way: the service's store, and the device's shelf. OSErrors are the
caller's to explain.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}  # as on FAT, whose second name is a rename

__all__ = [
    "append",
    "free_bytes",
    "held_lock",
    "is_full",
    "locked",
    "sync_file",
    "sync_folder",
    "way_out",
    "write_new",
    "write_whole",
]


def is_full(error: OSError) -> bool:
    """Whether there was no room: on the disk, in a quota, or in what one file may have."""
    return error.errno in _FULL


def way_out(error: OSError) -> str:
    """What helps where a file could not be written, for the end of a message."""
    if is_full(error):
        return "make room there, or choose another disk"
    if error.errno in _FORBIDDEN:
        return "choose a folder that this user may write to, or let this user write there"
    if error.errno == errno.EROFS:
        return "it is mounted read-only; choose another folder, or mount it for writing"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "choose a folder that is there, or can be made"
    return "see that the disk is sound (the system's log says more), or choose another"


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

    One writer at a time: what a crash leaves beside it is removed by the next.
    """
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.unlink(missing_ok=True)  # never through a link that somebody put there
    try:
        _write_synced(unfinished, data, 0o666)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Make a file that was not there, as a whole or not at all, with `mode` from its first byte on.

    FileExistsError if there is something by this name, be it a link that leads nowhere.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_synced(unfinished, data, mode)
        _give_name(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    """Create a file that is on the disk when this returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _give_name(unfinished: Path, path: Path) -> None:
    """In one step, and never in the place of another file."""
    try:
        os.link(unfinished, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        unfinished.rename(path)


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
