"""The gap that a switch of the candidate causes in the stream of answers."""

from collections.abc import Iterator, Sequence
from statistics import median

from isthmus_bench.adapt.runs import FrameEnd

__all__ = ["switch_gaps_ms"]

_USUAL = 3  # frames after the first one say what is usual on the new candidate


def switch_gaps_ms(frames: Sequence[FrameEnd], period_ms: float) -> list[float]:
    """One gap (ms, 0 or more) for each switch between frames that were answered.

    Let a be the last answered frame before a switch and b the first one after it. Answers that
    followed one another without any trouble would be a frame period apart, and further by what
    the new candidate usually takes longer than a did: that is the candidate's price and not the
    switch's. What is left was caused by the switch::

        gap = (end of b - end of a) - period - max(0, usual latency - latency of a)

    The usual latency is the median of the up to three frames that follow b on its candidate, or,
    where it was used for b alone, that of its other frames in the run. A switch to a candidate
    that was used for a single frame in all tells nothing and is left out. Frames dropped between
    a and b lengthen the gap.
    """
    answered = sorted(
        (frame for frame in frames if frame.latency_ms is not None), key=lambda f: f.tick_s
    )
    gaps = []
    for after in range(1, len(answered)):
        a, b = answered[after - 1], answered[after]
        if a.candidate == b.candidate:
            continue
        usual_ms = _usual_ms(answered, after)
        if usual_ms is not None:
            apart_ms = (_end_s(b) - _end_s(a)) * 1e3
            dearer_ms = max(0.0, usual_ms - _latency_ms(a))
            gaps.append(max(0.0, apart_ms - period_ms - dearer_ms))
    return gaps


def _usual_ms(answered: Sequence[FrameEnd], first: int) -> float | None:
    following = list(_following(answered, first))[:_USUAL]
    if not following:
        following = [
            _latency_ms(frame)
            for place, frame in enumerate(answered)
            if frame.candidate == answered[first].candidate and place != first
        ]
    return median(following) if following else None


def _following(answered: Sequence[FrameEnd], first: int) -> Iterator[float]:
    for frame in answered[first + 1 :]:
        if frame.candidate != answered[first].candidate:
            return
        yield _latency_ms(frame)


def _latency_ms(frame: FrameEnd) -> float:
    assert frame.latency_ms is not None  # only answered frames come here
    return frame.latency_ms


def _end_s(frame: FrameEnd) -> float:
    return frame.tick_s + _latency_ms(frame) / 1e3
