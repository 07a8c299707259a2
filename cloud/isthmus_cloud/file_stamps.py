"""Whether a file is still the one that was read: what its directory says of it, never its content.

seen = stamp_of(path)
...
if (now := stamp_of(path)) != seen:  # written again, replaced, gone, or there at last
"""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FileStamp", "stamp_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """Which file lies at a path, how large it is, and when it and its rights last changed."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


def stamp_of(path: Path) -> FileStamp | None:
    """The stamp of what lies at `path` (links are followed); None where nothing can be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return FileStamp(
        device=found.st_dev,
        inode=found.st_ino,
        size_bytes=found.st_size,
        modified_ns=found.st_mtime_ns,
        changed_ns=found.st_ctime_ns,
    )
