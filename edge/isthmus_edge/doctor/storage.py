"""Disks: whether the folders that Isthmus uses can be written, and how much room is left."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isthmus_edge.doctor.finding import Figure, Finding, fail, note, warn
from isthmus_edge.doctor.memory import MIB

LEAST_BYTES = 16 * MIB
LITTLE_BYTES = 256 * MIB
_TRIED_BYTES = 4096

__all__ = ["Disk", "Folder", "SystemDisk", "look_at_storage"]


@dataclass(frozen=True, slots=True)
class Folder:
    """One that is used, and what for. A bundle is only read: there a read-only disk is right."""

    path: Path
    what: str
    is_written: bool = True


class Disk(Protocol):
    """How disks are asked."""

    def free_bytes(self, folder: Path) -> int:
        """What this user may still write there; OSError if there is no such folder."""
        ...

    def may_write(self, folder: Path) -> bool:
        """Whether this user has the right to; nothing is written."""
        ...

    def try_to_write(self, folder: Path) -> None:
        """Write a small file and take it away again; OSError if that fails."""
        ...


class SystemDisk:
    """The real ones."""

    def free_bytes(self, folder: Path) -> int:
        """As `df` has it."""
        return shutil.disk_usage(folder).free

    def may_write(self, folder: Path) -> bool:
        """By its mode and by how its disk is mounted."""
        return os.access(folder, os.W_OK)

    def try_to_write(self, folder: Path) -> None:
        """Down to the disk."""
        with tempfile.TemporaryFile(dir=folder, prefix=".isthmus-") as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())


def look_at_storage(disk: Disk, folders: Sequence[Folder]) -> Iterator[Finding]:
    """One finding a folder."""
    for folder in folders:
        yield _looked_at(disk, folder)


def _looked_at(disk: Disk, folder: Folder) -> Finding:
    name = f"{folder.what} ({folder.path})"
    try:
        free = disk.free_bytes(folder.path)
    except OSError as error:
        text = f"{name}: {error.strerror}"
        return fail("storage", text, _unseen_way_out(folder, error), folder=folder.what)
    text = f"{name}: {free / MIB:,.0f} MiB free"
    if not folder.is_written:
        may_write = disk.may_write(folder.path)
        text += "" if may_write else "; read only, which is enough"
        return note("storage", text, folder=folder.what, free_bytes=free, is_writable=may_write)
    return _tried(disk, folder, free, text)


def _tried(disk: Disk, folder: Folder, free: int, text: str) -> Finding:
    figures: dict[str, Figure] = {"folder": folder.what, "free_bytes": free}
    try:
        disk.try_to_write(folder.path)
    except OSError as error:
        figures["is_writable"] = False
        way_out = _MAKE_ROOM if error.errno in _FULL else _MEND
        return fail("storage", f"{text}, cannot be written: {error.strerror}", way_out, **figures)
    figures["is_writable"] = True
    if free < LEAST_BYTES:
        return fail("storage", f"{text}: full", _MAKE_ROOM, **figures)
    if free < LITTLE_BYTES:
        return warn("storage", f"{text}: nearly full", _MAKE_ROOM, **figures)
    return note("storage", f"{text}, can be written", **figures)


def _unseen_way_out(folder: Folder, error: OSError) -> str:
    if not folder.is_written:
        return "name the folder that `isthmus build` made, and let this user read it"
    if error.errno == errno.ENOENT:
        return f"make it (mkdir -p {folder.path}), or name another one with --state"
    return "name another one with --state, or let this user into the folders above it"


_FULL = (errno.ENOSPC, errno.EDQUOT)
_MEND = "mount it writable and give this user the right to write, or name another one with --state"
_MAKE_ROOM = "delete what is not needed, or name a folder on another disk with --state"
