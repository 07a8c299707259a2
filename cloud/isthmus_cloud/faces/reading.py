"""How the messages of calls are read: measured and counted first, parsed second.

A message of a few megabytes can hold a million empty fields, which would keep the event loop busy
for seconds. So the fields of our own messages are counted in the bytes as they came. The Open
Inference Protocol and the health service count theirs themselves, see `isthmus.oip.wire`.

gRPC has one bound for the messages of all calls, and requests for answers may be greater than any
frame. So a frame is held to what is served when it has come, before it is parsed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from isthmus import WireError
from isthmus.message_fields import check_fields
from isthmus.v1 import split_pb2, store_pb2

__all__ = ["COUNTED", "MessageSizes", "reader_of"]

Read = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSizes:
    """What messages may take: `most` bytes those of any call, which gRPC sees to; those of the
    stream of frames what `frame` says at that moment, the largest frame of what is served."""

    most: int
    frame: Callable[[], int]


def reader_of(
    method: str, parse: Read | None, most_bytes: Callable[[], int] | None = None
) -> Read | None:
    """What is to read the messages of a method ("/package.Service/Method") in the place of `parse`,
    which is None where bytes are taken as they are.

    It raises WireError for bytes that are no such message, for more of them than `most_bytes` says,
    and for a message of ours that has more fields than any needs (`COUNTED`): before anything of it
    is in memory but its bytes.
    """
    if parse is None:
        return None
    kind = COUNTED.get(method)

    def read(raw: bytes) -> Any:
        if most_bytes is not None:
            _check_size(raw, most_bytes())
        if kind is not None:
            check_fields(raw, kind)
        try:
            return parse(raw)
        except DecodeError as error:
            raise WireError("bytes came that are no message of this protocol") from error

    return read


def _check_size(raw: bytes, most: int) -> None:
    if len(raw) > most:
        raise WireError(
            f"a message of {len(raw)} bytes came; those of the bundles that are served here take "
            f"at most {most}"
        )


def _methods() -> Iterator[tuple[str, Descriptor]]:
    for file in (split_pb2.DESCRIPTOR, store_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method.input_type


COUNTED = dict(_methods())
