"""What a device remembers of a video, and how each frame is sent because of it."""

from itertools import pairwise

import numpy as np

from isthmus import (
    HOLD,
    FrameEncoder,
    Lossless,
    Raw,
    SymbolCoder,
    Symbols,
    decode_frame,
)
from isthmus.scene import KEY_EVERY, STILL_FRAMES
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import (
    SOURCE,
    UInt8Array,
    candidate_of,
    carried,
    cut_of,
    laplacian,
    plain,
    quantised,
    staged,
    symbols,
)

HIDDEN = cut_of(staged(8, 9, 9))
TABLE = Symbols(levels=16, step=0.45, zero_point=8)  # 9 of the head's integers
TABLE_CANDIDATE = candidate_of([TABLE])
HIDDEN_CANDIDATE = candidate_of([symbols(16)], [symbols(16, zero_point=7)])


def moving(count: int, share: float = 0.5, seed: int = 0) -> list[UInt8Array]:
    """A scene in which a share of the symbols comes again with each frame, the others are new."""
    random = np.random.default_rng(seed)
    frames = [laplacian((1, 8, 9, 9), 2.0, 16, seed)]
    for _ in range(count - 1):
        fresh = random.integers(0, 16, (1, 8, 9, 9), np.uint8)
        frames.append(np.where(random.random(fresh.shape) < share, frames[-1], fresh))
    return frames


def kinds(frames: list[pb.Frame]) -> str:
    """A letter a frame: k(ey) and kept, d(ifference), or s(ingle): whole and not kept."""
    return "".join("d" if f.reference else "k" if f.mark else "s" for f in frames)


def sent(encoder: FrameEncoder, scene: list[UInt8Array], rung: int = 0) -> list[pb.Frame]:
    return [encoder.encode(HIDDEN_CANDIDATE, HIDDEN, rung, [each]) for each in scene]


def test_a_video_begins_with_a_frame_that_stands_for_itself_then_a_key_frame() -> None:
    """After one frame nobody knows yet whether anything comes again."""
    assert kinds(sent(FrameEncoder(video=True), moving(5))) == "skddd"


def test_without_video_every_frame_stands_for_itself() -> None:
    encoder = FrameEncoder()
    assert kinds(sent(encoder, moving(5))) == "sssss"
    assert encoder.held(HIDDEN_CANDIDATE, 0) is None


def test_a_difference_names_the_frame_before_and_marks_never_come_again() -> None:
    encoder = FrameEncoder(video=True)
    frames = sent(encoder, moving(4))
    encoder.forget()
    frames += sent(encoder, moving(4))
    marked = [frame for frame in frames if frame.mark]
    assert len({frame.mark for frame in marked}) == len(marked)
    for before, frame in pairwise(frames):
        assert frame.reference in (0, before.mark)


def test_a_key_frame_comes_after_so_many_frames() -> None:
    scene = moving(2 * KEY_EVERY + 3)
    expected = "s" + ("k" + "d" * (KEY_EVERY - 1)) * 2 + "kd"
    assert kinds(sent(FrameEncoder(video=True), scene)) == expected


def test_what_was_forgotten_is_no_reference() -> None:
    encoder = FrameEncoder(video=True)
    scene = moving(8)
    first = kinds(sent(encoder, scene[:4]))
    encoder.forget()
    assert (first, kinds(sent(encoder, scene[4:]))) == ("skdd", "skdd")


def test_another_rung_begins_anew() -> None:
    encoder = FrameEncoder(video=True)
    scene = moving(9)
    ladder = [
        kinds(sent(encoder, scene[3 * i : 3 * i + 3], rung)) for i, rung in enumerate((0, 1, 0))
    ]
    assert ladder == ["skd", "skd", "skd"]


def test_another_candidate_begins_anew() -> None:
    encoder, other = FrameEncoder(video=True), candidate_of([symbols(16)], name="other")
    frames = []
    for candidate in (HIDDEN_CANDIDATE, other, HIDDEN_CANDIDATE):
        frames += [encoder.encode(candidate, HIDDEN, 0, [each]) for each in moving(3)]
    assert kinds(frames) == "skdskdskd"


def test_a_scene_cut_is_a_frame_that_stands_for_itself() -> None:
    encoder = FrameEncoder(video=True)
    assert kinds(sent(encoder, moving(4, seed=1) + moving(4, seed=2))) == "skddskdd"


def test_a_scene_in_which_nothing_comes_again_is_never_a_difference() -> None:
    assert kinds(sent(FrameEncoder(video=True), moving(8, share=0.0))) == "s" * 8


def test_frames_alike_by_chance_alone_stand_for_themselves() -> None:
    """At a coarse step a third of the symbols of any two frames are the same."""
    scene = [laplacian((1, 8, 9, 9), 0.6, 16, seed=seed) for seed in range(4)]
    assert np.mean(scene[0] == scene[1]) > 0.3
    assert kinds(sent(FrameEncoder(video=True), scene)) == "ssss"


def test_a_frame_sent_alone_is_whole_and_refers_to_nothing_nor_is_referred_to() -> None:
    encoder, scene = FrameEncoder(video=True), moving(7)
    frames = sent(encoder, scene[:3])
    alone = encoder.encode(HIDDEN_CANDIDATE, HIDDEN, 0, [scene[3]], alone=True)
    frames += [alone, *sent(encoder, scene[4:])]
    assert kinds(frames) == "skdsskd"


def test_tensors_that_are_no_symbols_are_never_differences() -> None:
    encoder, cut = FrameEncoder(video=True), cut_of(plain("uint8", 9))
    candidate = candidate_of([Lossless()], [Raw()])
    values = np.arange(9, dtype=np.uint8)[None]
    frames = [encoder.encode(candidate, cut, rung, [values]) for rung in (0, 0, 0, 1, 1, 1)]
    assert kinds(frames) == "ssssss"


def test_a_scene_is_held_once_it_has_stood_still_and_no_longer() -> None:
    encoder = FrameEncoder(video=True)
    still = [laplacian((1, 8, 9, 9), 2.0, 16)] * (STILL_FRAMES + 1)
    held = []
    for each in [*still, moving(1, seed=9)[0]]:
        held.append(encoder.held(HIDDEN_CANDIDATE, 0))
        assert encoder.held(HIDDEN_CANDIDATE, 1) is None
        encoder.encode(HIDDEN_CANDIDATE, HIDDEN, 0, [each])
    assert [each is not None for each in held] == [False] * (STILL_FRAMES + 1) + [True]
    assert held[-1] is not None
    assert held[-1].hold == HOLD
    assert np.array_equal(held[-1].symbols[0], still[0])
    assert encoder.held(HIDDEN_CANDIDATE, 0) is None


def test_a_scene_that_moves_a_little_with_each_frame_is_never_held() -> None:
    """However alike two frames are: what has moved does not come back."""
    encoder = FrameEncoder(video=True)
    for each in moving(60, share=0.9):
        encoder.encode(HIDDEN_CANDIDATE, HIDDEN, 0, [each])
        assert encoder.held(HIDDEN_CANDIDATE, 0) is None


def test_a_scene_that_comes_to_rest_is_held_until_it_moves_again() -> None:
    encoder = FrameEncoder(video=True)
    restless = moving(60, share=0.9)
    held = []
    for each in [*restless[:30], *[restless[29]] * 30, *restless[30:]]:
        encoder.encode(HIDDEN_CANDIDATE, HIDDEN, 0, [each])
        held.append(encoder.held(HIDDEN_CANDIDATE, 0) is not None)
    assert (held[29], held[59], held[89]) == (False, True, False)


def noisy(count: int, amplitude: int) -> list[UInt8Array]:
    """A fixed camera: integers of the head whose symbols would flicker."""
    random = np.random.default_rng(1)
    base = random.integers(0, 256, (1, 8, 9, 9))
    noise = random.integers(-amplitude, amplitude + 1, (count, 1, 8, 9, 9))
    return list(np.clip(base + noise, 0, 255).astype(np.uint8))


def test_the_noise_of_a_fixed_camera_costs_no_bytes() -> None:
    """Half a step of rounding and noise of 2 of 9 integers stay below what is held, 0.75 steps."""
    encoder, cut, candidate = FrameEncoder(video=True), cut_of(quantised(8, 9, 9)), TABLE_CANDIDATE
    frames = [encoder.encode(candidate, cut, 0, [each]) for each in noisy(40, 1)]
    assert kinds(frames) == "sk" + "d" * 38
    sizes = [len(frame.payloads[0].data) for frame in frames]
    nothing = SymbolCoder().encode(np.zeros((1, 8, 9, 9), np.uint8), 16)
    assert set(sizes[STILL_FRAMES + 1 :]) == {len(nothing.data)}
    assert min(sizes[2:STILL_FRAMES]) > 4 * len(nothing.data)


def test_a_fixed_camera_is_no_further_from_the_truth_than_what_is_held() -> None:
    encoder, cut, candidate = FrameEncoder(video=True), cut_of(quantised(8, 9, 9)), TABLE_CANDIDATE
    encoding, coder, kept = TABLE, SymbolCoder(), None
    for integers in noisy(40, 3):
        frame = encoder.encode(candidate, cut, 0, [integers])
        (got,), kept = decode_frame(carried(frame), candidate, cut, coder, kept)
        decoded = (got.astype(float) - encoding.zero_point) * encoding.step
        real = (integers.astype(float) - SOURCE.zero_point) * SOURCE.scale
        lowest = -encoding.zero_point * encoding.step
        inside = (real >= lowest) & (real <= lowest + 15 * encoding.step)
        assert np.all(np.abs(decoded - real)[inside] <= (HOLD + 1e-9) * encoding.step)
    assert encoder.held(candidate, 0) is not None
