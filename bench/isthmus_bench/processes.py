"""Processes of demo and bench: the real cloud command, and a device that takes orders."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from isthmus import LinkError

START_S = 60.0
ANSWER_S = 180.0
END_S = 10.0

__all__ = ["CloudProcess", "EdgeProcess", "SilentProcessError"]


class SilentProcessError(LinkError):
    """A child process said nothing for too long."""


class CloudProcess:
    """`isthmus cloud BUNDLE --listen 127.0.0.1:0` in a process of its own; drained on exit."""

    def __init__(self, bundle: Path) -> None:
        self._process = _Lines(
            ["-m", "isthmus_cli", "cloud", str(bundle), "--listen", "127.0.0.1:0"], "the cloud"
        )
        try:
            line = self._process.next(START_S)
            while not line.startswith("listening on "):
                line = self._process.next(START_S)
        except BaseException:
            self._process.end()
            raise
        self.announcement = line
        self.address = line.split()[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.end()


class EdgeProcess:
    """A device process, that of the demo unless named; `flags` are those of its command."""

    def __init__(
        self, flags: Mapping[str, object], module: str = "isthmus_bench.edge_process"
    ) -> None:
        arguments = ["-m", module]
        for flag, value in flags.items():
            arguments += [f"--{flag}", str(value)]
        self._process = _Lines(arguments, "the device")
        self.frames: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.end()

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        """Give one order and wait for its answer; frames of a live run are kept in `frames`.

        `busy_s` is how long the order takes if all is well: so much longer is waited.
        """
        self._process.write(json.dumps({"do": verb, **fields}))
        while True:
            answer = self._next(busy_s + ANSWER_S)
            if "event" not in answer:
                return answer
            self.frames.append(answer)

    def watch(self, seconds: float) -> dict[str, Any] | None:
        """The next frame of a live run, or None if none ended within `seconds`."""
        try:
            frame = self._next(seconds)
        except SilentProcessError:
            return None
        self.frames.append(frame)
        return frame

    def _next(self, timeout_s: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._process.next(timeout_s))
        if answer.get("event") == "error":
            raise LinkError(f"the device reports: {answer['message']}")
        return answer


class _Lines:
    """A child process of this interpreter, line by line; its stderr passes through."""

    def __init__(self, arguments: list[str], name: str) -> None:
        self._name = name
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C is ours: we end our children in order
        )
        threading.Thread(target=self._read, daemon=True).start()

    def write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise LinkError(f"{self._name} has ended; its messages stand above") from error

    def next(self, timeout_s: float) -> str:
        """The next line; SilentProcessError if none comes, LinkError if the process has ended."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            raise SilentProcessError(f"{self._name} said nothing for {timeout_s:g} s") from error
        if line is None:
            self._lines.put(None)
            raise LinkError(f"{self._name} ended with status {self._process.wait()}")
        return line

    def end(self) -> None:
        """Ask it to end, then insist."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if self._name == "the cloud":
            self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(line.rstrip("\n"))
        except ValueError:
            pass  # the pipe was closed by `end`
        self._lines.put(None)
