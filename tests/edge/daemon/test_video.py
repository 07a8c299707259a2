"""Videos and cameras: a file loses no frame, a camera gives its newest."""

import os
import threading
from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus_edge.daemon.sections import CameraSection, VideoSection
from isthmus_edge.daemon.sources import Item, SourceLostError
from isthmus_edge.daemon.sources.video import CameraSource, open_camera, open_video

FRAMES = 7
SIDE = 32

Frame = NDArray[np.uint8]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Grey frames, each brighter than the one before."""
    path = tmp_path / "film.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p"
        for index in range(FRAMES):
            picture = np.full((SIDE, SIDE, 3), 30 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def brightness(item: Item | None) -> float:
    assert item is not None
    assert isinstance(item.picture, np.ndarray)
    assert item.picture.shape == (SIDE, SIDE, 3)
    return float(item.picture.mean())


def test_a_film_gives_all_its_frames_in_order(film: Path) -> None:
    items = list(open_video(VideoSection(path=film), "film").items())
    assert [item.name for item in items if item] == [f"film.avi#{n}" for n in range(FRAMES)]
    assert [brightness(item) for item in items] == pytest.approx(
        [30 * n for n in range(FRAMES)], abs=4
    )


def test_a_film_may_be_thinned_out(film: Path) -> None:
    items = open_video(VideoSection(path=film, every=3), "film").items()
    assert [item.name for item in items if item] == ["film.avi#0", "film.avi#3", "film.avi#6"]


def test_a_film_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceLostError, match=r"film\.avi: cannot be read \(No such file"):
        list(open_video(VideoSection(path=tmp_path / "film.avi"), "film").items())


def test_a_film_that_is_damaged_is_called_so_and_not_missing(film: Path) -> None:
    film.write_bytes(film.read_bytes()[:40])
    with pytest.raises(SourceLostError, match=r"film\.avi.*damaged, incomplete or no") as caught:
        list(open_video(VideoSection(path=film), "film").items())
    assert "see that it is there" not in str(caught.value)


def test_a_film_that_is_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "film.avi")
    with pytest.raises(SourceLostError, match=r"film\.avi: cannot be read \(it is a FIFO"):
        list(open_video(VideoSection(path=tmp_path / "film.avi"), "film").items())


def test_a_camera_that_is_not_there_is_named() -> None:
    source = open_camera(CameraSection(device="/dev/no-such-camera"), "camera")
    with pytest.raises(SourceLostError, match=r"/dev/no-such-camera: cannot be read .*see that"):
        next(source.items())


class Device:
    """A camera that gives a frame when the test says so."""

    def __init__(self) -> None:
        self.opened = 0
        self.may_go_on = threading.Event()
        self.is_drained = threading.Event()

    def open(self) -> Generator[Frame]:
        self.opened += 1
        for _ in range(3):
            yield np.full((2, 2, 3), 1, np.uint8)
        yield np.full((2, 2, 3), 9, np.uint8)
        self.is_drained.set()
        assert self.may_go_on.wait(30)
        raise SourceLostError("unplugged")


def test_a_camera_gives_its_newest_frame_and_counts_what_was_stale() -> None:
    device = Device()
    source = CameraSource("camera", CameraSection(device="x"), device.open)
    items = source.items()
    first = next(items)
    assert device.is_drained.wait(30)
    last = first if source.dropped == 3 else next(items)
    assert last is not None
    assert isinstance(last.picture, np.ndarray)
    assert int(last.picture[0, 0, 0]) == 9
    assert source.dropped in {2, 3}
    device.may_go_on.set()
    with pytest.raises(SourceLostError, match="unplugged"):
        next(items)


def test_a_camera_that_hangs_counts_as_gone() -> None:
    device = Device()
    section = CameraSection(device="x", silence_s=0.01)
    source = CameraSource("camera", section, device.open)
    with pytest.raises(SourceLostError, match=r"no frame for 0\.01 s"):
        list(source.items())
    with pytest.raises(SourceLostError, match="still hangs"):
        list(source.items())
    assert device.opened == 1, "never two readers of one camera"
    device.may_go_on.set()


def test_a_camera_that_is_stopped_gives_nothing_more() -> None:
    device = Device()
    source = CameraSource("camera", CameraSection(device="x"), device.open)
    items = source.items()
    next(items)
    source.stop()
    assert list(items) == []
    assert list(source.items()) == []
    device.may_go_on.set()
