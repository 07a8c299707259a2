"""Which version of a model is active: a tiny file that only ever changes as a whole."""

import logging
from functools import lru_cache
from pathlib import Path

import msgspec

from isthmus.durable_files import is_full
from isthmus_cloud.store.disk import write_whole, written_ns
from isthmus_cloud.store.errors import StoreError
from isthmus_cloud.store.names import is_name

POINTER_NAME = ".active.json"  # hidden: no version can have this name
MAX_POINTER_BYTES = 64 * 1024
MOST_REMEMBERED = 32

__all__ = [
    "POINTER_NAME",
    "Pointer",
    "forget",
    "read_pointer",
    "repaired_pointer",
    "write_pointer",
]

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
    """The same; an empty one in the place of a damaged one, which is logged, once."""
    try:
        return read_pointer(folder)
    except StoreError as error:
        _tell_once(folder, written_ns(folder / POINTER_NAME), str(error))
        return Pointer()


@lru_cache(maxsize=64)  # models
def _tell_once(_folder: Path, _written_ns: int, text: str) -> None:
    """It is read again and again, as for each version in a list."""
    _logger.warning("%s; until then the store calls none so", text)


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Replace it; under the store's lock."""
    write_whole(folder / POINTER_NAME, msgspec.json.encode(pointer))


def forget(folder: Path, version: str) -> bool:
    """Nobody goes back to a version that is removed; under the store's lock.

    False where the disk is full: that must not keep anybody from making room. One who would go back
    passes over versions that are gone.
    """
    pointer = read_pointer(folder)
    if version in pointer.previous:
        try:
            write_pointer(folder, pointer.without(version))
        except OSError as error:
            if not is_full(error):
                raise
            _logger.info("%s %s is still remembered: %s", folder.name, version, error.strerror)
            return False
    return True


def _damaged(name: str, why: str) -> StoreError:
    return StoreError(
        f"which version of {name} is active cannot be read ({why}); say it again with "
        "`isthmus activate NAME VERSION`"
    )
