"""Bytes to messages, once they are known to be no bomb; see `isthmus.message_fields`."""

from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from isthmus.message_fields import MAX_FIELDS, MAX_SHAPE_BYTES, FieldBudget

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
    if not FieldBudget(MAX_FIELDS, max_elements).allows(memoryview(raw), fields):
        return None
    try:
        return kind.FromString(raw)
    except DecodeError:
        return None
