"""The files in which a kernel tells of itself: below /proc and /sys. A test brings its own."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["KernelFiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFiles:
    """Read as far as they can be read; `root` is the folder that holds proc/ and sys/."""

    root: Path = Path("/")

    def text(self, name: str) -> str | None:
        """A file below `root`, None where there is none or it cannot be read."""
        try:
            data = (self.root / name).read_bytes()
        except OSError:
            return None
        return data.decode("utf-8", "replace").strip(" \n\0")

    def number(self, name: str) -> int | None:
        """A file that holds a whole number; None if it holds words, such as "max", or is none."""
        try:
            return int(self.text(name) or "", 0)
        except ValueError:
            return None

    def texts(self, pattern: str) -> dict[str, str]:
        """The files below `root` that match, by their paths below it, as far as they are read."""
        found = {path.relative_to(self.root).as_posix(): None for path in self.root.glob(pattern)}
        read = {name: self.text(name) for name in sorted(found)}
        return {name: text for name, text in read.items() if text is not None}

    def numbers(self, pattern: str) -> dict[str, int]:
        """The same for files that hold whole numbers."""
        read = {name: self.number(name) for name in self.texts(pattern)}
        return {name: value for name, value in read.items() if value is not None}
