"""Whoever looks may leave at any moment, on the loop of a service (uvloop) as on asyncio's own."""

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.edge.doctor.certificates import make_certificate
from tests.protos.web.asking import Wire, ask, connected, hello, serving, soon

from isthmus.web import Feed, Route, WebConfig

PLAIN = WebConfig(listen="127.0.0.1:0")
GET_EVENTS = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
VIEWERS = 8

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def on_a_loop_of_this_kind(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(test)

    return on_a_loop_of_this_kind


@pytest.fixture
def secure(tmp_path: Path) -> tuple[WebConfig, ssl.SSLContext]:
    """A server's settings, and what trusts it."""
    made = make_certificate(tmp_path / "tls")
    settings = WebConfig(listen="127.0.0.1:0", tls_certificate=made.pem, tls_key=made.key)
    return settings, ssl.create_default_context(cafile=made.pem)


def test_viewers_who_leave_between_two_messages_are_no_errors(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "isthmus.web")
    run(_viewers_leave(PLAIN, None))
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []
    assert len(caplog.records) >= VIEWERS  # each is told at debug level


def test_nor_are_those_that_leave_over_tls(
    run: Run, secure: tuple[WebConfig, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    run(_viewers_leave(*secure))
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


def test_noise_within_a_tls_connection_is_no_error(
    run: Run, secure: tuple[WebConfig, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    settings, trusting = secure

    async def noise() -> None:
        async with serving(settings) as server:
            port = int(server.addresses[0].rpartition(":")[2])
            await asyncio.to_thread(_disturb, port, trusting)
            await soon(lambda: not server.connections, "it is forgotten")
            assert (await ask(server, "/", context=trusting)).status == 200

    run(noise())
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def _viewers_leave(settings: WebConfig, trusting: ssl.SSLContext | None) -> None:
    """Many at once, in order or with a reset; the one who stays has every message."""
    may_go_on = asyncio.Semaphore(0)

    async def pause(_period_s: float) -> None:
        await may_go_on.acquire()

    async def words() -> bytes:
        return b"x"

    routes = {"/": Route(hello), "/events": Route(Feed(words, pause=pause))}
    async with serving(settings, routes) as server, connected(server, trusting) as stays:
        stays.send(GET_EVENTS)
        await stays.line(b"data: ")
        async with AsyncExitStack() as stack:
            for index in range(VIEWERS):
                wire = await stack.enter_async_context(connected(server, trusting))
                wire.send(GET_EVENTS)
                await wire.line(b"data: ")
                if index % 2:
                    _resets(wire)
        assert (await ask(server, "/", context=trusting)).status == 200  # it has heard of resets
        while server.connections > 1:  # the server finds out by writing that they have gone
            may_go_on.release()
            await stays.line(b"data: ")


def _resets(wire: Wire) -> None:
    """Its end will be a reset, of which the server's system hears at once."""
    its_socket = wire.writer.get_extra_info("socket")
    its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _disturb(port: int, context: ssl.SSLContext) -> None:
    """A handshake as it should be, and then what no TLS says."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        is_done = False
        while not is_done:
            try:
                secured.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        plain.sendall(outgoing.read() + b"noise " * 100)
        while plain.recv(65536):
            pass
