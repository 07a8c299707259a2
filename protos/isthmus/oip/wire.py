"""Bytes to messages, once they are known to be no bomb.

An empty message inside a message takes two bytes on the wire and some ninety in memory, a number
one byte and eight. So the fields of a message and of those inside it are counted, by their headers,
and the numbers that are packed into them, before it is parsed.
"""

from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

MAX_FIELDS = 4096  # a request has some ten for each tensor and parameter
MAX_SHAPE_BYTES = 64  # of the dimensions of one tensor

_WIRE_TYPES = frozenset({0, 1, 2, 5})  # varint, 8 bytes, length and content, 4 bytes
_NOT_PACKED = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})
_WIDTHS = {FieldDescriptor.TYPE_FLOAT: 4, FieldDescriptor.TYPE_DOUBLE: 8}  # else varints

AnyMessage = TypeVar("AnyMessage", bound=Message)

NO_MESSAGE = (
    f"bytes came that are no message of this protocol, or one of more than {MAX_FIELDS} fields, or "
    "of more numbers than the model takes; large tensors come in raw_input_contents"
)

__all__ = ["MAX_FIELDS", "MAX_SHAPE_BYTES", "NO_MESSAGE", "parsed"]


def parsed(kind: type[AnyMessage], raw: bytes, max_elements: int = 0) -> AnyMessage | None:
    """The message, or None for bytes that are none, or that would take too much memory.

    That is with more than `MAX_FIELDS` fields, `MAX_SHAPE_BYTES` of a shape, or, in all packed
    fields together, more than `max_elements` numbers.
    """
    fields = cast(Descriptor, kind.DESCRIPTOR)  # typed as one of two implementations
    if not _Budget(MAX_FIELDS, max_elements).allows(memoryview(raw), fields):
        return None
    try:
        return kind.FromString(raw)
    except DecodeError:
        return None


@dataclass(slots=True)
class _Budget:
    """What a message may still hold."""

    fields: int
    elements: int

    def allows(self, raw: memoryview, kind: Descriptor) -> bool:
        """Whether these fields, with those of messages inside, are within it.

        A field that is cut short ends the counting: the parser will say so. Groups, which this
        protocol has none of, are not allowed.
        """
        at = 0
        while at < len(raw):
            tag, at = _varint(raw, at)
            start, at = _field(raw, at, tag & 7)
            self.fields -= 1
            if tag & 7 not in _WIRE_TYPES or self.fields < 0:
                return False
            field = kind.fields_by_number.get(tag >> 3)
            if tag & 7 == 2 and field is not None and not self._holds(raw[start:at], field):
                return False
        return True

    def _holds(self, content: memoryview, field: FieldDescriptor) -> bool:
        if field.message_type is not None:
            return self.allows(content, field.message_type)
        if field.type in _NOT_PACKED:
            return True
        if field.name == "shape":
            return len(content) <= MAX_SHAPE_BYTES
        self.elements -= _packed(content, field)
        return self.elements >= 0


def _packed(content: memoryview, field: FieldDescriptor) -> int:
    """How many numbers a packed field holds; each varint ends with a byte below 128."""
    if field.type in _WIDTHS:
        return len(content) // _WIDTHS[field.type]
    return int(np.count_nonzero(np.frombuffer(content, np.uint8) < 0x80))


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
