"""Inputs for each model of the catalogue, with the source of every item.

Plain arrays by the name of the input, [n,*shape], and a source for each row: the photograph that a
picture was cut from, the chapter that a passage stands in. Calibration and evaluation share none.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isthmus_models.drawn import Part, glyph_pictures, line_pictures
from isthmus_models.minilm import TOKENS, minilm_tokens
from isthmus_models.pictures import (
    CALIBRATION_PHOTOS,
    EVALUATION_PHOTOS,
    UInt8Array,
    calibration_pictures,
    evaluation_pictures,
)
from isthmus_models.prose import (
    calibration_chapters,
    calibration_passages,
    evaluation_chapters,
    evaluation_passages,
)

__all__ = [
    "Items",
    "drawn_glyphs",
    "drawn_lines",
    "masked_passages",
    "passages",
    "photographs",
    "photos_of",
    "square_photographs",
]

Items = tuple[Mapping[str, NDArray[np.generic]], tuple[str, ...]]

_PICTURE = "picture"  # what `with_picture_input` calls the input
_WORDS = TOKENS - 2  # a word has one piece or more


def photographs(
    part: Part, count: int, height: int, width: int
) -> tuple[UInt8Array, tuple[str, ...]]:
    """Crops of the house's photographs, uint8 RGB [count,height,width,3], and whose they are."""
    crops = calibration_pictures if part == "calibration" else evaluation_pictures
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    pictures = crops(count, side)[:, top : top + height, left : left + width]
    return np.ascontiguousarray(pictures), photos_of(part, count)


def photos_of(part: Part, count: int) -> tuple[str, ...]:
    """The photograph of each crop: they take turns."""
    photos = CALIBRATION_PHOTOS if part == "calibration" else EVALUATION_PHOTOS
    return tuple(photos[row % len(photos)].name for row in range(count))


def square_photographs(size: int, part: Part, count: int) -> Items:
    """For classifiers of square pictures."""
    pictures, sources = photographs(part, count, size, size)
    return {_PICTURE: pictures}, sources


def drawn_glyphs(part: Part, count: int) -> Items:
    """Glyphs to find, for the detector."""
    return {_PICTURE: glyph_pictures(part, count).pictures}, photos_of(part, count)


def drawn_lines(part: Part, count: int) -> Items:
    """Lines to read; the photograph behind a line is its source."""
    return {_PICTURE: line_pictures(part, count).pictures}, photos_of(part, count)


def passages(part: Part, count: int) -> Items:
    """Token ids for the text encoder."""
    is_calibration = part == "calibration"
    texts = (calibration_passages if is_calibration else evaluation_passages)(count, _WORDS)
    chapters = (calibration_chapters if is_calibration else evaluation_chapters)(count, _WORDS)
    return {"ids": minilm_tokens(texts)}, chapters


def masked_passages(part: Part, count: int) -> Items:
    """The same for an encoder that takes masks and types of tokens, too."""
    arrays, chapters = passages(part, count)
    ids = arrays["ids"]
    others = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {"input_ids": ids, **others}, chapters
