"""Runs `trial` in a process of its own and says in words how it ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

LONGEST_S = 60.0
_MOST_CHARACTERS = 300
_MODULE = "isthmus_edge.doctor.trial"

Answer = TypeVar("Answer")

__all__ = ["Asker", "Child", "ChildError"]


class ChildError(Exception):
    """The child gave no answer; the message says how it ended."""


class Asker(Protocol):
    """Asks a child process."""

    def ask(self, answer: type[Answer], arguments: Sequence[str]) -> Answer:
        """What it says; ChildError if it says nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Child:
    """Starts children. `environment` is added to this process's own."""

    longest_s: float = LONGEST_S
    environment: Mapping[str, str] = field(default_factory=dict)

    def ask(self, answer: type[Answer], arguments: Sequence[str]) -> Answer:
        """What the child says in its last line; ChildError if it dies, hangs or says nonsense."""
        # The runtimes greet people on stderr; ONNX Runtime reports home unless told not to.
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "ORT_DISABLE_TELEMETRY": "1"}
        try:
            ran = subprocess.run(
                # -P: what lies in the working folder is not to be taken for a package.
                [sys.executable, "-P", "-m", _MODULE, *arguments],
                env={**quiet, **os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.longest_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildError(f"it gave no answer within {self.longest_s:g} s") from error
        except OSError as error:
            raise ChildError(f"no process could be started ({error.strerror})") from error
        if ran.returncode:
            raise ChildError(_ending(ran.returncode, ran.stderr))
        try:
            return msgspec.json.decode(ran.stdout.strip().splitlines()[-1], type=answer)
        except (IndexError, msgspec.DecodeError) as error:
            raise ChildError("it said nothing that can be read") from error


def _ending(status: int, stderr: bytes) -> str:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        killed = ", most often for want of memory" if status == -signal.SIGKILL else ""
        return f"it crashed ({name}{killed})"
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    if not lines:
        return f"it ended with status {status}"
    kind, colon, rest = lines[-1].partition(":")
    return f"{kind.rpartition('.')[2]}{colon}{rest}"[:_MOST_CHARACTERS]
