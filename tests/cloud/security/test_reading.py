"""A message of a million fields is refused before it is parsed, on every call of ours."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from tests.cloud.device import GUARD_S, Device, Head, connected

from isthmus import Bundle, WireError
from isthmus.message_fields import MAX_FIELDS
from isthmus.v1 import split_pb2, store_pb2
from isthmus_cloud import RunningService
from isthmus_cloud.faces.reading import COUNTED, reader_of

STREAM = "/isthmus.v1.Split/Stream"
BOMB = b"\x78\x00" * 1_000_000  # fields that no message has: it is one of each kind


def never(raw: bytes) -> None:
    raise AssertionError(f"{len(raw)} bytes were parsed")


def test_all_calls_of_the_contract_are_counted() -> None:
    services = {"Split": split_pb2.DESCRIPTOR, "Store": store_pb2.DESCRIPTOR}
    services["Bundles"] = store_pb2.DESCRIPTOR
    assert set(COUNTED) == {
        f"/isthmus.v1.{name}/{method}"
        for name, file in services.items()
        for method in file.services_by_name[name].methods_by_name
    }
    assert COUNTED[STREAM] is split_pb2.EdgeMessage.DESCRIPTOR


@pytest.mark.parametrize("method", sorted(COUNTED))
def test_a_message_of_too_many_fields_is_not_parsed(method: str) -> None:
    read = reader_of(method, never)
    assert read is not None
    with pytest.raises(WireError, match=f"more than {MAX_FIELDS} fields"):
        read(BOMB)


def test_a_message_that_is_too_large_at_that_moment_is_not_parsed() -> None:
    most = [4]
    read = reader_of(STREAM, len, lambda: most[0])
    assert read is not None
    assert read(b"1234") == 4
    with pytest.raises(WireError, match=r"5 bytes came; .* at most 4"):
        read(b"12345")
    most[0] = 5
    assert read(b"12345") == 5


def test_what_is_no_message_is_said_to_be_none() -> None:
    def parse(_: bytes) -> None:
        raise DecodeError("an inside")

    read = reader_of("/f/other", parse)
    assert read is not None
    with pytest.raises(WireError, match="no message of this protocol") as told:
        read(b"\xff")
    assert "inside" not in str(told.value)


def test_bytes_that_are_taken_as_they_are_stay_so() -> None:
    assert reader_of(STREAM, None) is None


async def test_a_stream_with_such_a_message_is_refused_and_no_other(
    service: RunningService, device: Device, bundle: Bundle, head: Head
) -> None:
    async with connected(service.address) as hostile:
        await hostile.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16"))
        crowded = split_pb2.Frame(payloads=[split_pb2.Payload()] * (MAX_FIELDS + 1))
        await hostile.send(frame=crowded)
        refused = await hostile.error()
        assert (refused.sequence, refused.code) == (0, split_pb2.ERROR_CODE_PROTOCOL)
        assert f"more than {MAX_FIELDS} fields" in refused.message
        assert await hostile.ended() is grpc.StatusCode.OK
    assert (await device.result()).sequence == 1
    await device.roundtrip()


async def test_a_call_with_such_a_message_is_told_so(service: RunningService) -> None:
    async with grpc.aio.insecure_channel(service.address) as channel:
        call: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with asyncio.timeout(GUARD_S):
                await call(b"\x78\x00" * (MAX_FIELDS + 1))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
