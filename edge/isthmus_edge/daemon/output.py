"""Where answers are written: one whole JSON line each, or none of it.

A thread of its own writes, so that a disk or a reader that stalls holds up nothing but the sources,
which wait for room.
"""

import logging
import os
import queue
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from isthmus import ConfigError
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.sections import OutputSection
from isthmus_edge.daemon.status import OutputStatus

ROOM = 256  # lines that wait to be written, and frames that will need one
STDOUT = 1

log = logging.getLogger("isthmus.daemon")

Line = Callable[[], bytes]  # makes it, ending in a newline; called where it is written
Written = Callable[[bool], None]

__all__ = ["LineFile", "Output", "Sink", "open_sinks"]


class Sink(Protocol):
    """Takes lines."""

    name: str

    def write(self, line: bytes) -> None:
        """All of a line that ends with a newline; OSError if none of it could be written."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class Output:
    """Writes each line to every sink; what one of them cannot take, the others get."""

    def __init__(self, sinks: list[Sink], tell: Tell) -> None:
        self._sinks = sinks
        self._tell = tell
        self._faults: dict[str, str] = {}
        self._came = self._written = self._unwritten = 0
        self._changing = threading.Condition()
        self._promised = 0  # lines that will come, or wait to be written
        self._is_closing = False
        self._lines: queue.SimpleQueue[tuple[Line, Written] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="isthmus-output", daemon=True)
        self._thread.start()

    def reserve(self) -> bool:
        """Wait until there is room for one line more, which `put` uses up; False once closed."""
        with self._changing:
            self._changing.wait_for(lambda: self._is_closing or self._promised < ROOM)
            self._promised += not self._is_closing
            return not self._is_closing

    def put(self, line: Line, written: Written) -> None:
        """Write a line soon; `written` is called from the thread that does. Never waits."""
        with self._changing:
            self._came += 1
        self._lines.put((line, written))

    @property
    def owes_nothing(self) -> bool:
        """Whether every line that came had its end, though others may be promised."""
        return self._came == self._written + self._unwritten

    def close(self, timeout_s: float) -> bool:
        """Write what was promised, and end; False if it was not done in time.

        Who waits for room is let go.
        """
        with self._changing:
            self._is_closing = True
            self._changing.notify_all()
        self._lines.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def status(self) -> OutputStatus:
        """The figures so far."""
        fault = "; ".join(f"{name}: {reason}" for name, reason in dict(self._faults).items())
        return OutputStatus(written=self._written, unwritten=self._unwritten, fault=fault or None)

    def _run(self) -> None:
        while not (self._is_closing and self._promised == 0):
            next_one = self._lines.get()
            if next_one is not None:
                self._write_everywhere(*next_one)
        for sink in self._sinks:
            sink.close()

    def _write_everywhere(self, make: Line, written: Written) -> None:
        is_written = self._is_taken(make)
        self._written += is_written
        self._unwritten += not is_written
        try:
            written(is_written)
        except Exception:  # the lines behind it are no worse for that
            log.exception("a defect of ours, behind a line of the output")
        with self._changing:
            self._promised -= 1
            self._changing.notify()

    def _is_taken(self, make: Line) -> bool:
        try:
            line = make()
        except Exception:
            log.exception("a defect of ours: a line of the output cannot be made")
            return False
        taken = [self._write(sink, line) for sink in self._sinks]
        return any(taken)

    def _write(self, sink: Sink, line: bytes) -> bool:
        try:
            sink.write(line)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._faults.get(sink.name) != reason:
                self._faults[sink.name] = reason
                self._tell("output_fails", logging.ERROR, output=sink.name, reason=reason)
            return False
        if self._faults.pop(sink.name, None) is not None:
            self._tell("output_works_again", output=sink.name)
        return True


class LineFile:
    """A file that lines are appended to; it is opened again where it was moved away (rotated)."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._way: _Way | None = None

    def write(self, line: bytes) -> None:
        """Append; a disk that is full gets none of the line."""
        if self._way is not None and not self._is_ours(self._way.descriptor):
            self.close()
        if self._way is None:
            self._way = _opened(self._path)
        self._way.append(line)

    def close(self) -> None:
        """Let the file go."""
        if self._way is not None:
            os.close(self._way.descriptor)
            self._way = None

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


class _Stream:
    """Standard output."""

    name = "stdout"

    def __init__(self) -> None:
        self._way = _Way(STDOUT, is_ours=False)

    def write(self, line: bytes) -> None:
        self._way.append(line)

    def close(self) -> None:
        pass


def open_sinks(section: OutputSection) -> list[Sink]:
    """The sinks of a section. ConfigError if the file's folder is not there, or is none.

    Whether it can be written to shows with the first line: a disk that is read-only today may not
    be tomorrow, and answers go on where they can.
    """
    sinks: list[Sink] = []
    if section.file is not None:
        if not _may_be_file(section.file):
            raise ConfigError(
                f"{section.file}: [output] file must be a file in a folder that is there, and "
                "open to this user; make it, or give another one"
            )
        sinks.append(LineFile(section.file))
    if section.stdout:
        sinks.append(_Stream())
    return sinks


def _may_be_file(path: Path) -> bool:
    try:
        return path.parent.is_dir() and not path.is_dir()
    except OSError:  # behind a folder that is closed to this user
        return False


def _opened(path: Path) -> "_Way":
    """For appending at the beginning of a line, whatever a crash has left there."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o640)
    try:
        found = os.fstat(descriptor)
        has_content = stat.S_ISREG(found.st_mode) and found.st_size > 0
        is_torn = has_content and os.pread(descriptor, 1, found.st_size - 1) != b"\n"
    except OSError:
        os.close(descriptor)
        raise
    return _Way(descriptor, is_torn=is_torn)


class _Way:
    """A descriptor for whole lines; what is half out and cannot be cut off is ended by the next.

    One that is not ours alone is never cut, and its reader may be slow without losing a line.
    """

    def __init__(self, descriptor: int, *, is_torn: bool = False, is_ours: bool = True) -> None:
        self.descriptor = descriptor
        self._is_torn = is_torn
        self._is_ours = is_ours

    def append(self, line: bytes) -> None:
        size = os.fstat(self.descriptor).st_size
        whole = b"\n" + line if self._is_torn else line
        rest = memoryview(whole)
        try:
            while rest:
                rest = rest[self._some(rest) :]
        except OSError:
            self._is_torn |= len(rest) < len(whole) and not self._can_cut_to(size)
            raise
        self._is_torn = False

    def _some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self.descriptor, data)
            except BlockingIOError:
                if self._is_ours:
                    raise
                select.select([], [self.descriptor], [])

    def _can_cut_to(self, size: int) -> bool:
        if not self._is_ours:
            return False
        try:
            os.ftruncate(self.descriptor, size)
        except OSError:  # no regular file: what is out is out
            return False
        return True
