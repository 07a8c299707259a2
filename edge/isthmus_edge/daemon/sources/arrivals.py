"""When a file that appears is whole: the rules, with neither a file system nor a clock in them.

A file is whole once whoever wrote it has closed it, or it was renamed to where it is. Where nobody
tells of that (it lay there before, it was linked, the file system is watched by polling), once its
size and time have stood still for `settle_s` and nobody has it open.
"""

from dataclasses import dataclass
from math import inf
from pathlib import Path

Version = tuple[int, int, int]  # inode, size, time of the last change: another one, another picture

__all__ = ["Arrivals", "Version"]


@dataclass(slots=True)
class _Pending:
    version: Version | None
    since_s: float
    is_open: bool = False
    is_whole: bool = False


class Arrivals:
    """Which files are to be answered: each version of each file once."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._pending: dict[Path, _Pending] = {}
        self._taken: dict[Path, Version] = {}

    @property
    def pending(self) -> list[Path]:
        """Files that are not whole yet, or that nobody has looked at since they became so."""
        return list(self._pending)

    def appeared(self, path: Path, now_s: float) -> None:
        """There is a file, or it has changed; whether all of it is there is not known."""
        pending = self._pending.setdefault(path, _Pending(None, now_s))
        pending.since_s, pending.is_whole = now_s, False

    def opened(self, path: Path) -> None:
        """Somebody may be writing to a file that has appeared."""
        if path in self._pending:
            self._pending[path].is_open = True

    def closed(self, path: Path, now_s: float, *, written: bool) -> None:
        """Whoever had it open is done with it; `written`: it was open for writing."""
        if written:
            self._pending.setdefault(path, _Pending(None, now_s)).is_whole = True
        if path in self._pending:
            self._pending[path].is_open = False

    def renamed(self, path: Path, now_s: float) -> None:
        """A whole file has got this name."""
        self._pending.setdefault(path, _Pending(None, now_s)).is_whole = True

    def gone(self, path: Path) -> None:
        """The file is not there any more; what gets its name is another one."""
        self._pending.pop(path, None)
        self._taken.pop(path, None)

    def skip(self, path: Path, version: Version) -> None:
        """This version was there before, and is not to be answered."""
        self._taken[path] = version

    def again(self, path: Path, version: Version) -> None:
        """The answer of this version is lost; it is whole unless it has changed since."""
        if self._taken.get(path) == version:
            del self._taken[path]
            self._pending.setdefault(path, _Pending(version, -inf))

    def looked(self, path: Path, version: Version | None, now_s: float) -> bool:
        """A look at a pending file (None: there is none): whether to answer it, and now."""
        pending = self._pending.get(path)
        if pending is None:
            return False
        if version is None:
            self.gone(path)
            return False
        if version == self._taken.get(path):
            del self._pending[path]
            return False
        if version != pending.version:
            pending.version, pending.since_s = version, now_s
        has_settled = not pending.is_open and now_s - pending.since_s >= self._settle_s
        if not pending.is_whole and not has_settled:
            return False
        del self._pending[path]
        self._taken[path] = version
        return True
