"""A caller that speaks HTTP/2 by hand, so that it can say as little as it likes, as slowly."""

import asyncio
import struct
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
STREAM = 1
PACE_S = 0.02

Frame = tuple[int, int, int]


class Loris:
    """One connection with one call, of which the caller never sends a whole message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def arrived(cls, address: str, method: str) -> Self:
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
        )
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)
        caller._writer.write(_frame(HEADERS, END_HEADERS, STREAM, block))
        return caller

    async def drip(self, message_bytes: int) -> Frame:
        """Announce a message of so many bytes and send them one by one; what ended the call: the
        kind, flags and stream of the last frame that came."""
        self._writer.write(_frame(DATA, 0, STREAM, b"\0" + struct.pack(">I", message_bytes)))
        ending = asyncio.create_task(self._ended())
        for _ in range(message_bytes - 1):
            await asyncio.wait({ending}, timeout=PACE_S)
            if ending.done():
                return ending.result()
            self._writer.write(_frame(DATA, 0, STREAM, b"\0"))
        raise AssertionError("the service listened to all of it")

    def leave(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    async def _ended(self) -> Frame:
        while True:
            head = await self._reader.readexactly(9)
            kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
            await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            is_last = kind == HEADERS and flags & END_STREAM
            if is_last or kind in (RST_STREAM, GOAWAY):
                return kind, flags, stream


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """As HPACK writes it in a literal field, whose sign is a zero before it (RFC 7541, 6.2.2)."""
    return bytes([len(text)]) + text.encode()
