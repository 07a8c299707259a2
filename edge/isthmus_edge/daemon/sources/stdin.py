"""Pictures by lines of stdin: a path each, or JSON, or base64."""

import base64
import binascii
import os
import threading
from collections.abc import Generator
from pathlib import Path

import msgspec

from isthmus import PictureError
from isthmus_edge.daemon.sections import StdinSection
from isthmus_edge.daemon.sources.item import Item
from isthmus_edge.daemon.sources.stdin_lines import MAX_LINE_BYTES, TOO_LONG, StdinLines

__all__ = ["StdinSource", "item_of_line"]

_USAGE = 'a line is a path, or {"path": …} or {"base64": …} with "id" and "deadline_ms" if need be'


class StdinSource:
    """Lines until their end. Where it is stopped, another source of the same lines may go on."""

    kind = "stdin"
    comes_back = False
    dropped = 0

    def __init__(self, section: StdinSection, lines: StdinLines) -> None:
        self._section = section
        self._lines = lines
        self._lock = threading.Lock()
        self._is_stopped = False
        self._wake: int | None = None  # writing to it wakes whoever waits for a line

    def items(self) -> Generator[Item | None]:
        """One for each line that is not empty; a line that says nothing sensible is unreadable."""
        with self._lock:
            if self._is_stopped:
                return
            woken, wake = os.pipe()
            self._wake = wake
        try:
            yield None
            for number, line in self._lines.until(woken):
                if line.strip():
                    yield item_of_line(line.strip(), number, self._section)
        finally:
            with self._lock:
                os.close(wake)
                os.close(woken)
                self._wake = None

    def stop(self) -> None:
        """End, also while waiting for a line."""
        with self._lock:
            self._is_stopped = True
            if self._wake is not None:
                os.write(self._wake, b"!")


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of JSON; `id` is what its answer is named after."""

    path: str | None = None
    base64: str | None = None
    id: str | int | None = None
    deadline_ms: float | None = None


def item_of_line(line: bytes, number: int, section: StdinSection) -> Item:
    """What one line asks for. What cannot be understood becomes a picture that cannot be read."""
    name = f"line {number}"
    if section.lines == "base64":
        return Item(name, _decoded(line, name), section.deadline_ms)
    if not line.startswith(b"{"):
        text = os.fsdecode(line)
        return Item(text, Path(text), section.deadline_ms)
    try:
        asked = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = f"longer than {MAX_LINE_BYTES:,} bytes" if line == TOO_LONG else str(error)
        return Item(name, PictureError(f"{name}: {reason}; {_USAGE}"))
    name = name if asked.id is None else str(asked.id)
    limit = section.deadline_ms if asked.deadline_ms is None else asked.deadline_ms
    if asked.base64 is not None:
        return Item(name, _decoded(asked.base64.encode(), name), limit)
    if asked.path is not None:
        return Item(name if asked.id is not None else asked.path, Path(asked.path), limit)
    return Item(name, PictureError(f"{name}: neither path nor base64; {_USAGE}"), limit)


def _decoded(text: bytes, name: str) -> bytes | PictureError:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        return PictureError(f"{name}: is no base64 ({error}); {_USAGE}")
