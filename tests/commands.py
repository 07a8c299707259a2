"""`isthmus …` as a process of its own, and looking until what must come has come."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
PATIENCE_S = 30.0  # a hang becomes a failure; no test waits for it to pass
POLL_S = 0.01  # so that whoever is waited for has the core


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; `out` holds what nobody read before."""

    status: int
    out: str
    err: str


class Command:
    """A running `isthmus` command; killed at the latest when the context ends.

    A subclass may run another `module`, for instance one of the tests.
    """

    module = "isthmus_cli"

    def __init__(self, *arguments: object) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stderr = tempfile.TemporaryFile("a+")  # noqa: SIM115 - closed in __exit__
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, *map(str, arguments)],
            cwd=ROOT if self.module.startswith("tests.") else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()

    def line(self, word: str) -> str:
        """The next line with `word` in it."""
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            if word in line:
                return line
        raise AssertionError(f"ended without a line with {word!r}: {self.complaints()}")

    def ended(self) -> Ended:
        """Wait for its end."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        rest = []
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            rest.append(line)
        return Ended(status, "".join(rest), self.complaints())

    def told(self, signum: int) -> Ended:
        """Send a signal and wait for the end."""
        self.process.send_signal(signum)
        return self.ended()

    def complaints(self) -> str:
        """What came on stderr so far; the place in the file is the process's, too, and stays."""
        handle = self._stderr.fileno()
        return os.pread(handle, os.fstat(handle).st_size, 0).decode()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


class Cloud(Command):
    """`isthmus cloud`, ready for devices on `address`."""

    def __init__(self, bundle: Path, listen: str = "127.0.0.1:0", *flags: object) -> None:
        super().__init__("cloud", bundle, "--listen", listen, "--provider", "cpu", *flags)
        try:
            self.announcement = self.line("listening on ")
        except BaseException:
            self.__exit__()
            raise
        self.address = self.announcement.split()[2]


def assert_explained(ended: Ended, *words: str) -> None:
    """It failed with one message of one line that has all the words, and no traceback."""
    assert ended.status == 1
    message = ended.err.strip()
    assert message.startswith("isthmus ")
    assert len(message.splitlines()) == 1
    assert [word for word in words if word not in message] == []


def until(happened: Callable[[], bool], what: str) -> None:
    """Try again and again; a failure that says `what` if it does not come true in time."""
    last_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < last_s, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(POLL_S)
