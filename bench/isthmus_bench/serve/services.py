"""What serves, as processes: ours, the bare loop and other servers; each ends with its tree."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import grpc

from isthmus import LinkError
from isthmus.oip.messages import pb

START_S = 120.0
END_S = 15.0
_ASK_S = 0.25  # between two questions whether a server is ready
_TAIL = 400  # characters of a log that an error shows
_READY = "/inference.GRPCInferenceService/ModelReady"

__all__ = [
    "Announced",
    "OipServer",
    "Server",
    "ServiceProcess",
    "bare_command",
    "cloud_command",
    "free_port",
]


class Server(Protocol):
    """What serves, while its context lasts."""

    @property
    def address(self) -> str:
        """HOST:PORT."""

    @property
    def pid(self) -> int:
        """Of its process; others are below it."""

    def __enter__(self) -> Self:
        """Until it is ready."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""


class ServiceProcess:
    """A server in processes of its own group, which end with the context. LinkError if it dies."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE if self._is_read else file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is ours: we end our children in order
            )
        self._address = ""

    _is_read = False

    @property
    def address(self) -> str:
        """See `Server`; empty before it is ready."""
        return self._address

    @property
    def pid(self) -> int:
        """See `Server`."""
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self._address = self._ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def end(self) -> None:
        """Ask it to end, and to end its own; then insist with all that are left."""
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        finally:  # be it that Ctrl-C came once more
            with suppress(ProcessLookupError):  # they have all ended
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ready(self) -> str:
        raise NotImplementedError

    def said(self) -> str:
        """Its log so far."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip()

    def _failed(self, what: str) -> LinkError:
        return LinkError(f"{what}: {self.said()[-_TAIL:] or 'it said nothing'}")


class Announced(ServiceProcess):
    """One that prints `listening on HOST:PORT` when devices may come."""

    _is_read = True

    def _ready(self) -> str:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        deadline = time.monotonic() + START_S
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty as error:
                raise self._failed(f"the service was not ready in {START_S:g} s") from error
            if line is None:
                raise self._failed(f"the service ended with status {self._process.wait()}")
            if line.startswith("listening on "):
                return line.split()[2]

    def _read(self, lines: "queue.SimpleQueue[str | None]") -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                lines.put(line.decode(errors="replace"))
        except ValueError:
            pass  # the pipe was closed by `end`
        lines.put(None)


class OipServer(ServiceProcess):
    """One that answers the Open Inference Protocol on a port that it was given."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        at: tuple[int, str],
    ) -> None:
        super().__init__(command, log, environment)
        self._port, self._model = at

    def _ready(self) -> str:
        address = f"127.0.0.1:{self._port}"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._failed(f"the server ended with status {self._process.returncode}")
            if is_model_ready(address, self._model):
                return address
            time.sleep(_ASK_S)
        raise self._failed(f"the server was not ready in {START_S:g} s")


def is_model_ready(address: str, model: str) -> bool:
    """Whether a server answers for a model over the Open Inference Protocol now."""
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            _READY,
            request_serializer=pb.ModelReadyRequest.SerializeToString,
            response_deserializer=pb.ModelReadyResponse.FromString,
        )
        try:
            return bool(ask(pb.ModelReadyRequest(name=model), timeout=2).ready)
        except grpc.RpcError:
            return False


def cloud_command(bundle: Path, flags: Sequence[str]) -> list[str]:
    """Our service on a free port."""
    command = [sys.executable, "-m", "isthmus_cli", "cloud", str(bundle)]
    return [*command, "--listen", "127.0.0.1:0", *flags]


def bare_command(spec: Path, threads: int) -> list[str]:
    """The bare loop for one tail."""
    command = [sys.executable, "-m", "isthmus_bench.serve.bare", "--spec", str(spec)]
    return [*command, "--threads", str(threads)]


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
