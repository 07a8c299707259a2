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

from isthmus import ConfigError, LinkError
from isthmus_edge.daemon.status import Status
from isthmus_edge.daemon.unix import clear_the_way, known_controls, unlinked

QUESTION_BYTES = 1024
ANSWER_BYTES = 4 * 1024 * 1024
PATIENCE_S = 5.0
WHAT = "the control socket"

__all__ = ["Control", "ask_status"]


class Control:
    """The asked side. `start` and `stop` within the daemon's loop."""

    def __init__(self, path: Path, status: Callable[[], Awaitable[Status]]) -> None:
        self._path = path
        self._status = status
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; ConfigError if the path is taken or cannot be used."""
        clear_the_way(self._path, WHAT)
        way = _bound(self._path)
        self._server = await asyncio.start_unix_server(self._answer, sock=way, limit=QUESTION_BYTES)

    async def stop(self) -> None:
        """Close and remove the socket."""
        if self._server is not None:
            self._server.close()
            self.abandon()

    def abandon(self) -> None:
        """Only remove the socket: the process ends at once."""
        if self._server is not None:
            unlinked(self._path)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(await self._reply(reader))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # whoever asks is gone, asks nothing, or has no end: there is nobody to tell
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        line = await reader.readuntil(b"\n")
        try:
            question = msgspec.json.decode(line, type=_Question)
        except msgspec.MsgspecError as error:
            return msgspec.json.encode({"error": f'{error}; ask {{"ask": "status"}}'}) + b"\n"
        if question.ask != "status":
            return msgspec.json.encode({"error": f"ask {question.ask!r}; use 'status'"}) + b"\n"
        return msgspec.json.encode(await self._status()) + b"\n"


class _Question(msgspec.Struct):
    ask: str


def _bound(path: Path) -> socket.socket:
    """A socket that nobody else could ever open, not for a moment."""
    way = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        way.bind(str(path))
    except OSError as error:
        way.close()
        raise ConfigError(f"{path}: {WHAT} cannot be made ({error.strerror})") from error
    finally:
        os.umask(before)
    return way


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


def _asked(path: Path, timeout_s: float) -> Status:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
        way.settimeout(timeout_s)
        way.connect(str(path))
        way.sendall(b'{"ask": "status"}\n')
        with way.makefile("rb") as answer:
            return msgspec.json.decode(answer.readline(ANSWER_BYTES), type=Status)
