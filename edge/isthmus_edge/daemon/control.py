"""The daemon's control socket: a line of JSON is asked, a line of JSON comes back.

    {"ask": "status"}  ->  {"version": …, "state": "running", …}

One question a connection. Whoever may open the socket (mode 0600) may ask; nothing can be changed.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from isthmus import LinkError
from isthmus_edge.daemon.printable import printed
from isthmus_edge.daemon.status import Status
from isthmus_edge.unix_sockets import UnixSocket

QUESTION_BYTES = 1024
ANSWER_BYTES = 4 * 1024 * 1024
PATIENCE_S = 5.0
MODE = 0o600

__all__ = ["Control", "ask_status", "default_control", "known_controls"]


class Control:
    """The asked side. `start` and `stop` within the daemon's loop."""

    def __init__(self, path: Path, status: Callable[[], Awaitable[Status]]) -> None:
        self._socket = UnixSocket(path)
        self._status = status
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None

    async def start(self) -> None:
        """Listen; ConfigError if the path is taken or cannot be used."""
        self._socket.make_folder(MODE)
        way = self._socket.bind(MODE)
        self._identity = self._socket.identity()
        self._server = await asyncio.start_unix_server(self._answer, sock=way, limit=QUESTION_BYTES)

    async def stop(self) -> None:
        """Close and remove the socket."""
        if self._server is not None:
            self._server.close()
            self.abandon()

    def abandon(self) -> None:
        """Only remove the socket: the process ends at once."""
        if self._identity is not None:
            self._socket.remove(self._identity)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(await self._reply(reader))
                await writer.drain()
        except (
            TimeoutError,
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            pass  # whoever asks is gone, asks nothing, or has no end: there is nobody to tell
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        line = await reader.readuntil(b"\n")
        try:
            question = msgspec.json.decode(line, type=_Question)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return msgspec.json.encode({"error": f'{error}; ask {{"ask": "status"}}'}) + b"\n"
        if question.ask != "status":
            return msgspec.json.encode({"error": f"ask {question.ask!r}; use 'status'"}) + b"\n"
        status = msgspec.to_builtins(await self._status())
        return msgspec.json.encode(printed(status)) + b"\n"


class _Question(msgspec.Struct):
    ask: str


def ask_status(path: Path | None = None, timeout_s: float = PATIENCE_S) -> Status:
    """What the daemon behind a control socket says of itself; without a path, the usual ones.

    LinkError if no daemon answers.
    """
    places = known_controls() if path is None else [path]
    reasons = []
    for place in places:
        try:
            return _asked(place, timeout_s)
        except OSError as error:
            reasons.append(f"{place}: {error.strerror or error}")
        except msgspec.MsgspecError as error:
            reasons.append(f"{place}: no daemon of this version ({error})")
    raise LinkError(
        f"no daemon answers ({'; '.join(reasons)}); start one with `isthmus edge --config FILE`, "
        "or give its control socket with --socket PATH"
    )


def default_control() -> Path | None:
    """Where this process listens for `isthmus edge status` unless told; None where nothing fits."""
    return next(iter(known_controls(only_ours=True)), None)


def known_controls(*, only_ours: bool = False) -> list[Path]:
    """Where a daemon of this machine may be asked, the likeliest first.

    systemd names RUNTIME_DIRECTORY to a service and XDG_RUNTIME_DIR to a user; /run/isthmus is the
    first of them as others see it, and root's own.
    """
    folders = []
    if "RUNTIME_DIRECTORY" in os.environ:
        folders.append(Path(os.environ["RUNTIME_DIRECTORY"].partition(":")[0]))
    if not only_ours or os.geteuid() == 0:
        folders.append(Path("/run/isthmus"))
    if "XDG_RUNTIME_DIR" in os.environ:
        folders.append(Path(os.environ["XDG_RUNTIME_DIR"], "isthmus"))
    return [folder / "control.sock" for folder in folders]


def _asked(path: Path, timeout_s: float) -> Status:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
        way.settimeout(timeout_s)
        way.connect(str(path))
        way.sendall(b'{"ask": "status"}\n')
        with way.makefile("rb") as answer:
            return msgspec.json.decode(answer.readline(ANSWER_BYTES), type=Status)
