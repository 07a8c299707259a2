"""How many fields a message has, counted in its bytes before it is parsed.

An empty message inside a message takes two bytes on the wire and some ninety in memory, a number
one byte and eight. So the fields of a message and of those inside it are counted by their headers,
and the numbers that are packed into them: a few milliseconds at most, and no memory.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from isthmus.errors import WireError

MAX_FIELDS = 4096  # of one message: it has some ten for each tensor, parameter and file
MAX_NUMBERS = 4096  # packed into a message of ours, which names at most 1024 frames
MAX_SHAPE_BYTES = 64  # of the dimensions of one tensor

_LEAST_FIELD_BYTES = 2  # a header, and a number, a length or a group's end
_WIRE_TYPES = frozenset({0, 1, 2, 5})  # varint, 8 bytes, length and content, 4 bytes
_NOT_PACKED = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})
_WIDTHS = {FieldDescriptor.TYPE_FLOAT: 4, FieldDescriptor.TYPE_DOUBLE: 8}  # else varints

__all__ = ["MAX_FIELDS", "MAX_NUMBERS", "MAX_SHAPE_BYTES", "FieldBudget", "check_fields"]


def check_fields(raw: bytes, kind: Descriptor) -> None:
    """WireError for bytes of a message of this kind that has more than `MAX_FIELDS` fields, or more
    than `MAX_NUMBERS` packed numbers. Whether they are such a message at all, the parser says.

    Bytes that are too few for that are not looked at: heartbeats and small frames cost nothing.
    """
    if len(raw) < min(MAX_FIELDS * _LEAST_FIELD_BYTES, MAX_NUMBERS):
        return
    if not FieldBudget(MAX_FIELDS, MAX_NUMBERS).allows(memoryview(raw), kind):
        raise WireError(
            f"a message came that has groups, more than {MAX_FIELDS} fields or more than "
            f"{MAX_NUMBERS} numbers; no {kind.name} of this protocol has"
        )


@dataclass(slots=True)
class FieldBudget:
    """What a message may still hold: fields, and packed numbers."""

    fields: int
    numbers: int

    def allows(self, raw: memoryview, kind: Descriptor) -> bool:
        """Whether these fields, with those of messages inside, are within it; at most
        `MAX_SHAPE_BYTES` of a field `shape`, whose numbers are not counted.

        A field that is cut short ends the counting: the parser will say so. Groups, which no
        protocol here has, are not allowed.
        """
        known = _known_fields(kind)
        at = 0
        while at < len(raw):
            tag, at = _varint(raw, at)
            start, at = _field(raw, at, tag & 7)
            self.fields -= 1
            if tag & 7 not in _WIRE_TYPES or self.fields < 0:
                return False
            field = known.get(tag >> 3) if tag & 7 == 2 else None
            if field is not None and not self._holds(raw[start:at], field):
                return False
        return True

    def _holds(self, content: memoryview, field: FieldDescriptor) -> bool:
        if field.message_type is not None:
            return self.allows(content, field.message_type)
        if field.name == "shape":
            return len(content) <= MAX_SHAPE_BYTES
        self.numbers -= _packed(content, field)
        return self.numbers >= 0


@cache
def _known_fields(kind: Descriptor) -> dict[int, FieldDescriptor]:
    """Those whose content is to be looked at, by number: messages and packed numbers."""
    return {field.number: field for field in kind.fields if field.type not in _NOT_PACKED}


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
    if at < len(raw) and raw[at] < 0x80:  # most are this short
        return raw[at], at + 1
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
