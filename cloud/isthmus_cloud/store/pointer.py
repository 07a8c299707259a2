"""Which version of a model is active: a tiny file that only ever changes as a whole."""

import logging
from pathlib import Path

import msgspec

from isthmus_cloud.store.disk import write_whole
from isthmus_cloud.store.errors import StoreError
from isthmus_cloud.store.names import is_name

POINTER_NAME = ".active.json"  # hidden: no version can have this name
MAX_POINTER_BYTES = 64 * 1024
MOST_REMEMBERED = 32

__all__ = ["POINTER_NAME", "Pointer", "read_pointer", "repaired_pointer", "write_pointer"]

_logger = logging.getLogger(__name__)


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The active version of a model ("" for none), and those that were before it, oldest first."""

    active: str = ""
    previous: tuple[str, ...] = ()

    def moved_to(self, version: str) -> "Pointer":
        """`version` is the active one; what was before is remembered."""
        if version == self.active:
            return self
        before = (*self.previous, self.active) if self.active else self.previous
        return Pointer(version, before[-MOST_REMEMBERED:])

    def rolled_back(self) -> "Pointer":
        """The one before is the active one, and what was active is forgotten.

        Only where there is one before.
        """
        return Pointer(self.previous[-1], self.previous[:-1])

    def without(self, version: str) -> "Pointer":
        """Nobody can go back to `version`."""
        kept: list[str] = []
        for each in self.previous:
            if each != version and kept[-1:] != [each]:
                kept.append(each)
        if kept and kept[-1] == self.active:
            kept.pop()
        return Pointer(self.active, tuple(kept))


def read_pointer(folder: Path) -> Pointer:
    """The pointer in a model's folder; StoreError if it is damaged."""
    try:
        data = (folder / POINTER_NAME).read_bytes()[: MAX_POINTER_BYTES + 1]
    except FileNotFoundError:
        return Pointer()
    except OSError as error:
        raise _damaged(folder.name, str(error.strerror)) from error
    try:
        pointer = msgspec.json.decode(data, type=Pointer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(folder.name, str(error)) from error
    if not all(map(is_name, (*pointer.previous, pointer.active or "none"))):
        raise _damaged(folder.name, "it names what can be no version")
    return pointer


def repaired_pointer(folder: Path) -> Pointer:
    """The same; an empty one in the place of a damaged one, which is logged."""
    try:
        return read_pointer(folder)
    except StoreError as error:
        _logger.warning("%s; until then none is", error)
        return Pointer()


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Replace it; under the store's lock."""
    write_whole(folder / POINTER_NAME, msgspec.json.encode(pointer))


def _damaged(name: str, why: str) -> StoreError:
    return StoreError(
        f"which version of {name} is active cannot be read ({why}); say it again with "
        "`isthmus activate NAME VERSION`"
    )
