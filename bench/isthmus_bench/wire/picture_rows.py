"""Sending the picture instead: what a picture codec costs at the error that our ladder makes.

A split has to beat sending a JPEG, at *equal* damage to the answers. Each picture codec has one
error; the bytes of our ladder at that error are read off between two measured rungs, which are
shown. Where the codec's error lies outside of the ladder, no claim is made about it: what is shown
is the nearest rung, and on which side it lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus_bench.wire.cut_rows import CutRow
from isthmus_bench.wire.equal_error import Point, Reading, bytes_at, reading
from isthmus_bench.wire.picture_rivals import PictureRival
from isthmus_bench.wire.subjects import Subject

__all__ = ["EqualRow", "PictureFigures", "equal_rows", "measure_pictures"]


@dataclass(frozen=True, slots=True)
class PictureFigures:
    """A picture codec on the inputs of one model: mean bytes and what the model makes of it."""

    model: str
    codec: str
    bytes: float
    error: float
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualRow:
    """Our bytes at one cut over those of a picture codec with the same error.

    `reading` is "equal" where the error lies between two rungs (`low_point`, `high_point`: error,
    bytes); "at most" where even our coarsest rung does less harm, so that fewer bytes would do;
    "at least" where even our finest does more.
    """

    model: str
    cut: str
    mac_share: float
    codec: str
    codec_bytes: float
    error: float
    our_bytes: float
    ratio: float
    reading: Reading
    low_point: Point
    high_point: Point


def measure_pictures(
    subject: Subject, rivals: Sequence[PictureRival]
) -> tuple[PictureFigures, ...]:
    """Every picture codec on all pictures of a subject; none if it reads no pictures."""
    pictures = subject.pictures
    if pictures is None:
        return ()
    figures = []
    for rival in rivals:
        payloads = [rival.encode(picture) for picture in pictures]
        score = subject.score_pictures(np.stack([rival.decode(payload) for payload in payloads]))
        size = float(np.mean([len(payload) for payload in payloads]))
        figures.append(PictureFigures(subject.name, rival.name, size, score.error, score.agreement))
    return tuple(figures)


def equal_rows(cut: CutRow, pictures: Sequence[PictureFigures]) -> tuple[EqualRow, ...]:
    """One cut against every lossy picture codec of its model."""
    return tuple(_equal(cut, picture) for picture in pictures if picture.error > 0)


def _equal(cut: CutRow, picture: PictureFigures) -> EqualRow:
    ours = bytes_at(picture.error, cut.curve)
    return EqualRow(
        model=cut.model,
        cut=cut.cut,
        mac_share=cut.mac_share,
        codec=picture.codec,
        codec_bytes=picture.bytes,
        error=picture.error,
        our_bytes=ours.bytes,
        ratio=ours.bytes / picture.bytes,
        reading=reading(picture.error, cut.curve),
        low_point=ours.low_point,
        high_point=ours.high_point,
    )
