"""What a stranger, a bad link or a bad memory may make of a frame."""

from collections.abc import Callable, Sequence
from random import Random

import zstandard

from isthmus.v1 import split_pb2 as pb

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x50\x2a\x4d\x18"
UNKNOWN = -1
HUGE = (1 << 20, 1 << 24, 1 << 28, (1 << 31) - 1, 1 << 32, 1 << 40, 1 << 63, (1 << 64) - 1)
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 59, 60, 77, 255, 65_536, (1 << 31) - 1, (1 << 32) - 1)
MARKS = (*NUMBERS, (1 << 63) - 1, (1 << 64) - 1)

Edit = Callable[[Random, pb.Frame], None]

__all__ = ["mutated"]


def mutated(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """One to three edits of the fields, and now and then of the bytes; or of the bytes alone."""
    edits = random.choice((0, 1, 1, 1, 1, 2, 2, 3))
    if edits:
        frame = pb.Frame.FromString(message)
        for _ in range(edits):
            random.choice(_FIELD_EDITS)(random, frame)
        message = frame.SerializeToString(deterministic=True)
    if not edits or random.random() < 0.1:
        message = _damaged(random, message, others)
    return message


def _damaged(random: Random, data: bytes, others: Sequence[bytes] = (b"",)) -> bytes:
    return random.choice(_BYTE_EDITS)(random, data, random.choice(others))


def _flipped(random: Random, data: bytes, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if data else 0):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncated(random: Random, data: bytes, _other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _longer(random: Random, data: bytes, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.randrange(1, 9)) + data[at:]


def _shorter(random: Random, data: bytes, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.randrange(1, 20) :]


def _spliced(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _joined(_random: Random, data: bytes, other: bytes) -> bytes:
    """To protobuf, one frame with the fields of both."""
    return data + other


def _anything(random: Random, _data: bytes, _other: bytes) -> bytes:
    return random.randbytes(random.randrange(300))


_BYTE_EDITS = (_flipped, _flipped, _truncated, _longer, _shorter, _spliced, _joined, _anything)


# Fields of the frame.


def _rung(random: Random, frame: pb.Frame) -> None:
    frame.rung = random.choice(NUMBERS)


def _candidate(random: Random, frame: pb.Frame) -> None:
    frame.candidate = random.choice(("local", "pictures", "exact", "early", "mixed", "", "b99"))


def _reference(random: Random, frame: pb.Frame) -> None:
    frame.reference = random.choice(MARKS)


def _mark(random: Random, frame: pb.Frame) -> None:
    frame.mark = random.choice(MARKS)


def _count(random: Random, frame: pb.Frame) -> None:
    payloads = frame.payloads
    kind = random.randrange(4)
    if kind == 0:
        del payloads[random.randrange(len(payloads) + 1) :]
    elif kind == 1 and payloads:
        payloads.append(random.choice(payloads))
    elif kind == 2 and payloads:
        payloads.insert(0, payloads.pop())  # each tensor gets its neighbour's
    else:
        payloads.extend(pb.Payload() for _ in range(random.choice((1, 30))))


# Fields of a payload; `_payload` chooses one, if the frame has any.


def _payload(edit: Callable[[Random, pb.Payload], None]) -> Edit:
    def apply(random: Random, frame: pb.Frame) -> None:
        if frame.payloads:
            edit(random, random.choice(frame.payloads))

    return apply


def _packing(random: Random, payload: pb.Payload) -> None:
    # proto3 enums are open: any number arrives
    payload.packing = random.choice((0, 1, 2, 3, 99, -1))  # type: ignore[assignment]


def _stored(_random: Random, payload: pb.Payload) -> None:
    payload.stored = not payload.stored


def _mask_bytes(random: Random, payload: pb.Payload) -> None:
    size = len(payload.data)
    payload.mask_bytes = random.choice((0, 1, max(0, payload.mask_bytes - 1), size, *NUMBERS))


def _noise(random: Random, payload: pb.Payload) -> None:
    size = len(payload.data) if random.random() < 0.7 else random.randrange(300)
    payload.data = random.randbytes(size)


def _bytes(random: Random, payload: pb.Payload) -> None:
    payload.data = _damaged(random, payload.data)


def _empty(_random: Random, payload: pb.Payload) -> None:
    payload.data = b""


# zstd frames (RFC 8878): the payload, or either part of a masked one.


def _zstd(edit: Callable[[Random, bytes], bytes]) -> Edit:
    def apply(random: Random, payload: pb.Payload) -> None:
        data, at = payload.data, payload.mask_bytes
        parts = [data[:at], data[at:]] if 0 < at < len(data) else [data]
        which = random.randrange(len(parts))
        if parts[which][:4] == MAGIC:
            parts[which] = edit(random, parts[which])
            payload.data = b"".join(parts)
            if at and random.random() < 0.8:
                payload.mask_bytes = len(parts[0])

    return _payload(apply)


def _header(
    announced: int, *, window: int | None = None, checksum: bool = False, dictionary: int = 0
) -> bytes:
    """A frame header of our choice: eight bytes of size (none if UNKNOWN), the window's byte."""
    has_size = announced != UNKNOWN
    is_single = has_size and window is None
    descriptor = has_size << 7 | has_size << 6 | is_single << 5 | checksum << 2 | dictionary
    header = MAGIC + bytes([descriptor])
    if not is_single:
        header += bytes([window or 0x20])
    header += b"\x01\x02\x03\x04"[: (0, 1, 2, 4)[dictionary]]
    return header + ((announced & HUGE[-1]).to_bytes(8, "little") if has_size else b"")


def _blocks(data: bytes) -> bytes:
    """What follows the header."""
    descriptor = data[4] if len(data) > 4 else 0
    is_single = descriptor >> 5 & 1
    sizes = (is_single, 2, 4, 8)[descriptor >> 6]
    return data[5 + (1 - is_single) + (0, 1, 2, 4)[descriptor & 3] + sizes :]


def _content_bytes(data: bytes) -> int:
    """What an honest header announces; 0 for what an earlier edit has broken."""
    try:
        return max(0, zstandard.frame_content_size(data))
    except zstandard.ZstdError:
        return 0


def _announce(random: Random, data: bytes) -> bytes:
    """Another size than the blocks hold."""
    size = _content_bytes(data)
    announced = random.choice((UNKNOWN, 0, 1, max(0, size - 1), size + 1, 2 * size, *HUGE))
    return _header(announced) + _blocks(data)


def _rehead(random: Random, data: bytes) -> bytes:
    """The right size, and a window, checksum or dictionary that nobody asked for."""
    header = _header(
        _content_bytes(data),
        window=random.choice((None, 0x00, 0x20, 0x38, 0x80, 0xFF)),
        checksum=random.random() < 0.3,
        dictionary=random.choice((0, 0, 1, 2, 3)),
    )
    blocks = _blocks(data)
    return header + (
        blocks[: random.randrange(len(blocks) + 1)] if random.random() < 0.3 else blocks
    )


def _refill(random: Random, data: bytes) -> bytes:
    """A whole frame of the right size with other content: whatever it decodes to must fit."""
    size = _content_bytes(data)
    if size > 1 << 16:
        return data
    few = bytes(random.randrange(256) for _ in range(random.choice((1, 2, 20))))
    return zstandard.ZstdCompressor(level=1).compress(bytes(random.choices(few, k=size)))


def _skip(random: Random, data: bytes) -> bytes:
    """A frame to be skipped before, behind or in place of the real one."""
    hidden = SKIPPABLE + random.choice((4, 4, 1 << 31)).to_bytes(4, "little") + b"skip"
    return random.choice((hidden + data, data + hidden, hidden))


def _twice(_random: Random, data: bytes) -> bytes:
    return data + data


_FIELD_EDITS: tuple[Edit, ...] = (
    _rung,
    _candidate,
    _reference,
    _mark,
    _count,
    _payload(_packing),
    _payload(_stored),
    _payload(_mask_bytes),
    _payload(_noise),
    _payload(_bytes),
    _payload(_bytes),
    _payload(_empty),
    _zstd(_announce),
    _zstd(_announce),
    _zstd(_rehead),
    _zstd(_refill),
    _zstd(_refill),
    _zstd(_skip),
    _zstd(_twice),
    _zstd(_damaged),
)
