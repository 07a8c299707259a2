"""Requests are read strictly; replies say what nobody may do with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.web.messages import (
    MOST_HEADERS,
    MOST_TARGET,
    BadRequestError,
    Reply,
    Request,
    parse_request,
)

USUAL = "Host: localhost\r\n"


def parsed(line: str, headers: str = USUAL) -> Request:
    return parse_request(f"{line}\r\n{headers}\r\n".encode("latin-1"))


def status_of(line: str, headers: str = USUAL) -> int:
    with pytest.raises(BadRequestError) as caught:
        parsed(line, headers)
    return caught.value.reply.status.value


def test_a_request_is_method_path_and_headers() -> None:
    request = parsed("HEAD /a/b?c=d HTTP/1.1", "Host: x:1\r\nAccept: a\r\nACCEPT:\t b \r\n")
    assert request.is_head
    assert request.path == "/a/b"
    assert request.headers == {"host": "x:1", "accept": "a, b"}
    assert not parsed("GET / HTTP/1.0").is_head


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("POST / HTTP/1.1", 405),
        ("OPTIONS / HTTP/1.1", 405),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/1.1x", 505),
        ("GET http://elsewhere/ HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /\u00e4 HTTP/1.1", 400),
        ("GET  HTTP/1.1", 400),
        ("GET /", 400),
        ("", 400),
        ("\x16\x03\x01", 400),
        (f"GET /{'x' * MOST_TARGET} HTTP/1.1", 414),
    ],
)
def test_what_is_no_request_here_is_refused(line: str, status: int) -> None:
    assert status_of(line) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("", 400),
        ("Accept: x\r\n", 400),
        ("Host: a\r\nhost: b\r\n", 400),
        ("Host: a\r\n continued\r\n", 400),
        ("Host: a\r\nno colon\r\n", 400),
        ("Host: a\r\nbad name: x\r\n", 400),
        ("Host: a\r\nX: \x00\r\n", 400),
        ("Host: a\nEvil: x\r\n", 400),
        (USUAL + "Content-Length: 5\r\n", 413),
        (USUAL + "Content-Length: 0, 5\r\n", 413),
        (USUAL + "Transfer-Encoding: chunked\r\n", 413),
        (USUAL + "A: b\r\n" * MOST_HEADERS, 431),
    ],
)
def test_headers_that_are_broken_too_many_or_announce_a_body_are_refused(
    headers: str, status: int
) -> None:
    assert status_of("GET / HTTP/1.1", headers) == status


def test_a_body_of_no_bytes_is_none() -> None:
    assert parsed("GET / HTTP/1.1", USUAL + "Content-Length: 0\r\n").path == "/"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error_that_can_be_told(junk: bytes) -> None:
    try:
        told = parse_request(junk + b"\r\n\r\n").path
    except BadRequestError as error:
        told = f"/{error.reply.status.value}"
    assert told.startswith("/")


def test_a_reply_may_not_be_kept_framed_sniffed_or_load_anything() -> None:
    head = Reply(body=b"abc").encoded(head_only=True).decode()
    assert "Content-Length: 3\r\n" in head
    assert head.endswith("\r\n\r\n")
    for line in (
        "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
    ):
        assert f"{line}\r\n" in head
    assert "Access-Control" not in head
    assert "Server:" not in head
