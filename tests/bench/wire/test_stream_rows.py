"""A clip is sent as the product sends it, and judged beside H.264 at the same error."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny

from isthmus import (
    UNMEASURED,
    Candidate,
    Cut,
    CutTensor,
    FrameEncoder,
    Rung,
    SymbolCoder,
    TensorSpec,
    decode_frame,
)
from isthmus_bench.wire import stream_rows
from isthmus_bench.wire.h264 import H264Video, h264
from isthmus_bench.wire.ours import OurTensor, fitted
from isthmus_bench.wire.stream_rows import CRFS, STEPS, StreamRow, measure_clip
from isthmus_bench.wire.subjects import Subject
from isthmus_bench.wire.video import Clip
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.wire.stages import ready_stage, stage_of, wire_spec

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

SHAPE = (32, 12, 10)
FRAMES = 20
BOUNDARY = Boundary(TensorSpec(name="cut", data_type="float32", shape=SHAPE), "cut", None)


def noise(count: int, seed: int) -> FloatArray:
    """Values [count,32,12,10]; every second channel is loud, so that an order pays."""
    values = np.random.default_rng(seed).normal(0.3, 1, (count, *SHAPE))
    loud = np.where(np.arange(SHAPE[0]) % 2, 10, 1)[:, None, None]
    return (values * loud).astype(np.float32)


def still() -> FloatArray:
    """A fixed camera: one scene, and each frame has a little noise of its own."""
    return noise(1, seed=2) + noise(FRAMES, seed=3) * np.float32(0.1)


def moving() -> FloatArray:
    """A fifth of the values is new in each frame: alike from one to the next, and drifting away."""
    random, scene = np.random.default_rng(4), noise(1, seed=2)[0]
    frames = []
    for new in noise(FRAMES, seed=5):
        scene = np.where(random.random(SHAPE) < 0.2, new, scene)
        frames.append(scene)
    return np.stack(frames)


@pytest.fixture(scope="module")
def tensor() -> OurTensor:
    found = fitted(noise(4, seed=1), STEPS)
    assert found.transform.order is not None
    assert {encoding.levels for encoding in found.ladder} == {16, 256}
    return found


@dataclass(frozen=True)
class Sent:
    """What the imitation made of a stream."""

    symbols: UInt8Array
    sizes: list[int]


def sent(tensor: OurTensor, values: FloatArray, rung: int, *, video: bool) -> Sent:
    symbols, sizes = zip(*stream_rows._transmit(tensor, values, rung, video=video), strict=True)
    return Sent(np.stack(symbols), list(sizes))


def of_the_product(tensor: OurTensor, values: FloatArray, rung: int, *, video: bool) -> Sent:
    """Stage, encoder, decoder: what device and cloud run."""
    stage, encoding = ready_stage(BOUNDARY, tensor.transform), tensor.ladder[rung]
    wire = wire_spec(BOUNDARY, tensor.transform)
    place = CutTensor(
        boundary=BOUNDARY.spec, wire=wire, stage=stage_of(BOUNDARY, tensor.transform, "")
    )
    cut = Cut(id="cut", chain="whole", depth=1, macs_share=0.5, tensors=(place,))
    rungs = (Rung(encodings=(encoding,), figures=UNMEASURED),)
    candidate = Candidate(
        id="cut", cut="", precision="fp32", rungs=rungs, chosen=0, kept=True, reason=""
    )
    encoder, coder, kept = FrameEncoder(video=video), SymbolCoder(), None
    arrived, sizes = [], []
    for item in values:
        held = encoder.held(candidate, 0)
        stuck = (None, 0.0) if held is None else (held.symbols[0], held.hold)
        symbols = stage.wire(item[None], encoding, *stuck)
        frame = encoder.encode(candidate, cut, 0, (symbols,))
        (decoded,), kept = decode_frame(frame, candidate, cut, coder, kept)
        arrived.append(decoded[0].view(np.uint8))
        sizes.append(frame.ByteSize())
    return Sent(np.stack(arrived), sizes)


@pytest.mark.parametrize("video", [False, True], ids=["alone", "video"])
@pytest.mark.parametrize("scene", [still, moving])
@pytest.mark.parametrize("rung", [0, len(STEPS) - 1])
def test_what_is_sent_is_what_the_product_sends(
    tensor: OurTensor, scene: Callable[[], FloatArray], rung: int, video: bool
) -> None:
    values = scene()
    ours = sent(tensor, values, rung, video=video)
    products = of_the_product(tensor, values, rung, video=video)
    assert np.array_equal(ours.symbols, products.symbols)
    assert ours.sizes == products.sizes


@pytest.mark.parametrize("rung", range(len(STEPS)))
def test_a_moving_clip_arrives_as_video_as_it_arrives_frame_by_frame(
    tensor: OurTensor, rung: int
) -> None:
    alone, video = (sent(tensor, moving(), rung, video=video) for video in (False, True))
    assert np.array_equal(alone.symbols, video.symbols)
    assert sum(video.sizes) < 0.8 * sum(alone.sizes)


@pytest.mark.parametrize("rung", range(len(STEPS)))
def test_a_still_clip_takes_fewer_bytes_as_video_and_no_symbol_strays_far(
    tensor: OurTensor, rung: int
) -> None:
    alone, video = (sent(tensor, still(), rung, video=video) for video in (False, True))
    assert sum(video.sizes[10:]) < 0.5 * sum(alone.sizes[10:])
    assert video.sizes[0] == alone.sizes[0]  # the key frame
    far = np.abs(video.symbols.astype(int) - alone.symbols)
    assert far.max() == 1  # what is within three quarters of a step keeps its symbol


def test_every_frame_is_counted_with_the_message_around_it(tensor: OurTensor) -> None:
    """Key frames too, and the words that say what the payload is."""
    values = still()[:1]
    alone = sent(tensor, values, 0, video=False)
    encoding = tensor.ladder[0]
    payload = len(
        SymbolCoder().encode(alone.symbols, encoding.levels, blank=encoding.zero_point).data
    )
    assert payload < alone.sizes[0] < payload + 40


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(tiny.RECIPE, evaluation=6, calibration=4)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A fixed camera before the tiny network."""
    random = np.random.default_rng(7)
    scene = random.integers(40, 200, (1, tiny.SIZE, tiny.SIZE, 3))
    frames = scene + random.integers(-2, 3, (FRAMES, tiny.SIZE, tiny.SIZE, 3))
    return Clip("made up", "no camera has seen this", frames.astype(np.uint8))


@pytest.fixture(scope="module")
def row(subject: Subject, clip: Clip) -> StreamRow:
    return measure_clip(subject, "sum", clip)


def test_a_row_has_every_step_both_ways_and_every_quality_of_the_rival(
    subject: Subject, row: StreamRow
) -> None:
    assert (row.clip, row.origin) == ("made up", "no camera has seen this")
    assert (row.model, row.cut) == ("tiny", "sum")
    assert row.mac_share == subject.cuts[1].mac_share
    assert [len(way) for way in (row.alone, row.video)] == [len(STEPS)] * 2
    assert [figures.setting for figures in row.alone] == [figures.setting for figures in row.video]
    assert [figures.setting for figures in row.h264] == [f"crf {crf}" for crf in CRFS]
    assert [equal.setting for equal in row.equal] == [f"crf {crf}" for crf in CRFS]


def test_figures_are_those_of_the_clip_and_of_steps_from_calibration(
    subject: Subject, clip: Clip, row: StreamRow
) -> None:
    (learnt,) = subject.activations("sum", fitted=True).tensors
    tensor, stream = fitted(learnt, STEPS), subject.on_pictures(clip.frames)
    (values,) = stream.activations("sum").tensors
    for video, figures in ((False, row.alone), (True, row.video)):
        for rung, each in enumerate(figures):
            found = sent(tensor, values, rung, video=video)
            score = stream.score_cut("sum", [tensor.values(found.symbols, rung)])
            assert each.bytes == pytest.approx(fmean(found.sizes))
            assert (each.error, each.agreement) == (score.error, score.agreement)


def test_the_rival_is_compared_at_its_own_error_with_our_video(row: StreamRow) -> None:
    errors = [figures.error for figures in row.video]
    sizes = [figures.bytes for figures in row.video]
    for equal, rival in zip(row.equal, row.h264, strict=True):
        if equal.reading == "at least":
            assert rival.error < min(errors)
            assert equal.ratio == pytest.approx(sizes[int(np.argmin(errors))] / rival.bytes)
        elif equal.reading == "at most":
            assert rival.error > max(errors)
            assert equal.ratio == pytest.approx(sizes[int(np.argmax(errors))] / rival.bytes)
        else:
            assert min(errors) <= rival.error <= max(errors)
            assert min(sizes) <= equal.ratio * rival.bytes <= max(sizes)


def halved_and_exact(frames: UInt8Array, crf: int, *, full_chroma: bool) -> H264Video:
    """A rival that is exact and dear with all colours, cheap and dark with half of them."""
    if full_chroma:
        return H264Video((1000,) * len(frames), frames)
    return H264Video((crf,) * len(frames), frames // 2)


def test_of_half_and_full_colour_the_better_one_is_the_rival(
    subject: Subject, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By error times bytes: no error at all is worth any bytes."""
    monkeypatch.setattr(stream_rows, "h264", halved_and_exact)
    exact = measure_clip(subject, "sum", clip).h264
    assert [(figures.bytes, figures.error) for figures in exact] == [(1000, 0)] * len(CRFS)


def test_the_real_rival_has_the_figures_of_one_of_its_two_colour_resolutions(
    subject: Subject, clip: Clip, row: StreamRow
) -> None:
    stream = subject.on_pictures(clip.frames)
    for figures, crf in zip(row.h264, CRFS, strict=True):
        ways = {}
        for full in (False, True):
            way = h264(clip.frames, crf, full_chroma=full)
            ways[way.mean_bytes] = stream.score_pictures(way.decoded).error
        assert ways[figures.bytes] == figures.error
        assert figures.error * figures.bytes == min(e * b for b, e in ways.items())
