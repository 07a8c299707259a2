"""HTTP as far as a page that is only looked at needs it: bytes in, bytes out, no socket.

One request a connection (`Connection: close`), GET and HEAD, no body. What a client may make this
side remember is bounded by the caller, which hands in a whole head of bounded size.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

MOST_HEAD_BYTES = 16 * 1024  # cookies of every other page on this host come with it
MOST_TARGET = 2048
MOST_HEADERS = 100
TEXT = "text/plain; charset=utf-8"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[!-~]*")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What every reply says unless it says otherwise: nothing may be loaded, framed, kept or sniffed.
_GUARDS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

__all__ = ["MOST_HEAD_BYTES", "BadRequestError", "Reply", "Request", "parse_request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `path` ends before the "?", header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_head(self) -> bool:
        """Whether only the head of the reply is wanted."""
        return self.method == "HEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply; `headers` go before those that every reply has."""

    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: HTTPStatus, words: str, **headers: str) -> "Reply":
        """One line of text for people; `retry_after="1"` is the header Retry-After."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return cls(status=status, body=f"{words}\n".encode(), headers=named)

    def encoded(self, *, head_only: bool = False) -> bytes:
        """All of it, or only the head."""
        length = {"Content-Length": str(len(self.body))}
        return self.head(length) + (b"" if head_only else self.body)

    def head(self, more: Mapping[str, str] | None = None) -> bytes:
        """Status line and headers; without a length the body ends with the connection."""
        content = {"Content-Type": self.content_type}
        headers = _GUARDS | content | dict(more or {}) | dict(self.headers)
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class BadRequestError(Exception):
    """What came is no request that is answered here; `reply` says so to whom sent it."""

    def __init__(self, status: HTTPStatus, words: str, **headers: str) -> None:
        super().__init__(words)
        self.reply = Reply.of(status, words, **headers)


def parse_request(head: bytes) -> Request:
    """A request from its head, all bytes up to and with the empty line; BadRequestError."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target = _request_line(first)
    if len(lines) > MOST_HEADERS:
        raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, value = _header(line)
        if name == "host" and name in headers:
            raise _nonsense("two Host headers")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "host" not in headers:
        raise _nonsense("no Host header")
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "send no body")
    return Request(method=method, path=target.partition("?")[0], headers=headers)


def _request_line(line: str) -> tuple[str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not _TOKEN.fullmatch(method) or not version.startswith("HTTP/"):
        raise _nonsense("this is no HTTP request")
    if version not in {"HTTP/1.0", "HTTP/1.1"}:
        raise BadRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "use HTTP/1.1")
    if method not in {"GET", "HEAD"}:
        raise BadRequestError(
            HTTPStatus.METHOD_NOT_ALLOWED, "this page is only looked at", allow="GET, HEAD"
        )
    if len(target) > MOST_TARGET:
        raise BadRequestError(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
    if not _TARGET.fullmatch(target):
        raise _nonsense("this is no path")
    return method, target


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise _nonsense("a header is broken")
    return name.lower(), value.strip(" \t")


def _nonsense(words: str) -> BadRequestError:
    return BadRequestError(HTTPStatus.BAD_REQUEST, words)
