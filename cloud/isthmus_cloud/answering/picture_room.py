"""Memory for pictures that come as files and are decoded to whatever size they have.

A picture of a device has the size that the plan says; a client of the Open Inference Protocol sends
photographs. Small files make great pictures: so these are decoded only as many at a time as fit.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus import PictureError

__all__ = ["PictureRoom"]


class PictureRoom:
    """Used by the threads that decode; who finds no room waits until others are done."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """So many bytes are this thread's; PictureError where they would never fit."""
        if count > self._limit_bytes:
            raise PictureError(
                f"the picture takes {count} bytes to decode, and {self._limit_bytes} are here for "
                "that; scale the picture down first"
            )
        with self._changed:
            while self._taken_bytes + count > self._limit_bytes:
                self._changed.wait()
            self._taken_bytes += count
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= count
                self._changed.notify_all()
