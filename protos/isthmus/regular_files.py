"""Files that somebody else names: only regular ones are opened, so that nobody waits for them."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["irregular", "open_regular"]

_KINDS = {
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
}


def irregular(mode: int) -> str | None:
    """What a file of this `st_mode` is; None for a regular one."""
    if stat.S_ISREG(mode):
        return None
    return f"{_KINDS.get(stat.S_IFMT(mode), 'something else')} and no regular file"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never waits, as opening a FIFO would for its writer.

    Raises OSError (EINVAL, what it is as `strerror`) for all else.
    """
    _check(path.stat().st_mode, path)  # looked at first: some devices do something when opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int, path: Path) -> None:
    if (found := irregular(mode)) is not None:
        raise OSError(errno.EINVAL, f"it is {found}", str(path))
