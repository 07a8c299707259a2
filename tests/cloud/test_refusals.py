"""What comes from outside and is wrong: it is named, it costs one frame, and nothing leaks."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import pytest
import zstandard
from tests.cloud.device import Device, Head, connected
from tests.cloud.gated import BrokenTail, GatedTail
from tests.cloud.serving import answering, listening

from isthmus import Bundle, open_bundle
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService, ServiceConfig
from isthmus_cloud.answering.parts import Tail

Damage = Callable[[pb.Payload], None]

WHOLE = 8 * 16 * 16  # symbols of the cut's tensor


def packed_by_zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def as_mask(payload: pb.Payload, mask: bytes, others: bytes) -> None:
    coded = packed_by_zstd(mask)
    payload.data, payload.mask_bytes = coded + packed_by_zstd(others), len(coded)
    payload.packing, payload.stored = pb.PACKING_MASK, False


def stored_but_too_short(payload: pb.Payload) -> None:
    payload.data, payload.stored = bytes(WHOLE - 1), True


def too_large(payload: pb.Payload) -> None:
    payload.data, payload.stored = bytes(WHOLE + 1), True


def truncated(payload: pb.Payload) -> None:
    payload.data = payload.data[:-5]


def followed_by_more(payload: pb.Payload) -> None:
    payload.data += b"more"


def said_to_be_stored(payload: pb.Payload) -> None:
    payload.stored = True


def empty(payload: pb.Payload) -> None:
    payload.data = b""


def nothing_at_all(payload: pb.Payload) -> None:
    payload.Clear()


def garbage(payload: pb.Payload) -> None:
    payload.data = b"\xff" * 100


def a_bomb(payload: pb.Payload) -> None:
    payload.data = packed_by_zstd(bytes(8 * 1024 * 1024))


def a_bomb_that_hides_its_size(payload: pb.Payload) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    payload.data = compressor.compress(bytes(8 * 1024 * 1024))


def other_levels(payload: pb.Payload) -> None:
    payload.data, payload.packing = packed_by_zstd(bytes(WHOLE // 2)), pb.PACKING_PAIRS


def an_unknown_packing(payload: pb.Payload) -> None:
    payload.packing = 7  # type: ignore[assignment]  # proto3 lets any number pass


def mask_bytes_without_a_mask(payload: pb.Payload) -> None:
    payload.mask_bytes = 1


def a_mask_without_mask_bytes(payload: pb.Payload) -> None:
    payload.packing = pb.PACKING_MASK


def a_mask_of_all_bytes(payload: pb.Payload) -> None:
    payload.packing, payload.mask_bytes = pb.PACKING_MASK, len(payload.data)


def a_mask_beyond_the_payload(payload: pb.Payload) -> None:
    payload.packing, payload.mask_bytes = pb.PACKING_MASK, 2**32 - 1


def a_mask_that_is_none(payload: pb.Payload) -> None:
    payload.packing, payload.mask_bytes = pb.PACKING_MASK, 5


def a_stored_mask(payload: pb.Payload) -> None:
    as_mask(payload, bytes(WHOLE // 8), b"")
    payload.stored = True


def a_mask_of_another_size(payload: pb.Payload) -> None:
    as_mask(payload, bytes(WHOLE // 8 + 1), b"")


def a_mask_that_is_a_bomb(payload: pb.Payload) -> None:
    as_mask(payload, bytes(8 * 1024 * 1024), b"")


def fewer_symbols_than_the_mask_has_bits(payload: pb.Payload) -> None:
    as_mask(payload, b"\xff" + bytes(WHOLE // 8 - 1), bytes(7))


def more_symbols_than_the_mask_has_bits(payload: pb.Payload) -> None:
    as_mask(payload, bytes(WHOLE // 8), bytes(WHOLE))


DAMAGES = [
    stored_but_too_short,
    too_large,
    truncated,
    followed_by_more,
    said_to_be_stored,
    empty,
    nothing_at_all,
    garbage,
    a_bomb,
    a_bomb_that_hides_its_size,
    other_levels,
    an_unknown_packing,
    mask_bytes_without_a_mask,
    a_mask_without_mask_bytes,
    a_mask_of_all_bytes,
    a_mask_beyond_the_payload,
    a_mask_that_is_none,
    a_stored_mask,
    a_mask_of_another_size,
    a_mask_that_is_a_bomb,
    fewer_symbols_than_the_mask_has_bits,
    more_symbols_than_the_mask_has_bits,
]


async def _still_answers(device: Device, head: Head) -> None:
    await device.send(frame=head.frame("cut-16", sequence=99))
    assert (await device.result()).sequence == 99


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_damaged_payload_is_refused_and_the_next_frame_answered(
    device: Device, head: Head, damage: Damage
) -> None:
    frame = head.frame("cut-256", sequence=5)
    damage(frame.payloads[0])
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (5, pb.ERROR_CODE_BAD_FRAME)
    assert "'boundary'" in error.message
    await _still_answers(device, head)


@pytest.mark.parametrize("payload", [b"", b"\xff\xd8\xff\xe0 no more", b"\x89PNG\r\n\x1a\n"])
async def test_what_is_no_jpeg_is_refused(device: Device, head: Head, payload: bytes) -> None:
    frame = head.frame("input-jpeg-q95", sequence=5)
    frame.payloads[0].data = payload
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (5, pb.ERROR_CODE_BAD_FRAME)
    assert "'picture'" in error.message
    await _still_answers(device, head)


def stored(payload: pb.Payload) -> None:
    payload.stored = True


def not_stored(payload: pb.Payload) -> None:
    payload.stored = False


def as_pairs(payload: pb.Payload) -> None:
    payload.packing = pb.PACKING_PAIRS


def a_byte_less(payload: pb.Payload) -> None:
    payload.data = payload.data[:-1]


def a_byte_more(payload: pb.Payload) -> None:
    payload.data += b"x"


@pytest.mark.parametrize(
    ("candidate", "damage"),
    [
        ("input-jpeg-q95", stored),
        ("input-jpeg-q95", as_pairs),
        ("input-jpeg-q95", mask_bytes_without_a_mask),
        ("input-raw", not_stored),
        ("input-raw", as_pairs),
        ("input-raw", a_byte_less),
        ("input-raw", a_byte_more),
    ],
)
async def test_a_picture_with_the_marks_of_another_encoding_is_refused(
    device: Device, head: Head, candidate: str, damage: Damage
) -> None:
    frame = head.frame(candidate, sequence=5)
    damage(frame.payloads[0])
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (5, pb.ERROR_CODE_BAD_FRAME)
    assert "'picture'" in error.message
    await _still_answers(device, head)


@pytest.mark.parametrize("count", [0, 2, 1000])
async def test_a_frame_with_another_number_of_payloads_is_refused(
    device: Device, head: Head, count: int
) -> None:
    frame = pb.Frame(sequence=5, candidate="cut-256", payloads=[pb.Payload()] * count)
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (5, pb.ERROR_CODE_BAD_FRAME)
    assert f"one payload for each of boundary; the frame has {count}" in error.message
    await _still_answers(device, head)


@pytest.mark.parametrize("rung", [1, 2**32 - 1])
async def test_a_rung_that_the_ladder_lacks_is_refused(
    device: Device, head: Head, rung: int
) -> None:
    frame = head.frame("cut-256", sequence=5)
    frame.rung = rung
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (5, pb.ERROR_CODE_BAD_FRAME)
    assert f"rung {rung} of candidate 'cut-256', which has 1" in error.message
    await _still_answers(device, head)


@pytest.mark.parametrize("candidate", ["", "local", "cut-8", "x" * 20_000])
async def test_a_candidate_without_a_tail_is_refused(
    device: Device, head: Head, candidate: str
) -> None:
    frame = head.frame("cut-256", sequence=5)
    frame.candidate = candidate
    await device.send(frame=frame)
    error = await device.error()
    assert (error.sequence, error.code) == (5, pb.ERROR_CODE_UNKNOWN_CANDIDATE)
    assert "input-raw, input-jpeg-q95, cut-256, cut-16" in error.message
    assert len(error.message) < 500
    await _still_answers(device, head)


async def test_a_frame_beyond_the_announced_size_ends_its_stream_only(
    service: RunningService, device: Device, head: Head, bundle: Bundle
) -> None:
    async with connected(service.address) as hostile:
        welcome = (await hostile.hello(bundle.fingerprint)).welcome
        frame = head.frame("cut-256")
        frame.payloads[0].data = bytes(welcome.max_frame_bytes)
        await hostile.send(frame=frame)
        error = await hostile.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        assert f"take at most {welcome.max_frame_bytes}" in error.message
        assert await hostile.ended() is grpc.StatusCode.OK
    await _still_answers(device, head)


async def test_more_frames_than_the_window_are_refused_one_by_one(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        window = (await device.hello(bundle.fingerprint)).welcome.window
        for sequence in range(1, window + 3):
            await device.send(frame=head.frame("cut-16", sequence))
        refused = [await device.error(), await device.error()]
        assert [error.sequence for error in refused] == [window + 1, window + 2]
        assert {error.code for error in refused} == {pb.ERROR_CODE_OVERLOADED}
        gate.let_pass(window)
        answered = {(await device.result()).sequence for _ in range(window)}
        assert answered == set(range(1, window + 1))
        gate.let_pass()
        await device.send(frame=head.frame("cut-16", window + 3))
        assert (await device.result()).sequence == window + 3


async def test_a_failure_inside_is_logged_and_never_told(
    bundle: Bundle, config: ServiceConfig, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    tails = {"input": BrokenTail(), "cut": BrokenTail()}
    with answering(bundle.manifest, tails) as answerer, caplog.at_level(logging.ERROR):
        async with (
            listening(config, bundle, answerer) as service,
            connected(service.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            for sequence in (1, 2):
                await device.send(frame=head.frame("cut-16", sequence))
                error = await device.error()
                assert (error.sequence, error.code) == (sequence, pb.ERROR_CODE_INTERNAL)
                assert error.message == "the service failed on this frame"
    assert "secret of the house" in caplog.text


async def test_another_bundle_is_refused_with_both_fingerprints(
    service: RunningService, other_bundle: Path, bundle: Bundle
) -> None:
    other = open_bundle(other_bundle, "device")
    async with connected(service.address) as device:
        error = (await device.hello(other.fingerprint)).error
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_BUNDLE_MISMATCH)
        assert bundle.fingerprint[:12] in error.message
        assert other.fingerprint[:12] in error.message
        assert error.message.endswith("differ")  # how to mend it, the device knows
        assert await device.ended() is grpc.StatusCode.OK


OUT_OF_ORDER = {
    "a frame before Hello": pb.EdgeMessage(frame=pb.Frame(sequence=1)),
    "a heartbeat before Hello": pb.EdgeMessage(heartbeat=pb.Heartbeat(id=1)),
    "an empty message": pb.EdgeMessage(),
    "another protocol": pb.EdgeMessage(hello=pb.Hello(protocol=PROTOCOL + 1)),
}


async def test_a_device_of_another_protocol_hears_of_that_whatever_its_id(
    service: RunningService,
) -> None:
    async with connected(service.address) as device:
        await device.send(hello=pb.Hello(protocol=PROTOCOL + 1, session_id="x" * 65))
        assert "install the same version" in (await device.error()).message


@pytest.mark.parametrize("message", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER.keys())
async def test_a_message_out_of_order_ends_the_stream(
    service: RunningService, message: pb.EdgeMessage
) -> None:
    async with connected(service.address) as device:
        await device.call.write(message)
        error = await device.error()
        assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)
        assert await device.ended() is grpc.StatusCode.OK


async def test_a_repeated_sequence_ends_the_stream_without_a_second_answer(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    """The frame in flight is given up; the device learns why from the last message."""
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16", 1))
        await gate.begun()
        await device.send(frame=head.frame("cut-16", 1))
        assert (await device.error()).code == pb.ERROR_CODE_PROTOCOL
        await device.ended()


async def test_every_candidate_with_a_tail_is_ready(
    bundle: Bundle, tails: Mapping[str, Tail]
) -> None:
    with answering(bundle.manifest, tails) as answerer:
        assert answerer.candidates == ("input-raw", "input-jpeg-q95", "cut-256", "cut-16")
