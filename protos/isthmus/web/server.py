"""The socket side: bounded connections, bounded patience, an end in order.

It runs on the loop that `start` was called on. Handlers are coroutines; what takes more than a
millisecond belongs on a thread. Each connection has one request and then ends: there is no idle
connection to keep, and nothing to smuggle behind a proxy.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus

from isthmus.errors import ConfigError
from isthmus.web.config import WebConfig, tls_context
from isthmus.web.door import LOGIN, Door
from isthmus.web.feed import Feed
from isthmus.web.messages import (
    MOST_HEAD_BYTES,
    BadRequestError,
    Reply,
    Request,
    parse_request,
)
from isthmus.web.page import sign_in_page

BACKLOG = 64
EVENTS_TYPE = "text/event-stream; charset=utf-8"

Handler = Callable[[Request], Awaitable[Reply]]

log = logging.getLogger("isthmus.web")

__all__ = ["Handler", "Patience", "Route", "WebServer", "probe"]


@dataclass(frozen=True, slots=True)
class Route:
    """What an address gives: a reply to each request, or a feed.

    `is_open`: for everybody who reaches the port, without token or host name: probes.
    """

    gives: Handler | Feed
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client may take: `head_s` for TLS, and then for its request; `write_s` to take
    in what was sent; `end_s` for replies under way when the server stops."""

    head_s: float = 5.0
    write_s: float = 10.0
    end_s: float = 1.0


class WebServer:
    """Serves `routes`, which map paths ("/metrics") to what they give."""

    def __init__(
        self, config: WebConfig, routes: Mapping[str, Route], patience: Patience | None = None
    ) -> None:
        self._config = config
        self._patience = patience or Patience()
        self._door = Door(config, sign_in_page())
        self._context: ssl.SSLContext | None = None
        self._routes = {LOGIN: Route(self._login, is_open=True)} | dict(routes)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()
        self._replying: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; ConfigError for an address that cannot be had or TLS files that cannot be used.

        A server that has stopped may start again.
        """
        context = self._context = await asyncio.to_thread(tls_context, self._config)
        if context is not None:
            context.sni_callback = self._certified
        patience_s = self._patience.head_s if context else None
        try:
            self._server = await asyncio.start_server(
                self._accept,
                self._config.host,
                self._config.port,
                limit=MOST_HEAD_BYTES,
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=patience_s,
                ssl_shutdown_timeout=patience_s,
            )
        except OSError as error:
            raise ConfigError(
                f"the web page cannot listen on {self._config.listen} "
                f"({error.strerror or error}); give another address, or end what has it"
            ) from error

    def use_token(self, token: str | None) -> None:
        """From now on this is the token, None: none is asked for. ConfigError if it cannot be one.

        With another one old cookies end, and so do the streams that were opened with them.
        """
        if token == self._config.token:
            return
        self._config = replace(self._config, token=token)
        self._door = Door(self._config, sign_in_page())
        for task in self._streams:
            task.cancel()

    async def renew_certificate(self) -> None:
        """New connections get what the TLS files hold now; open ones stay as they are.

        ConfigError if they cannot be used: then the certificate stays as it was.
        """
        self._context = await asyncio.to_thread(tls_context, self._config)

    def _certified(self, connection: ssl.SSLObject, *_: object) -> None:
        """Called in each handshake, whether or not the client names a host."""
        if self._context is not None:
            connection.context = self._context

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, each as the beginning of an URL; none before the start."""
        sockets = () if self._server is None else self._server.sockets
        scheme = "https" if self._config.has_tls else "http"
        names = [each.getsockname()[:2] for each in sockets]
        return tuple(
            f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
            for host, port in names
        )

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    async def stop(self) -> None:
        """Accept nothing more, end the streams, let replies under way go out."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task in self._connections - self._replying:  # streams, and who has asked nothing yet
            task.cancel()
        if self._connections:
            _, late = await asyncio.wait(set(self._connections), timeout=self._patience.end_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._config.max_connections:
            writer.write(_busy("too many connections").encoded())
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        for tasks in (self._connections, self._streams, self._replying):
            tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (_GoneError, asyncio.IncompleteReadError) as error:
            log.debug("a client went away, or took nothing in: %s", error)
        except Exception:
            log.exception("a request ended the hard way")
        finally:
            await self._close(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = parse_request(await self._head(reader))
        except BadRequestError as error:
            await self._send(writer, error.reply.encoded())
            return
        task = _this_task()
        self._replying.add(task)
        found = await self._found(request)
        if isinstance(found, Feed):
            self._replying.discard(task)
            await self._stream(found, request, writer)
        else:
            await self._send(writer, found.encoded(head_only=request.is_head))

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._patience.head_s):
                with _of_the_client():
                    return await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise BadRequestError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long"
            ) from error
        except TimeoutError as error:
            raise BadRequestError(
                HTTPStatus.REQUEST_TIMEOUT, "the request took too long"
            ) from error

    async def _found(self, request: Request) -> Reply | Feed:
        route = self._routes.get(request.path)
        refusal = None if route and route.is_open else self._door.refusal(request)
        if refusal is not None:
            return refusal
        if route is None:
            return Reply.of(HTTPStatus.NOT_FOUND, "there is nothing here")
        if isinstance(route.gives, Feed):
            return route.gives
        try:
            return await route.gives(request)
        except Exception:
            log.exception("%s broke", request.path)
            return Reply.of(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of ours; the log has it")

    async def _stream(self, feed: Feed, request: Request, writer: asyncio.StreamWriter) -> None:
        head = Reply(content_type=EVENTS_TYPE).head()
        if request.is_head:
            await self._send(writer, head)
            return
        if len(self._streams) >= self._config.max_event_streams:
            await self._send(writer, _busy("too many look at this already").encoded())
            return
        self._streams.add(_this_task())
        await self._send(writer, head)
        async with aclosing(feed.messages()) as messages:
            async for message in messages:
                await self._send(writer, message)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if writer.is_closing():  # uvloop would raise RuntimeError where asyncio drops the bytes
            raise _GoneError("its connection has ended")
        with _of_the_client():
            writer.write(data)
            async with asyncio.timeout(self._patience.write_s):
                await writer.drain()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """What is written goes out, if the client takes it in."""
        writer.close()
        try:
            async with asyncio.timeout(self._patience.write_s):
                await writer.wait_closed()
        except (OSError, TimeoutError) as error:
            log.debug("a connection did not end in order: %r", error)
        finally:
            writer.transport.abort()

    async def _login(self, request: Request) -> Reply:
        return self._door.login(request)


def probe(is_well: Callable[[], bool], why: Callable[[], str] = lambda: "not ready") -> Handler:
    """For `/livez` and `/readyz`: 200 with "ok", or 503."""

    async def answer(_request: Request) -> Reply:
        return Reply.of(HTTPStatus.OK, "ok") if is_well() else _busy(why())

    return answer


class _GoneError(Exception):
    """The client went away, took nothing in, or says what no TLS does: nothing of ours."""


@contextmanager
def _of_the_client() -> Iterator[None]:
    """What goes wrong with a connection; handlers and feeds may raise OSError for other reasons."""
    try:
        yield
    except OSError as error:  # ssl.SSLError and TimeoutError are such, too
        raise _GoneError(repr(error)) from error


def _this_task() -> "asyncio.Task[None]":
    task = asyncio.current_task()
    assert task is not None
    return task


def _busy(words: str) -> Reply:
    return Reply.of(HTTPStatus.SERVICE_UNAVAILABLE, words, retry_after="1")
