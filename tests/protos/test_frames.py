"""Frames: every tensor of a cut arrives as the encoder took it, or the frame is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import features
from tests.protos.strategies import exact_cases, symbol_cases, tensors_for

from isthmus import (
    MESSAGE_HEADROOM_BYTES,
    Candidate,
    Cut,
    CutTensor,
    Encoding,
    FrameEncoder,
    Kept,
    KeyFrameNeededError,
    Levels,
    Lossless,
    Picture,
    PictureFormat,
    Raw,
    SymbolCoder,
    TensorSpec,
    WireError,
    decode_frame,
    max_frame_bytes,
    max_payload_bytes,
    open_bundle,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import (
    LEVELS,
    AnyArray,
    UInt8Array,
    candidate_of,
    carried,
    crossing,
    cut_of,
    encoded,
    laplacian,
    mostly,
    plain,
    quantised,
    same,
    staged,
    symbols,
)

CODER = SymbolCoder()
PICTURE = plain("uint8", 24, 32, 3, name="picture")
MAP = staged(8, 15, 17, name="map")

Sent = tuple[CutTensor, Encoding, AnyArray]


@st.composite
def tensors_sent(draw: st.DrawFn) -> list[Sent]:
    """The tensors of a cut, each with its encoding and what the encoder is given."""
    kinds = draw(st.lists(st.one_of(exact_cases(), symbol_cases()), min_size=1, max_size=3))
    return [(tensor, encoding, draw(tensors_for(tensor, encoding))) for tensor, encoding in kinds]


def route(sent: Sequence[Sent]) -> tuple[Candidate, Cut, list[AnyArray]]:
    tensors, encodings, values = zip(*sent, strict=True)
    return candidate_of(encodings), cut_of(*tensors), list(values)


@given(tensors_sent(), st.booleans(), st.booleans(), st.booleans())
def test_every_tensor_of_a_frame_arrives_as_it_was(
    sent: list[Sent], video: bool, alone: bool, fast_link: bool
) -> None:
    candidate, cut, values = route(sent)
    encoder = FrameEncoder(video=video)
    frame = encoder.encode(candidate, cut, 0, values, alone=alone, fast_link=fast_link)
    got, kept = decode_frame(carried(frame), candidate, cut, CODER, None)
    for (tensor, encoding, given_values), received in zip(sent, got, strict=True):
        assert same(received, crossing(tensor, encoding, given_values))
        assert received.dtype == np.dtype(tensor.wire.data_type)
        assert received.shape == tensor.wire.graph_shape
    for payload, (tensor, encoding, _) in zip(frame.payloads, sent, strict=True):
        assert len(payload.data) <= max_payload_bytes(tensor.wire, encoding)
    assert kept is None


@given(symbol_cases(), exact_cases(), st.data())
def test_every_frame_of_a_video_arrives_as_it_was(
    first: tuple[CutTensor, Encoding], second: tuple[CutTensor, Encoding], data: st.DataObject
) -> None:
    """Sticky symbols come after five still frames; their tests are test_scene.py's."""
    tensors, encodings = (first[0], second[0]), (first[1], second[1])
    candidate, cut = candidate_of(encodings), cut_of(*tensors)
    values = [data.draw(tensors_for(*first)), data.draw(tensors_for(*second))]
    encoder, kept = FrameEncoder(video=True), None
    for changes in data.draw(st.lists(st.booleans(), max_size=4)):
        if changes:
            moved = data.draw(tensors_for(*first))
            values[0] = np.where(np.arange(moved.size).reshape(moved.shape) % 3, values[0], moved)
        frame = encoder.encode(candidate, cut, 0, values)
        got, kept = decode_frame(carried(frame), candidate, cut, CODER, kept)
        expected = map(crossing, tensors, encodings, values)
        assert all(map(same, got, expected))


@pytest.mark.parametrize(("axis", "shape"), [(0, (1, 3, 4)), (1, (3, 1, 4)), (None, (3, 4))])
@pytest.mark.parametrize(
    "encoding", [Raw(), Lossless(), symbols(16), symbols(16, "left"), symbols(256, "up")]
)
def test_the_place_of_the_batch_adds_no_byte_and_changes_none(
    encoding: Encoding, axis: int | None, shape: tuple[int, ...]
) -> None:
    tensor = quantised(3, 4, batch_axis=axis)
    values = np.arange(96, 192, 8, dtype=np.uint8)
    frame, candidate, cut = encoded(tensor, encoding, values.reshape(shape))
    usual, *_ = encoded(quantised(3, 4), encoding, values.reshape(1, 3, 4))
    assert frame.payloads == usual.payloads
    (got,), _ = decode_frame(carried(frame), candidate, cut, CODER, None)
    assert same(got, crossing(tensor, encoding, values.reshape(shape)))


def test_a_picture_may_have_its_batch_elsewhere() -> None:
    picture = plain("uint8", 24, 32, 3, batch_axis=None)
    encoding = Picture(format="webp", quality=None)
    frame, candidate, cut = encoded(picture, encoding, smooth_picture()[0])
    (got,), _ = decode_frame(carried(frame), candidate, cut, CODER, None)
    assert same(got, smooth_picture()[0])


def test_each_rung_is_decoded_by_its_own_encoding() -> None:
    ladder = [symbols(256, "up"), symbols(256), symbols(16, "left"), symbols(16, zero_point=3)]
    candidate = candidate_of(*([each] for each in ladder))
    tensor = quantised(6, 9, 9)
    integers = np.random.default_rng(1).normal(120, 20, (1, 6, 9, 9)).astype(np.uint8)
    for rung, encoding in enumerate(ladder):
        frame = FrameEncoder().encode(candidate, cut_of(tensor), rung, [integers])
        assert frame.rung == rung
        (got,), _ = decode_frame(carried(frame), candidate, cut_of(tensor), CODER, None)
        assert same(got, crossing(tensor, encoding, integers))


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("share", [0.0, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("zero_point", [0, 3, 15])
def test_sparse_tensors_arrive_whatever_their_blank(
    levels: Levels, share: float, zero_point: int
) -> None:
    values = mostly(zero_point, share, 2835, levels).reshape((1, 9, 15, 21))
    frame, candidate, cut = encoded(
        staged(9, 15, 21), symbols(levels, zero_point=zero_point), values
    )
    (got,), _ = decode_frame(carried(frame), candidate, cut, CODER, None)
    assert same(got, values)


def test_the_zero_point_is_the_blank_of_a_whole_frame_and_no_change_that_of_a_difference() -> None:
    tensor, encoding = staged(8, 20, 20), symbols(16, zero_point=5)
    candidate, cut, encoder = candidate_of([encoding]), cut_of(tensor), FrameEncoder(video=True)
    sparse = mostly(5, 0.93, 3200, 16).reshape((1, 8, 20, 20))
    dense = mostly(5, 0.1, 3200, 16).reshape((1, 8, 20, 20))
    nearly = np.where(mostly(0, 0.85, 3200, 16).reshape(dense.shape) > 0, sparse, dense)
    frames = [encoder.encode(candidate, cut, 0, [each]) for each in (sparse, dense, dense, nearly)]
    assert [frame.reference > 0 for frame in frames] == [False, False, False, True]
    packings = [frame.payloads[0].packing for frame in frames]
    assert packings == [pb.PACKING_MASK, pb.PACKING_PAIRS, pb.PACKING_PAIRS, pb.PACKING_MASK]


def test_what_repeats_in_a_video_costs_less_than_a_whole_frame() -> None:
    candidate, cut, encoder = candidate_of([symbols(16)]), cut_of(MAP), FrameEncoder(video=True)
    values = laplacian((1, 8, 15, 17), 2.0, 16)
    sizes = [len(encoder.encode(candidate, cut, 0, [values]).payloads[0].data) for _ in range(3)]
    assert 5 * sizes[2] < sizes[1] == sizes[0]


FORMATS: list[tuple[PictureFormat, int | None]] = [("jpeg", 95), ("webp", 90), ("webp", None)]
if features.check("avif"):
    FORMATS.append(("avif", 85))


def smooth_picture() -> UInt8Array:
    rows, columns = np.mgrid[0:24, 0:32]
    picture: UInt8Array = np.stack([rows * 9, columns * 7, rows + columns], -1).astype(np.uint8)
    return picture[None]


@pytest.mark.parametrize(("picture_format", "quality"), FORMATS)
def test_a_picture_arrives_smaller_and_close_to_what_it_was(
    picture_format: PictureFormat, quality: int | None
) -> None:
    encoding = Picture(format=picture_format, quality=quality)
    frame, candidate, cut = encoded(PICTURE, encoding, smooth_picture())
    (got,), _ = decode_frame(carried(frame), candidate, cut, CODER, None)
    assert got.shape == (1, 24, 32, 3)
    assert len(frame.payloads[0].data) < PICTURE.wire.nbytes
    error = np.abs(got.astype(int) - smooth_picture()).mean()
    assert error == 0 if quality is None else error < 6


@pytest.mark.parametrize(("planned", "sent"), [(90, None), (None, 90)])
def test_a_picture_of_the_other_kind_of_webp_is_refused(
    planned: int | None, sent: int | None
) -> None:
    """A lossless one costs far more memory to decode: the plan decides, not the sender."""
    frame, *_ = encoded(PICTURE, Picture(format="webp", quality=sent), smooth_picture())
    candidate = candidate_of([Picture(format="webp", quality=planned)])
    with pytest.raises(WireError, match=r"tensor 'picture'.*WebP begins with"):
        decode_frame(carried(frame), candidate, cut_of(PICTURE), CODER, None)


def one_map() -> tuple[pb.Frame, Candidate, Cut]:
    return encoded(MAP, symbols(16), laplacian((1, 8, 15, 17), 2.0, 16))


def _set(field: str, value: object) -> Callable[[pb.Frame], None]:
    return lambda frame: setattr(frame.payloads[0], field, value)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_set("packing", pb.PACKING_BYTES), "16 levels do not come as bytes"),
        (_set("packing", pb.PACKING_MASK), "0 mask bytes with packing 'mask'"),
        (_set("packing", 77), "packing 77 is not one of this encoding's"),
        (_set("mask_bytes", 5), "5 mask bytes with packing 'pairs'"),
        (_set("stored", True), "payload holds"),
        (_set("data", bytes(1021)), "payload of 1021 bytes, the plan allows 1020"),
        (_set("data", b""), "not a whole zstd frame"),
    ],
)
def test_a_payload_that_is_not_the_plans_is_refused_by_name(
    damage: Callable[[pb.Frame], None], complaint: str
) -> None:
    frame, candidate, cut = one_map()
    damage(frame)
    with pytest.raises(WireError, match=f"tensor 'map' of candidate 'cut-fp32': .*{complaint}"):
        decode_frame(carried(frame), candidate, cut, CODER, None)


def test_a_rung_that_the_ladder_has_not_is_refused() -> None:
    frame, candidate, cut = one_map()
    frame.rung = 1
    with pytest.raises(WireError, match="rung 1 of candidate 'cut-fp32', which has 1"):
        decode_frame(frame, candidate, cut, CODER, None)


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_tensors_is_refused(count: int) -> None:
    frame, candidate, cut = one_map()
    payload = frame.payloads.pop()
    frame.payloads.extend([payload] * count)
    with pytest.raises(WireError, match=f"carries 1 tensors, the frame has {count}"):
        decode_frame(frame, candidate, cut, CODER, None)


@pytest.mark.parametrize(
    ("tensor", "encoding", "damage", "complaint"),
    [
        (PICTURE, Raw(), _set("data", bytes(5)), "payload of 5 bytes, the plan allows 2304"),
        (PICTURE, Raw(), _set("stored", False), "payload of 2304 bytes, the plan allows 2304"),
        (PICTURE, Raw(), _set("packing", pb.PACKING_PAIRS), "packing 1"),
        (PICTURE, Lossless(), _set("data", bytes(2305)), "payload of 2305 bytes"),
        (PICTURE, Lossless(), _set("packing", pb.PACKING_MASK), "packing 2"),
        (PICTURE, Picture(format="jpeg", quality=90), _set("stored", True), "never marked"),
        (PICTURE, Picture(format="jpeg", quality=90), _set("mask_bytes", 1), "1 mask bytes"),
        (PICTURE, Picture(format="jpeg", quality=90), _set("data", b"not a picture"), "."),
    ],
)
def test_a_payload_that_is_no_symbols_is_held_to_its_encoding_too(
    tensor: CutTensor, encoding: Encoding, damage: Callable[[pb.Frame], None], complaint: str
) -> None:
    frame, candidate, cut = encoded(tensor, encoding, smooth_picture())
    damage(frame)
    with pytest.raises(WireError, match=f"tensor 'picture'.*{complaint}"):
        decode_frame(carried(frame), candidate, cut, CODER, None)


def test_a_raw_bool_is_0_or_1() -> None:
    mask = np.array([[True, False, True]])
    frame, candidate, cut = encoded(plain("bool", 3, name="mask"), Raw(), mask)
    frame.payloads[0].data = b"\1\0\3"
    with pytest.raises(WireError, match="payload holds 3 as a bool"):
        decode_frame(frame, candidate, cut, CODER, None)


def three_of_a_video(candidate: Candidate, cut: Cut) -> list[pb.Frame]:
    encoder, values = FrameEncoder(video=True), laplacian((1, 8, 15, 17), 2.0, 16)
    return [encoder.encode(candidate, cut, 0, [values]) for _ in range(3)]


def test_a_difference_without_its_reference_needs_a_key_frame() -> None:
    candidate, cut = candidate_of([symbols(16)]), cut_of(MAP)
    difference = three_of_a_video(candidate, cut)[2]
    with pytest.raises(KeyFrameNeededError, match="marked 1, which are not held"):
        decode_frame(difference, candidate, cut, CODER, None)


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda kept: Kept(kept.mark + 1, kept.candidate, kept.rung, kept.symbols),
        lambda kept: Kept(kept.mark, "another", kept.rung, kept.symbols),
        lambda kept: Kept(kept.mark, kept.candidate, kept.rung + 1, kept.symbols),
    ],
)
def test_symbols_of_another_mark_candidate_or_rung_are_no_reference(
    elsewhere: Callable[[Kept], Kept],
) -> None:
    candidate, cut = candidate_of([symbols(16)]), cut_of(MAP)
    _, key, difference = three_of_a_video(candidate, cut)
    _, kept = decode_frame(key, candidate, cut, CODER, None)
    assert kept is not None
    decode_frame(difference, candidate, cut, CODER, kept)
    with pytest.raises(KeyFrameNeededError):
        decode_frame(difference, candidate, cut, CODER, elsewhere(kept))


def test_what_is_kept_changes_only_with_a_marked_frame() -> None:
    candidate, cut = candidate_of([symbols(16)]), cut_of(MAP)
    single, key, difference = three_of_a_video(candidate, cut)
    _, kept = decode_frame(key, candidate, cut, CODER, None)
    assert decode_frame(single, candidate, cut, CODER, kept)[1] is kept
    after = decode_frame(difference, candidate, cut, CODER, kept)[1]
    assert after is not None
    assert (after.mark, kept and kept.mark) == (difference.mark, key.mark)


def test_a_frame_of_this_plan_is_never_larger_than_announced(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    noise = np.random.default_rng(1)
    for candidate in manifest.candidates:
        cut = manifest.cut_of(candidate)
        tensors = [
            noise.integers(0, 256, tensor.wire.graph_shape, np.uint8) for tensor in cut.tensors
        ]
        frame = FrameEncoder().encode(candidate, cut, 0, tensors)
        assert frame.ByteSize() <= max_frame_bytes(manifest)
    assert max_frame_bytes(manifest) >= 32 * 32 * 3 + MESSAGE_HEADROOM_BYTES


@pytest.mark.parametrize(
    ("spec", "encoding", "limit"),
    [
        (TensorSpec(name="t", data_type="uint8", shape=(3, 7)), symbols(16), 11),
        (TensorSpec(name="t", data_type="uint8", shape=(3, 7)), symbols(256), 21),
        (TensorSpec(name="t", data_type="bool", shape=(3, 7)), Lossless(), 3),
        (TensorSpec(name="t", data_type="bool", shape=(3, 7)), Raw(), 21),
        (TensorSpec(name="t", data_type="float16", shape=()), Lossless(), 2),
        (TensorSpec(name="t", data_type="int64", shape=(5,)), Raw(), 40),
    ],
)
def test_no_payload_is_larger_than_what_it_packs(
    spec: TensorSpec, encoding: Encoding, limit: int
) -> None:
    assert max_payload_bytes(spec, encoding) == limit
