"""What a shelf remembers of its bundles: a file beside them, replaced as a whole."""

import logging
from pathlib import Path

import msgspec

from isthmus.bundle_names import is_fingerprint
from isthmus.durable_files import write_whole

STATE_NAME = ".shelf.json"
MAX_STATE_BYTES = 64 * 1024

log = logging.getLogger("isthmus.edge")

__all__ = ["STATE_NAME", "Newcomer", "ShelfState", "read_state", "write_state"]


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle that came last and has not proved itself.

    `refusal` says why it may not be used, "" while nothing speaks against it; `at_s` is when that
    was found, since the epoch.
    """

    fingerprint: str
    refusal: str = ""
    at_s: float = 0.0


class ShelfState(msgspec.Struct, frozen=True, kw_only=True):
    """`good` are the fingerprints that have proved themselves, the last one first."""

    good: tuple[str, ...] = ()
    newcomer: Newcomer | None = None


def read_state(folder: Path) -> ShelfState:
    """That of a shelf's folder. Where there is none, whole bundles count by their age."""
    path = folder / STATE_NAME
    try:
        with path.open("rb") as file:
            state = msgspec.json.decode(file.read(MAX_STATE_BYTES), type=ShelfState)
    except FileNotFoundError:
        return _found(folder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: cannot be read (%s); bundles count by their age", path, error)
        return _found(folder)
    newcomer = state.newcomer
    if newcomer is not None and not is_fingerprint(newcomer.fingerprint):
        newcomer = None
    return ShelfState(good=tuple(filter(is_fingerprint, state.good)), newcomer=newcomer)


def write_state(folder: Path, state: ShelfState) -> None:
    """Replace it; OSErrors are the caller's to explain."""
    write_whole(folder / STATE_NAME, msgspec.json.encode(state))


def _found(folder: Path) -> ShelfState:
    try:
        ages = {
            each.name: each.stat().st_mtime
            for each in folder.iterdir()
            if is_fingerprint(each.name)
        }
    except OSError:
        return ShelfState()
    return ShelfState(good=tuple(sorted(ages, key=lambda name: ages[name], reverse=True)))
