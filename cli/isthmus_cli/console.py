"""What verbs print: progress with elapsed time on stderr, JSON and tables on stdout."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from isthmus import ConfigError
from isthmus.repeated_signals import Breaths

__all__ = [
    "Steps",
    "Terminated",
    "drop_output",
    "print_json",
    "sigterm_as_ctrl_c",
    "write_file",
]


class Steps:
    """Prints each step of a long work as a line with the time since the beginning."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._begin = time.monotonic()
        self._quiet = quiet

    def __call__(self, line: str) -> None:
        """One more step."""
        if not self._quiet:
            sys.stderr.write(f"{time.monotonic() - self._begin:6.1f} s  {line}\n")
            sys.stderr.flush()


class Terminated(KeyboardInterrupt):
    """SIGTERM came; `status` is what a shell reports of a process that it ended."""

    status = 128 + signal.SIGTERM


def sigterm_as_ctrl_c() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does, in order; only the status differs.

    One that only repeats the one before, as `timeout` sends it, does not disturb the end.
    """
    breaths = Breaths()

    def terminate(*_: object) -> None:
        if breaths.is_new():
            raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def drop_output() -> None:
    """Nobody reads stdout any more: write the rest nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=1))


def write_file(path: Path, text: str) -> None:
    """Write a result; ConfigError if the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def check_writable(path: Path) -> None:
    """As `write_file`, before a long work; what stands there stays, and what is not there yet does
    not come of it."""
    is_new = not path.exists()
    try:
        with path.open("a"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
