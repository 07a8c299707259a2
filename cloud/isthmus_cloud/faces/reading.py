"""How the messages of calls are read: counted first, parsed second.

A message of a few megabytes can hold a million empty fields, which would keep the event loop busy
for seconds. So the fields of our own messages are counted in the bytes as they came. The Open
Inference Protocol and the health service count theirs themselves, see `isthmus.oip.wire`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from isthmus import WireError
from isthmus.message_fields import check_fields
from isthmus.v1 import split_pb2, store_pb2

__all__ = ["COUNTED", "reader_of"]

Read = Callable[[bytes], Any]


def reader_of(method: str, parse: Read | None) -> Read | None:
    """What is to read the messages of a method ("/package.Service/Method") in the place of `parse`,
    which is None where bytes are taken as they are.

    It raises WireError for bytes that are no such message, and for a message of ours that has more
    fields than any needs (`COUNTED`): before anything of it is in memory but its bytes.
    """
    if parse is None:
        return None
    kind = COUNTED.get(method)

    def read(raw: bytes) -> Any:
        if kind is not None:
            check_fields(raw, kind)
        try:
            return parse(raw)
        except DecodeError as error:
            raise WireError("bytes came that are no message of this protocol") from error

    return read


def _methods() -> Iterator[tuple[str, Descriptor]]:
    for file in (split_pb2.DESCRIPTOR, store_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method.input_type


COUNTED = dict(_methods())
