"""Starts the relay as a process, steers it over its pipes, and sees to its end."""

import json
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal, Self

from isthmus.errors import ConfigError, LinkError
from isthmus_bench.relay.protocol import described, described_trace
from isthmus_bench.relay.server import Direction
from isthmus_bench.relay.shape import LinkShape
from isthmus_bench.traces import Trace

__all__ = ["Relay"]

_MODULE = "isthmus_bench.relay"
_START_TIMEOUT_S = 20.0
_ANSWER_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 3.0


class Relay:
    """An emulated link to `target` ("HOST:PORT"), running in a process of its own.

    Connect to `address` instead of the target. Use it as a context manager, or call `close()`. The
    process also ends when its owner dies, whatever the way, because its stdin closes then. It does
    not get the terminal's Ctrl-C, so that the owner can still drain over it.

    Raises `ConfigError` for an address that cannot be used, `LinkError` if the process does not
    start, does not answer, or has ended.
    """

    def __init__(
        self, target: str, shape: LinkShape | None = None, *, listen: str = "127.0.0.1:0"
    ) -> None:
        flags = ["--to", target, "--listen", listen, *_flags(shape or LinkShape())]
        self._unread = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            self._process = _started(flags, self._stderr)
        except LinkError:
            self._stderr.close()
            raise
        try:
            self.address = str(self._next_answer(_START_TIMEOUT_S)["listen"])
        except BaseException:  # an interrupt too must not leave an orphan
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process that carries the bytes, for whoever wants to measure it."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def shape(self, shape: LinkShape) -> None:
        """Change the link; in force for all connections when this returns.

        Ends a trace that plays. Bytes in the second half of their way (half the round trip time)
        still arrive.
        """
        self._command(described(shape))

    def play(
        self,
        trace: Trace,
        *,
        rtt_ms: float | None = None,
        direction: Direction | Literal["both"] = "both",
    ) -> float:
        """Let the trace rule from its time 0 on, repeating, until the next `play` or `shape`.

        The round trip time becomes `rtt_ms`, or that of the trace; jitter and stalls stay as they
        are, and so does the rate of the other direction if one is named. Returns when the trace
        began, by this machine's `time.monotonic()`.
        """
        command = {"play": described_trace(trace), "rtt_ms": rtt_ms, "direction": direction}
        return float(self._command(command)["began_s"])

    def run_script(self, steps: Sequence[tuple[float, Mapping[str, Any]]]) -> float:
        """Carry out commands (as on stdin, see the package) at their times, counted from now.

        Takes the place of a script that still runs; no steps end it. All are checked before the
        first, and those at 0 s are in force when this returns. Returns when it began, by this
        machine's `time.monotonic()`.
        """
        listed = [[at_s, dict(command)] for at_s, command in steps]
        return float(self._command({"script": listed})["began_s"])

    def half_open(self, on: bool = True) -> None:
        """Go on accepting, and let nothing pass in either direction: no bytes, no ends, no errors.

        Silences the connections that are there too. Those that were silenced stay so when it is
        switched off (only `reset` frees them), as after a device on the way lost its state; new
        ones work then.
        """
        self._command({"half_open": on})

    def refuse(self, on: bool = True) -> None:
        """Break new connections with an RST as soon as they are made; the others go on."""
        self._command({"refuse": on})

    def reset(self) -> None:
        """Break every connection with an RST on both sides; the relay goes on listening."""
        self._command({"reset": True})

    def carried_bytes(self) -> dict[Direction, int]:
        """What each direction has carried so far, of all connections there ever were.

        Counted when it leaves the bottleneck, whatever becomes of it then: payload bytes, and 40
        for each packet that opens, ends or breaks a connection.
        """
        carried: dict[Direction, int] = self._command({"count": True})["carried_bytes"]
        return carried

    def close(self) -> None:
        """End the process and every connection through it; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _command(self, fields: dict[str, Any]) -> dict[str, Any]:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            raise LinkError("relay: it was closed; open a new one to shape a link")
        unsent = json.dumps(fields).encode() + b"\n"
        try:
            while unsent:  # an unbuffered pipe may take a part
                unsent = unsent[stdin.write(unsent) or 0 :]
        except BrokenPipeError as error:
            raise self._ended() from error
        answer = self._next_answer(_ANSWER_TIMEOUT_S)
        if not answer.get("ok"):
            raise ConfigError(str(answer.get("error")))
        return answer

    def _next_answer(self, timeout_s: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        deadline_s = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise LinkError(
                        f"relay: no answer from its process {self._process.pid} within"
                        f" {timeout_s:g} s; close it and start another"
                    )
                data = stdout.read(4096)
                if not data:
                    raise self._ended()
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> ConfigError | LinkError:
        """Why the process is no more, in its own last words."""
        status = self._process.wait(_END_TIMEOUT_S)
        self._stderr.seek(0)
        words = self._stderr.read().decode(errors="replace").strip()
        if words.startswith("error: "):
            return ConfigError(words.removeprefix("error: "))
        last = words.splitlines()[-1] if words else "it left no message"
        return LinkError(f"relay: its process ended with status {status}: {last}")


def _started(flags: list[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise LinkError(
            f"relay: cannot start {sys.executable!r} ({error.strerror}); run it with a Python that"
            " has isthmus[bench] installed"
        ) from error


def _flags(shape: LinkShape) -> list[str]:
    flags = []
    for key, value in described(shape).items():
        flags += [f"--{key.replace('_', '-')}", "inf" if value is None else repr(value)]
    return flags
