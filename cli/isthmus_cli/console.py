"""What verbs print: progress with elapsed time on stderr, JSON and tables on stdout."""

import json
import sys
import time
from typing import Any

__all__ = ["Steps", "print_json"]


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


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=1))
