"""Fields are counted before anything is parsed, whatever message they are in."""

from typing import cast

import pytest
from google.protobuf.descriptor import Descriptor

from isthmus import WireError
from isthmus.message_fields import MAX_FIELDS, MAX_NUMBERS, check_fields
from isthmus.v1 import split_pb2 as pb

KIND = cast("Descriptor", pb.EdgeMessage.DESCRIPTOR)  # typed as one of two implementations
FRAME = pb.EdgeMessage(
    frame=pb.Frame(
        sequence=2**40,
        candidate="cut-16",
        traceparent="0" * 55,
        payloads=[pb.Payload(data=bytes(5000), mask_bytes=9)] * 30,
    )
)


def test_a_frame_of_many_tensors_is_let_through() -> None:
    check_fields(FRAME.SerializeToString(), KIND)


@pytest.mark.parametrize(
    "bomb",
    [
        pb.EdgeMessage(frame=pb.Frame(payloads=[pb.Payload()] * (MAX_FIELDS + 1))),
        pb.EdgeMessage(audit=pb.Audit(input=pb.Frame(payloads=[pb.Payload()] * (MAX_FIELDS + 1)))),
        pb.EdgeMessage(cancel=pb.Cancel(sequences=range(MAX_NUMBERS + 1))),
        pb.EdgeMessage(hello=pb.Hello(unanswered=range(MAX_NUMBERS + 1))),
    ],
    ids=["payloads", "payloads of an audit", "cancelled", "unanswered"],
)
def test_a_message_that_would_be_large_in_memory_is_refused(bomb: pb.EdgeMessage) -> None:
    with pytest.raises(WireError, match="no EdgeMessage of this protocol has"):
        check_fields(bomb.SerializeToString(), KIND)


@pytest.mark.parametrize(
    "piece",
    [b"\x78\x00", b"\x22\x00", b"\x0a\x00", b"\x0b\x0c"],
    ids=["unknown", "the same again", "another again", "group"],
)
def test_fields_that_come_again_count_again(piece: bytes) -> None:
    check_fields(piece * 1000, KIND)  # short ones are not looked at
    with pytest.raises(WireError):
        check_fields(piece * (MAX_FIELDS + 1), KIND)


def test_as_many_as_are_allowed_are_let_through() -> None:
    within = pb.EdgeMessage(frame=pb.Frame(payloads=[pb.Payload()] * (MAX_FIELDS - 1)))
    check_fields(within.SerializeToString(), KIND)
    named = pb.EdgeMessage(cancel=pb.Cancel(sequences=range(MAX_NUMBERS)))
    check_fields(named.SerializeToString(), KIND)


def test_numbers_that_come_one_by_one_count_as_fields() -> None:
    one = b"\x08\x01"  # Cancel.sequences, not packed
    body = one * MAX_FIELDS
    message = b"\x22" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body
    assert len(pb.EdgeMessage.FromString(message).cancel.sequences) == MAX_FIELDS
    with pytest.raises(WireError):
        check_fields(message, KIND)


@pytest.mark.parametrize("cut", [1, 10, 5000])
def test_what_is_cut_short_is_left_to_the_parser(cut: int) -> None:
    check_fields(FRAME.SerializeToString()[:-cut], KIND)
