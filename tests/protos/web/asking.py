"""A client that can be as rude as it likes: bytes out, bytes in."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.commands import PATIENCE_S

from isthmus.web import Reply, Request, Route, WebConfig, WebServer

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - of this test alone

__all__ = ["TOKEN", "Answered", "Wire", "ask", "connected", "hello", "serving", "soon"]


@dataclass(frozen=True, slots=True)
class Answered:
    """One reply, taken apart; header names in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, answer: bytes) -> "Answered":
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return cls(int(first.split()[1]), {name.lower(): value for name, value in pairs}, body)


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self, start: bytes) -> bytes:
        """The rest of the next line that begins so."""
        async with asyncio.timeout(PATIENCE_S):
            while not (line := await self._reader.readline()).startswith(start):
                assert line, f"ended without a line that begins with {start!r}"
        return line.removeprefix(start).rstrip(b"\r\n")

    async def everything(self) -> bytes:
        """Until the other side ends."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    async def is_ended(self) -> bool:
        """Whether the other side ends it, in order or not, with nothing more to say."""
        try:
            return await self.everything() == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def connected(
    server: WebServer | str, context: ssl.SSLContext | None = None
) -> AsyncIterator[Wire]:
    """A connection to the first address, or to this URL."""
    place = urlsplit(server if isinstance(server, str) else server.addresses[0])
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection(
        place.hostname, place.port, ssl=context, server_hostname=name
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        try:
            await writer.wait_closed()
        except ConnectionError:
            assert writer.is_closing()


async def ask(
    server: WebServer | str,
    path: str,
    method: str = "GET",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Answered:
    """One request; `accept="…"` is the header Accept, `host` goes in the place of the usual one."""
    named = {"Host": "127.0.0.1"} | {k.replace("_", "-").title(): v for k, v in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in named.items())]
    async with connected(server, context) as wire:
        wire.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return Answered.of(await wire.everything())


async def soon(happened: Callable[[], bool], what: str) -> None:
    """While the loop goes on; a failure that says `what` if it does not come true in time."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - a connection that ends tells nobody
            await asyncio.sleep(0.001)
    assert happened(), what


async def hello(request: Request) -> Reply:
    """A handler."""
    return Reply(body=f"hello {request.path}".encode())


@asynccontextmanager
async def serving(
    config: WebConfig | None = None, routes: dict[str, Route] | None = None, **more: object
) -> AsyncIterator[WebServer]:
    """A server on a free port, stopped in the end; `more` goes to `WebServer`."""
    server = WebServer(
        config or WebConfig(listen="127.0.0.1:0"),
        {"/": Route(hello)} if routes is None else routes,
        **more,  # type: ignore[arg-type]
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        assert server.connections == 0
