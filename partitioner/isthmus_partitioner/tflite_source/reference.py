"""What LiteRT itself answers, asked in a process of its own: a hostile file may bring it down."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isthmus_partitioner.tflite_source.records import AnyArray

__all__ = ["NoAnswerError", "answers_of_litert"]

_SCRIPT = Path(__file__).with_name("litert_process.py")
_TIMEOUT_S = 180.0
_LONGEST_REASON = 300


class NoAnswerError(Exception):
    """LiteRT did not answer; the message says why."""


def answers_of_litert(model: Path, feeds: Sequence[AnyArray]) -> list[AnyArray]:
    """The outputs, in the file's order, for inputs in the file's order.

    Each array holds all runs along a first axis of its own. NoAnswerError if LiteRT refuses the
    file, fails, falls or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        given, found = Path(folder) / "feeds.npz", Path(folder) / "answers.npz"
        np.savez(given, *feeds, allow_pickle=False)
        command = [sys.executable, "-I", *map(str, (_SCRIPT, model.resolve(), given, found))]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise NoAnswerError(f"no answer within {_TIMEOUT_S:.0f} s") from error
        if done.returncode:
            raise NoAnswerError(_reason(done.returncode, done.stderr))
        with np.load(found, allow_pickle=False) as arrays:
            return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]


def _reason(code: int, said: bytes) -> str:
    """The last line of a process that failed; one that fell said nothing of use."""
    if code < 0:
        return f"it fell with signal {-code}"
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return (lines or [f"it ended with status {code}"])[-1][:_LONGEST_REASON]
