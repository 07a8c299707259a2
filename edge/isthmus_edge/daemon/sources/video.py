"""Frames of video files and cameras through PyAV: FFmpeg, which also reads V4L2 devices.

A file is never hurried and loses nothing. A camera is read as fast as it comes, by a thread of its
own; only its newest frame is kept, so that what is answered is never staler than it must be.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.regular_files import open_regular
from isthmus_edge.daemon.sections import CameraSection, VideoSection
from isthmus_edge.daemon.sources.item import Item, SourceLostError
from isthmus_edge.daemon.sources.optional import required

Frame = NDArray[np.uint8]
OpenFrames = Callable[[], Generator[Frame]]

__all__ = ["CameraSource", "VideoSource", "open_camera", "open_video"]


def open_video(section: VideoSection, name: str) -> "VideoSource":
    """The frames of a file; ConfigError if PyAV is not installed."""
    av = required("av", "PyAV (av)", f"the source {name!r}, a video,")

    def frames() -> Generator[Frame]:
        _must_be_regular(section.path)
        yield from _frames(av, str(section.path), None, {}, None)

    return VideoSource(name, section, frames)


def open_camera(section: CameraSection, name: str) -> "CameraSource":
    """The frames of a device; ConfigError if PyAV is not installed."""
    av = required("av", "PyAV (av)", f"the source {name!r}, a camera,")
    is_v4l2 = section.format is None and section.device.startswith("/dev/")
    demuxer = "v4l2" if is_v4l2 else section.format
    return CameraSource(
        name,
        section,
        lambda: _frames(av, section.device, demuxer, section.options, section.silence_s),
    )


def _frames(
    av: Any, where: str, demuxer: str | None, options: dict[str, str], timeout_s: float | None
) -> Generator[Frame]:
    """RGB frames [h,w,3]; SourceLostError when it cannot be opened, or not be read any more."""
    try:
        with av.open(where, format=demuxer, options=options, timeout=timeout_s) as container:
            if not container.streams.video:
                raise SourceLostError(f"{where}: there is no video in it; give another file")
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceLostError(f"{where}: cannot be read ({reason}); {_way_out(where)}") from error


def _must_be_regular(film: Path) -> None:
    """FFmpeg would wait for whoever writes into a FIFO."""
    try:
        open_regular(film).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceLostError(
            f"{film}: cannot be read ({reason}); give a film's file that this user may read"
        ) from error


def _way_out(where: str) -> str:
    try:
        open_regular(Path(where)).close()
    except (OSError, ValueError):  # a camera or an address, or not there
        return (
            "see that it is there, that this user may read it, and that no other program holds it"
        )
    return "the file is there, but damaged, incomplete or no video; give a whole one"


class VideoSource:
    """A file, once."""

    kind = "video"
    comes_back = False
    dropped = 0

    def __init__(self, name: str, section: VideoSection, open_frames: OpenFrames) -> None:
        self._name = name
        self._section = section
        self._open = open_frames
        self._is_stopped = threading.Event()

    def items(self) -> Generator[Item | None]:
        """Each `every`-th frame, named by its number."""
        stem = Path(self._section.path).name
        with closing(self._open()) as frames:
            for number, frame in enumerate(frames):
                if self._is_stopped.is_set():
                    return
                if number % self._section.every == 0:
                    yield Item(f"{stem}#{number}", frame, self._section.deadline_ms)

    def stop(self) -> None:
        """Give no further frame."""
        self._is_stopped.set()


class CameraSource:
    """A device: always its newest frame."""

    kind = "camera"
    comes_back = True

    def __init__(self, name: str, section: CameraSection, open_frames: OpenFrames) -> None:
        self._name = name
        self._section = section
        self._open = open_frames
        self._slot = _Slot()
        self._reader: threading.Thread | None = None
        self._is_stopped = threading.Event()
        self._number = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Frames for which a newer one came before anybody took them."""
        return self._dropped + self._slot.dropped

    def items(self) -> Generator[Item | None]:
        """The newest frame, whenever somebody asks for one."""
        self._dropped, self._slot = self.dropped, _Slot()
        if self._is_stopped.is_set():  # or `stop` finds the new slot
            return
        if self._reader is not None and self._reader.is_alive():  # one that hangs, never two
            raise SourceLostError("its driver still hangs; plug the camera in again")
        self._reader = threading.Thread(
            target=_read_into, args=(self._slot, self._open), name=self._name, daemon=True
        )
        self._reader.start()
        while (frame := self._slot.take(self._section.silence_s)) is not None:
            self._number += 1
            yield Item(f"{self._name}#{self._number}", frame, self._section.deadline_ms)

    def stop(self) -> None:
        """Give no further frame; the reader ends with the frame that it waits for."""
        self._is_stopped.set()
        self._slot.close()


@dataclass(slots=True)
class _Slot:
    """Room for one frame between the thread that reads and the one that asks; for one opening."""

    dropped: int = 0
    is_closed: bool = False
    _frame: Frame | None = None
    _loss: SourceLostError | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, frame: Frame) -> bool:
        """The newest frame; False if nobody wants any more."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()
            return not self.is_closed

    def lose(self, error: SourceLostError) -> None:
        """No frame will come any more."""
        with self._changed:
            self._loss = error
            self._changed.notify()

    def close(self) -> None:
        """Nobody wants any more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify()

    def take(self, patience_s: float) -> Frame | None:
        """The newest frame, None after `close`; SourceLostError when there will be none.

        Then the slot is closed, whatever the reader still hangs in.
        """
        with self._changed:
            self._changed.wait_for(self._is_news, patience_s)
            if self.is_closed:
                return None
            frame, self._frame = self._frame, None
            if frame is None:
                self.is_closed = True
                raise self._loss or SourceLostError(
                    f"no frame for {patience_s:g} s; see whether the camera works"
                )
            return frame

    def _is_news(self) -> bool:
        return self._frame is not None or self._loss is not None or self.is_closed


def _read_into(slot: _Slot, open_frames: OpenFrames) -> None:
    try:
        with closing(open_frames()) as frames:
            for frame in frames:
                if not slot.put(frame):
                    return
        slot.lose(SourceLostError("its stream has ended; see whether the camera is still there"))
    except SourceLostError as error:
        slot.lose(error)
