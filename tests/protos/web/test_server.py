"""The server on a real socket: bounded in every direction, and its end is in order."""

import asyncio
import logging
import ssl
from http import HTTPStatus
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S
from tests.edge.doctor.certificates import OVER, make_certificate
from tests.protos.web.asking import TOKEN, Answered, ask, connected, hello, serving, soon

from isthmus import ConfigError
from isthmus.web import Feed, Patience, Reply, Request, Route, WebConfig, WebServer, probe
from isthmus.web.messages import MOST_HEAD_BYTES

HASTY = Patience(head_s=0.05, write_s=0.05, end_s=0.05)
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET_EVENTS = GET.replace(b"/ ", b"/events ", 1)


def config(**more: object) -> WebConfig:
    return WebConfig(listen="127.0.0.1:0", **more)  # type: ignore[arg-type]


def counting() -> Route:
    count = 0

    async def make() -> bytes:
        nonlocal count
        count += 1
        return str(count).encode()

    async def pause(_period_s: float) -> None:
        await asyncio.sleep(0)

    return Route(Feed(make, pause=pause))


async def test_a_path_has_its_reply_and_every_other_one_has_none() -> None:
    async with serving() as server:
        answered = await ask(server, "/?a=b")
        assert (answered.status, answered.body) == (200, b"hello /")
        assert answered.headers["content-length"] == "7"
        for path in ("/x", "//", "/../etc/passwd", "/index.html", "/%2e"):
            assert (await ask(server, path)).status == 404


async def test_a_head_is_all_that_head_gets() -> None:
    async with serving(routes={"/": Route(hello), "/events": counting()}) as server:
        answered = await ask(server, "/", "HEAD")
        assert (answered.headers["content-length"], answered.body) == ("7", b"")
        events = await ask(server, "/events", "HEAD")
        assert events.headers["content-type"].startswith("text/event-stream")
        assert events.body == b""


async def test_a_probe_asks_for_no_token_and_minds_no_name() -> None:
    is_ready = True
    routes = {"/": Route(hello), "/readyz": Route(probe(lambda: is_ready), is_open=True)}
    async with serving(config(token=TOKEN), routes) as server:
        assert (await ask(server, "/readyz", host="any.name")).body == b"ok\n"
        assert (await ask(server, "/")).status == 401
        is_ready = False
        assert (await ask(server, "/readyz")).status == 503


async def test_a_browser_signs_in_and_its_cookie_opens_every_path() -> None:
    async with serving(config(token=TOKEN)) as server:
        assert b"<form" in (await ask(server, "/", accept="text/html")).body
        signed_in = await ask(server, "/login", authorization=f"Bearer {TOKEN}")
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        assert (await ask(server, "/", cookie=cookie)).status == 200
        assert (await ask(server, "/login", cookie=cookie)).status == 401


async def test_a_handler_that_breaks_tells_the_log_and_not_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_request: Request) -> Reply:
        raise ZeroDivisionError("inside")

    async with serving(routes={"/": Route(broken)}) as server:
        answered = await ask(server, "/")
        assert (await ask(server, "/")).status == 500
    assert answered.status == 500
    assert b"inside" not in answered.body
    assert "inside" in caplog.text


async def test_nonsense_is_answered_and_the_server_goes_on() -> None:
    async with serving() as server:
        async with connected(server) as wire:
            wire.send(b"\x16\x03\x01\r\n\r\n")
            assert Answered.of(await wire.everything()).status == 400
        assert (await ask(server, "/")).status == 200


async def test_a_request_without_an_end_is_cut_off_at_a_bound() -> None:
    async with serving() as server, connected(server) as wire:
        wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (2 * MOST_HEAD_BYTES))
        assert Answered.of(await wire.everything()).status == 431


async def test_who_sends_a_byte_now_and_then_is_sent_away_and_who_sends_none_too() -> None:
    async with serving(patience=HASTY) as server, connected(server) as slow, connected(server):
        slow.send(b"GET / HT")
        assert Answered.of(await slow.everything()).status == 408
        await soon(lambda: not server.connections, "both are gone")


async def test_beyond_so_many_connections_the_next_one_is_told_to_come_back() -> None:
    async with serving(config(max_connections=3)) as server:
        async with connected(server) as a, connected(server) as b, connected(server) as c:
            await soon(lambda: server.connections == 3, "three are connected")
            refused = await ask(server, "/")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            for wire in (a, b, c):
                wire.send(GET)
                assert Answered.of(await wire.everything()).status == 200
        assert (await ask(server, "/")).status == 200


async def test_hundreds_of_connections_that_say_nothing_leave_their_bound_and_no_more() -> None:
    most = 64
    async with serving(config(max_connections=most)) as server:
        async with asyncio.TaskGroup() as group:
            silent = [group.create_task(_opened(server)) for _ in range(300)]
        served = server.connections
        for each in silent:
            each.result().transport.abort()
        await soon(lambda: not server.connections, "they are forgotten")
        assert served <= most
        assert (await ask(server, "/")).status == 200


async def _opened(server: WebServer) -> asyncio.StreamWriter:
    port = int(server.addresses[0].rpartition(":")[2])
    return (await asyncio.open_connection("127.0.0.1", port))[1]


async def test_events_come_one_after_the_other_until_the_server_ends() -> None:
    async with serving(routes={"/events": counting()}) as server, connected(server) as wire:
        wire.send(GET_EVENTS)
        assert b"text/event-stream" in await wire.line(b"Content-Type:")
        assert await wire.line(b"retry:") == b" 1000"
        first = int(await wire.line(b"data: "))
        assert int(await wire.line(b"data: ")) > first
        await server.stop()
        assert not (await wire.everything()).endswith(b"Error")


async def test_more_streams_than_allowed_are_refused_and_pages_are_not() -> None:
    routes = {"/": Route(hello), "/events": counting()}
    async with serving(config(max_event_streams=1), routes) as server, connected(server) as wire:
        wire.send(GET_EVENTS)
        await wire.line(b"data: ")
        assert (await ask(server, "/events")).status == 503
        assert (await ask(server, "/")).status == 200
        wire.writer.transport.abort()
        await soon(lambda: not server.connections, "they are forgotten")
        async with connected(server) as next_one:
            next_one.send(GET_EVENTS)
            await next_one.line(b"data: ")


async def test_a_client_that_never_reads_is_dropped_and_costs_no_other() -> None:
    async def flood() -> bytes:
        return b"x" * 1_000_000

    routes = {"/": Route(hello), "/events": Route(Feed(flood, period_s=0.0))}
    brief = Patience(write_s=0.3)
    async with serving(routes=routes, patience=brief) as server, connected(server) as deaf:
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        deaf.send(GET_EVENTS)
        await soon(lambda: server.connections == 1, "it is there")
        await soon(lambda: server.connections == 0, "it is dropped")
        assert (await ask(server, "/")).status == 200


async def test_the_end_waits_for_a_reply_under_way_and_not_for_one_that_hangs() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Reply:
        begun.set()
        if request.path == "/slow":
            await may_end.wait()
        else:
            await asyncio.Event().wait()
        return Reply(body=b"in time")

    routes = {"/slow": Route(slow), "/never": Route(slow)}
    async with serving(routes=routes, patience=Patience(end_s=PATIENCE_S)) as server:
        asking = asyncio.create_task(ask(server, "/slow"))
        await begun.wait()
        stopping = asyncio.create_task(server.stop())
        may_end.set()
        assert (await asking).body == b"in time"
        await stopping
    begun.clear()
    async with serving(routes=routes, patience=HASTY) as server, connected(server) as wire:
        wire.send(GET.replace(b"/ ", b"/never ", 1))
        await begun.wait()
        await server.stop()
        assert await wire.is_ended()


async def test_it_may_start_again_at_its_address_and_another_may_not() -> None:
    async with serving() as server:
        place = server.addresses[0].removeprefix("http://")
        with pytest.raises(ConfigError, match=r"cannot listen on .*in use"):
            await WebServer(WebConfig(listen=place), {}).start()
        await server.stop()
        await server.stop()
        assert server.addresses == ()
        again = WebServer(WebConfig(listen=place), {"/": Route(hello)})
        await again.start()
        assert (await ask(again, "/")).status == 200
        await again.stop()


async def test_over_tls_it_answers_who_trusts_it_and_sends_others_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_certificate(tmp_path / "tls")
    settings = config(tls_certificate=made.pem, tls_key=made.key, token=TOKEN)
    trusting = ssl.create_default_context(cafile=made.pem)
    async with serving(settings) as server:
        assert server.addresses[0].startswith("https://127.0.0.1:")
        answered = await ask(server, "/", context=trusting, authorization=f"Bearer {TOKEN}")
        assert (answered.status, answered.body) == (200, b"hello /")
        async with connected(server) as plain:
            plain.send(GET)
            assert await plain.is_ended()
        signed_in = await ask(server, "/login", context=trusting, authorization=f"Bearer {TOKEN}")
        assert "Secure" in signed_in.headers["set-cookie"]
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_files_of_tls_are_looked_at_before_anybody_comes(tmp_path: Path) -> None:
    missing = config(tls_certificate=tmp_path / "c", tls_key=tmp_path / "k")
    with pytest.raises(ConfigError, match="PEM"):
        await WebServer(missing, {}).start()


async def test_another_certificate_and_token_hold_from_the_next_connection_on(
    tmp_path: Path,
) -> None:
    old, new = make_certificate(tmp_path / "old"), make_certificate(tmp_path / "new")
    trusts_old = ssl.create_default_context(cafile=old.pem)
    trusts_new = ssl.create_default_context(cafile=new.pem)
    async with serving(config(tls_certificate=old.pem, tls_key=old.key, token=TOKEN)) as server:
        new.pem.replace(old.pem)
        new.key.replace(old.key)
        await server.renew_certificate()
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(server, "/", context=trusts_old)
        server.use_token(TOKEN[::-1])
        for token, status in ((TOKEN, 401), (TOKEN[::-1], 200)):
            asked = await ask(server, "/", context=trusts_new, authorization=f"Bearer {token}")
            assert asked.status == status


@pytest.mark.parametrize("dates", [OVER, None], ids=["over", "no certificate"])
async def test_a_certificate_that_cannot_be_used_does_not_take_the_place_of_one_that_can(
    tmp_path: Path, dates: tuple[str, str] | None
) -> None:
    made = make_certificate(tmp_path / "tls")
    trusting = ssl.create_default_context(cafile=made.pem)
    settings = config(tls_certificate=made.pem, tls_key=made.key, token=TOKEN)
    async with serving(settings) as server:
        if dates is None:
            made.pem.write_bytes(b"")
        else:
            over = make_certificate(tmp_path / "over", dates)
            over.pem.replace(made.pem)
            over.key.replace(made.key)
        with pytest.raises(ConfigError, match="PEM" if dates is None else "was valid until"):
            await server.renew_certificate()
        answered = await ask(server, "/", context=trusting, authorization=f"Bearer {TOKEN}")
        assert answered.status == 200
    with pytest.raises(ConfigError):
        await WebServer(settings, {}).start()


async def test_who_looks_with_an_old_token_is_let_go() -> None:
    shown = f"\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    settings = config(token=TOKEN)
    async with serving(settings, {"/events": counting()}) as server, connected(server) as wire:
        wire.send(GET_EVENTS.removesuffix(b"\r\n\r\n") + shown)
        assert await wire.line(b"data: ")
        server.use_token(TOKEN)  # the same: nobody has to go
        assert await wire.line(b"data: ")
        server.use_token(TOKEN[::-1])
        await wire.everything()


def test_a_status_of_every_kind_has_its_words() -> None:
    assert b"421 Misdirected Request" in Reply.of(HTTPStatus.MISDIRECTED_REQUEST, "x").encoded()
