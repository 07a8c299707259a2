"""A caller that speaks HTTP/2 by hand, so that it can say as little as it likes, as slowly."""

import asyncio
import struct
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
STREAM = 1
PACE_S = 0.02


class Loris:
    """One connection with one call, of which the caller never sends a whole message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def arrived(cls, address: str, method: str, *metadata: tuple[str, str]) -> Self:
        """Connect and begin a call."""
        host, _, port = address.rpartition(":")
        caller = cls(*await asyncio.open_connection(host, int(port)))
        caller._writer.write(PREFACE + _frame(SETTINGS, 0, 0, b""))
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", address),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *metadata,
        )
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)
        caller._writer.write(_frame(HEADERS, END_HEADERS, STREAM, block))
        return caller

    async def drip(self, message_bytes: int) -> tuple[str, int]:
        """Announce a message of so many bytes and send them one by one; the status that ended the
        call, and how many were sent by then."""
        self._writer.write(_frame(DATA, 0, STREAM, b"\0" + struct.pack(">I", message_bytes)))
        ending = asyncio.create_task(self._ended())
        for sent in range(message_bytes - 1):
            await asyncio.wait({ending}, timeout=PACE_S)
            if ending.done():
                return ending.result(), sent
            self._writer.write(_frame(DATA, 0, STREAM, b"\0"))
        raise AssertionError("the service listened to all of it")

    def leave(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    async def _ended(self) -> str:
        while True:
            head = await self._reader.readexactly(9)
            kind, flags = head[3], head[4]
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == HEADERS and flags & END_STREAM:
                return _status(payload)
            if kind in (RST_STREAM, GOAWAY):
                return f"frame {kind}"


def _status(block: bytes) -> str:
    """The number behind "grpc-status", which gRPC writes as a literal of one or two digits."""
    rest = block.partition(b"grpc-status")[2]
    return rest[1 : 1 + rest[0]].decode() if rest else f"no status in {block!r}"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """As HPACK writes it in a literal field, whose sign is a zero before it (RFC 7541, 6.2.2)."""
    return bytes([len(text)]) + text.encode()
