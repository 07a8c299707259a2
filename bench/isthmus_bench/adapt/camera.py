"""A camera: frames at a fixed rate, whatever becomes of those before."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from isthmus import IsthmusError
from isthmus_bench.adapt.runs import FrameEnd
from isthmus_edge import Answer

__all__ = ["Camera", "Shot"]

_DRAIN_S = 40.0  # for frames that are under way when the last one was taken

Submit = Callable[[int, str | None], "Future[Answer]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """`frames` at `fps`; each run of `every` frames goes the next of the ways in `turns`.

    None is the policy's own choice.
    """

    frames: int
    fps: float
    turns: tuple[str | None, ...] = (None,)
    every: int = 1

    def way(self, index: int) -> str | None:
        """The candidate to which a frame is pinned."""
        return self.turns[index // self.every % len(self.turns)]


@dataclass(slots=True)
class _Taken:
    tick: float
    future: "Future[Answer] | None" = None
    refused: str = ""
    ended: float = 0.0
    times_ended: int = field(default=0)


class Camera:
    """Submits frames on schedule from a thread of its own, and notes how each of them ends.

    `submit(i, way)` hands frame i over. If it blocks, the frames behind it are submitted late;
    their latency counts from the tick all the same.
    """

    def __init__(self, submit: Submit, shot: Shot) -> None:
        self._submit, self._shot = submit, shot
        self._taken: list[_Taken] = []
        self._ended = threading.Condition()
        self.begin = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    @property
    def accepted(self) -> int:
        """Frames for which the agent promised an end."""
        return sum(taken.future is not None for taken in self._taken)

    @property
    def lost(self) -> int:
        """Accepted frames that have not ended by now."""
        return sum(t.future is not None and t.times_ended == 0 for t in self._taken)

    def finish(self) -> tuple[FrameEnd, ...]:
        """Wait for the last frame and for every answer; how all of them ended."""
        self._thread.join()
        # Not for the futures themselves: who waits for one may wake before its callbacks have run.
        with self._ended:
            self._ended.wait_for(lambda: self.lost == 0, _DRAIN_S)
        return tuple(self._end_of(taken) for taken in self._taken)

    def doubled(self) -> int:
        """Answers beyond the first to the same frame."""
        numbers = [
            taken.future.result().sequence
            for taken in self._taken
            if taken.future is not None and taken.times_ended and not taken.future.exception()
        ]
        again = sum(max(taken.times_ended - 1, 0) for taken in self._taken)
        return len(numbers) - len(set(numbers)) + again

    def _run(self) -> None:
        for index in range(self._shot.frames):
            tick = self.begin + index / self._shot.fps
            time.sleep(max(tick - time.monotonic(), 0.0))
            taken = _Taken(tick)
            self._taken.append(taken)
            try:
                taken.future = self._submit(index, self._shot.way(index))
            except IsthmusError as error:
                taken.refused = str(error)
            else:
                taken.future.add_done_callback(partial(self._note_end, taken))

    def _note_end(self, taken: _Taken, _: "Future[Answer]") -> None:
        with self._ended:
            taken.ended = time.monotonic()
            taken.times_ended += 1
            self._ended.notify_all()

    def _end_of(self, taken: _Taken) -> FrameEnd:
        tick_s = taken.tick - self.begin
        if taken.future is None:
            return FrameEnd(tick_s=tick_s, latency_ms=None, error=f"refused: {taken.refused}")
        if not taken.times_ended:
            return FrameEnd(tick_s=tick_s, latency_ms=None, error="lost: it did not end")
        error = taken.future.exception()
        if error is not None:
            return FrameEnd(
                tick_s=tick_s, latency_ms=None, error=f"{type(error).__name__}: {error}"
            )
        answer = taken.future.result()
        return FrameEnd(
            tick_s=tick_s,
            latency_ms=(taken.ended - taken.tick) * 1e3,
            candidate=answer.candidate,
            place=answer.place,
            payload_bytes=answer.payload_bytes,
        )
