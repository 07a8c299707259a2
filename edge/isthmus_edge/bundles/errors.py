"""What can be wrong with a shelf: where, and what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus import IsthmusError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

__all__ = ["ShelfBusyError", "ShelfError", "ShelfFullError", "explained"]


class ShelfError(IsthmusError):
    """The device's disk does not do what a shelf needs, or somebody else is at it just now."""


class ShelfBusyError(ShelfError):
    """Somebody else fetches to this shelf."""


class ShelfFullError(ShelfError):
    """There is no room for another bundle."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """A failure of the disk becomes a ShelfError that says `what` could not be done."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ShelfFullError(
                f"{what}: no room on this disk ({error.strerror}); give it some, the next fetch "
                "begins anew"
            ) from error
        raise ShelfError(
            f"{what}: this disk does not do it ({error.strerror}); see that this user may write "
            "there"
        ) from error
