"""The store's disk: what it does, and its failures as errors of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.durable_files import (
    append,
    free_bytes,
    held_lock,
    is_full,
    locked,
    sync_file,
    sync_folder,
    write_whole,
)
from isthmus_cloud.store.errors import StoreError, StoreFullError

__all__ = [
    "append",
    "explained",
    "free_bytes",
    "held_lock",
    "locked",
    "sync_file",
    "sync_folder",
    "write_whole",
    "written_ns",
]


@contextmanager
def explained(what: str) -> Iterator[None]:
    """A failure of the disk becomes a StoreError that says `what` could not be done."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StoreFullError(
                f"{what}: no room on the store's disk ({error.strerror}); "
                "remove versions that are not used, or give it a larger disk"
            ) from error
        raise StoreError(
            f"{what}: the store's disk does not do it ({error.strerror}); {_way_out(error)}"
        ) from error


def written_ns(path: Path) -> int:
    """When a file was last written; 0 for one that is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _way_out(error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            "let the user that works on the store (that of the service, or the one who says "
            "--store) read and write its folder"
        )
    if error.errno == errno.EROFS:
        return "it is read-only here: say it to the service that may write there"
    return "see that the store's folder is there and its disk is sound"
