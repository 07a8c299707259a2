"""Bytes to messages, once they are known to be no bomb.

An empty message inside a message takes two bytes on the wire and some ninety in memory. So the
fields of a message and of those inside it are counted, by their headers, before it is parsed.
"""

from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

MAX_FIELDS = 4096  # a request has some ten for each tensor and parameter

_WIRE_TYPES = frozenset({0, 1, 2, 5})  # varint, 8 bytes, length and content, 4 bytes

AnyMessage = TypeVar("AnyMessage", bound=Message)

NO_MESSAGE = (
    f"bytes came that are no message of this protocol, or one of more than {MAX_FIELDS} fields"
)

__all__ = ["MAX_FIELDS", "NO_MESSAGE", "parsed"]


def parsed(kind: type[AnyMessage], raw: bytes) -> AnyMessage | None:
    """The message, or None for bytes that are none or have more than `MAX_FIELDS` fields."""
    fields = cast(Descriptor, kind.DESCRIPTOR)  # typed as one of two implementations
    if _count(memoryview(raw), fields, MAX_FIELDS) > MAX_FIELDS:
        return None
    try:
        return kind.FromString(raw)
    except DecodeError:
        return None


def _count(raw: memoryview, kind: Descriptor, limit: int) -> int:
    """Number of fields, with those of messages inside; counting ends above `limit`.

    A field that is cut short ends it, too: the parser will say so. Groups, which this protocol has
    none of, count as too many.
    """
    count, at = 0, 0
    while at < len(raw) and count <= limit:
        tag, at = _varint(raw, at)
        if tag & 7 not in _WIRE_TYPES:
            return limit + 1
        start, at = _field(raw, at, tag & 7)
        count += 1
        field = kind.fields_by_number.get(tag >> 3)
        if tag & 7 == 2 and field is not None and field.message_type is not None:
            count += _count(raw[start:at], field.message_type, limit - count)
    return count


def _field(raw: memoryview, at: int, wire_type: int) -> tuple[int, int]:
    """Where the content of a field begins and ends."""
    match wire_type:
        case 0:
            return at, _varint(raw, at)[1]
        case 1:
            return at, at + 8
        case 2:
            length, start = _varint(raw, at)
            return start, start + length
        case _:
            return at, at + 4


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    return 0, len(raw)
