"""The store's disk: what it does, and its failures as errors of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus.durable_files import (
    append,
    free_bytes,
    held_lock,
    locked,
    sync_file,
    sync_folder,
    write_whole,
)
from isthmus_cloud.store.errors import StoreError, StoreFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

__all__ = [
    "append",
    "explained",
    "free_bytes",
    "held_lock",
    "locked",
    "sync_file",
    "sync_folder",
    "write_whole",
]


@contextmanager
def explained(what: str) -> Iterator[None]:
    """A failure of the disk becomes a StoreError that says `what` could not be done."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(
                f"{what}: no room on the store's disk ({error.strerror}); "
                "remove versions that are not used, or give it a larger disk"
            ) from error
        raise StoreError(
            f"{what}: the store's disk does not do it ({error.strerror}); "
            "see that the service may write there"
        ) from error
