"""Frames of the tiny bundle that are wrong, and what the service has to say of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zstandard
from tests.cloud.device import Head

from isthmus.v1 import split_pb2 as pb

__all__ = ["WRONGS", "Wrong"]

Damage = Callable[[pb.Payload], None]
WHOLE = 8 * 16 * 16  # symbols of the cut's tensor
READY = "input-raw, input-jpeg-q95, cut-256, cut-16"


@dataclass(frozen=True)
class Wrong:
    """How a right frame of the candidate becomes a wrong one, and words of the error."""

    name: str
    change: Callable[[pb.Frame], None]
    candidate: str = "cut-256"
    words: Sequence[str] = ("'boundary'",)
    code: int = field(default=pb.ERROR_CODE_BAD_FRAME)

    def __str__(self) -> str:
        return self.name

    def frame(self, head: Head, sequence: int) -> pb.Frame:
        frame = head.frame(self.candidate, sequence)
        self.change(frame)
        return frame


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


def no_picture_at_all(payload: pb.Payload) -> None:
    payload.data = b""


def half_a_jpeg(payload: pb.Payload) -> None:
    payload.data = b"\xff\xd8\xff\xe0 no more"


def a_png(payload: pb.Payload) -> None:
    payload.data = b"\x89PNG\r\n\x1a\n"


DAMAGES: Sequence[Damage] = (
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
)
PICTURE_DAMAGES: Sequence[tuple[str, Damage]] = (
    ("input-jpeg-q95", stored),
    ("input-jpeg-q95", as_pairs),
    ("input-jpeg-q95", mask_bytes_without_a_mask),
    ("input-jpeg-q95", no_picture_at_all),
    ("input-jpeg-q95", half_a_jpeg),
    ("input-jpeg-q95", a_png),
    ("input-raw", not_stored),
    ("input-raw", as_pairs),
    ("input-raw", a_byte_less),
    ("input-raw", a_byte_more),
)


def _damaged(damage: Damage, candidate: str, tensor: str) -> Wrong:
    def change(frame: pb.Frame) -> None:
        damage(frame.payloads[0])

    return Wrong(f"{candidate} {damage.__name__}", change, candidate, (f"'{tensor}'",))


def _of_payloads(count: int) -> Wrong:
    def change(frame: pb.Frame) -> None:
        frame.ClearField("payloads")
        frame.payloads.extend([pb.Payload()] * count)

    words = (f"one payload for each of boundary; the frame has {count}",)
    return Wrong(f"{count} payloads", change, words=words)


def _of_rung(rung: int) -> Wrong:
    def change(frame: pb.Frame) -> None:
        frame.rung = rung

    words = (f"rung {rung} of candidate 'cut-256', which has 1",)
    return Wrong(f"rung {rung}", change, words=words)


def _of_candidate(candidate: str) -> Wrong:
    def change(frame: pb.Frame) -> None:
        frame.candidate = candidate

    code = pb.ERROR_CODE_UNKNOWN_CANDIDATE
    return Wrong(f"candidate {candidate[:8]!r}", change, words=(READY,), code=code)


WRONGS: Sequence[Wrong] = (
    *(_damaged(damage, "cut-256", "boundary") for damage in DAMAGES),
    *(_damaged(damage, candidate, "picture") for candidate, damage in PICTURE_DAMAGES),
    *map(_of_payloads, (0, 2, 1000)),
    *map(_of_rung, (1, 2**32 - 1)),
    *map(_of_candidate, ("", "local", "cut-8", "x" * 20_000)),
)
