"""Text drawn on photographs: lines to read and glyphs to find, as uint8 RGB pictures.

The photographs are those of `pictures`, the words those of `prose`, so calibration and evaluation
share neither; what is drawn, and where, is known exactly. Edges are as soft as a lens leaves them,
and no noise is added: either would count against JPEG, which such pictures are compared with.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from isthmus_models.package_files import package_file
from isthmus_models.pictures import UInt8Array, calibration_pictures, evaluation_pictures
from isthmus_models.prose import calibration_passages, evaluation_passages
from isthmus_models.published import DETECTOR_SIZE, LINE_HEIGHT, LINE_WIDTH

__all__ = ["GlyphPictures", "LinePictures", "Part", "glyph_pictures", "line_pictures"]

Part = Literal["calibration", "evaluation"]
Boxes = NDArray[np.float32]

_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")
_SEEDS: dict[Part, int] = {"calibration": 3, "evaluation": 4}
_WORDS_A_LINE = 8
_LETTERS_A_LINE = 24
_MARGIN = 8
_REACH = 16  # pixels; outline and blur end well within
_GLYPHS = "ABCDEFGHKLMNPRSTUVWXYZ2345789"


@dataclass(frozen=True, slots=True)
class LinePictures:
    """`pictures[i]`, uint8 [48,320,3], shows the line `texts[i]`."""

    pictures: UInt8Array
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GlyphPictures:
    """`boxes[i]`, float32 [glyphs,4], holds left, top, right, bottom of what `pictures[i]` shows.

    The pictures are uint8 [n,416,416,3]; boxes are in pixels.
    """

    pictures: UInt8Array
    boxes: tuple[Boxes, ...]


def line_pictures(part: Part, count: int) -> LinePictures:
    """Lines of English, one on each of `count` strips of photographs.

    The first ones are the same whatever `count` is. ConfigError for a count below 1 or a package
    that is not installed.
    """
    backgrounds = _backgrounds(part, count, LINE_WIDTH)
    top = (LINE_WIDTH - LINE_HEIGHT) // 2
    read = calibration_passages if part == "calibration" else evaluation_passages
    texts = tuple(_line(passage) for passage in read(count, _WORDS_A_LINE))
    random = np.random.default_rng(_SEEDS[part])
    strips = backgrounds[:, top : top + LINE_HEIGHT]
    drawn = [_with_line(*each, random) for each in zip(strips, texts, strict=True)]
    return LinePictures(np.stack(drawn), texts)


def glyph_pictures(part: Part, count: int) -> GlyphPictures:
    """Three to six capitals and digits, turned and coloured, on each of `count` photographs.

    As for `line_pictures`.
    """
    random = np.random.default_rng(_SEEDS[part])
    drawn = [_with_glyphs(each, random) for each in _backgrounds(part, count, DETECTOR_SIZE)]
    pictures, boxes = zip(*drawn, strict=True)
    return GlyphPictures(np.stack(pictures), boxes)


def _backgrounds(part: Part, count: int, size: int) -> UInt8Array:
    crops = calibration_pictures if part == "calibration" else evaluation_pictures
    return crops(count, size)


def _line(passage: str) -> str:
    """As many whole words as a line holds, in plain ASCII."""
    words = passage.encode("ascii", "ignore").decode().split()
    line = words[0][:_LETTERS_A_LINE]
    for word in words[1:]:
        if len(line) + 1 + len(word) > _LETTERS_A_LINE:
            break
        line = f"{line} {word}"
    return line


def _with_line(strip: UInt8Array, text: str, random: np.random.Generator) -> UInt8Array:
    name = _FONTS[random.integers(len(_FONTS))]
    size = int(random.integers(26, 33))
    while (box := _font(name, size).getbbox(text))[2] > LINE_WIDTH - 2 * _MARGIN:
        size -= 1
    mask = Image.new("L", (LINE_WIDTH, LINE_HEIGHT))
    place = (_MARGIN, (LINE_HEIGHT - box[1] - box[3]) // 2)
    ImageDraw.Draw(mask).text(place, text, 255, font=_font(name, size))
    mask = mask.rotate(random.uniform(-1, 1), Image.Resampling.BICUBIC)
    return _outlined(strip, mask, random)


def _with_glyphs(photo: UInt8Array, random: np.random.Generator) -> tuple[UInt8Array, Boxes]:
    """One glyph in each of some cells of a 3x3 grid, so that none covers another."""
    cell = DETECTOR_SIZE // 3
    boxes = []
    for place in random.permutation(9)[: random.integers(3, 7)]:
        mask = _glyph(random)
        left, top = (int(corner) * cell for corner in divmod(int(place), 3))
        left += int(random.integers(cell - mask.width))
        top += int(random.integers(cell - mask.height))
        box = (left, top, left + mask.width, top + mask.height)
        photo = _with_glyph(photo, mask, box, random)
        boxes.append(box)
    return photo, np.array(boxes, np.float32)


def _with_glyph(
    photo: UInt8Array,
    mask: Image.Image,
    box: tuple[int, int, int, int],
    random: np.random.Generator,
) -> UInt8Array:
    """Only the glyph's surroundings are painted: filters take their time by the pixel."""
    left, top = (max(0, corner - _REACH) for corner in box[:2])
    right, bottom = (min(DETECTOR_SIZE, corner + _REACH) for corner in box[2:])
    near = Image.new("L", (right - left, bottom - top))
    near.paste(mask, (box[0] - left, box[1] - top))
    painted = photo.copy()
    painted[top:bottom, left:right] = _outlined(photo[top:bottom, left:right], near, random)
    return painted


def _glyph(random: np.random.Generator) -> Image.Image:
    """A turned glyph as a mask that fits it exactly."""
    font = _font(_FONTS[random.integers(len(_FONTS))], int(random.integers(48, 81)))
    mask = Image.new("L", (160, 160))
    glyph = _GLYPHS[random.integers(len(_GLYPHS))]
    ImageDraw.Draw(mask).text((80, 80), glyph, 255, font=font, anchor="mm")
    turned = mask.rotate(random.uniform(-30, 30), Image.Resampling.BICUBIC)
    return turned.crop(turned.getbbox())


def _outlined(photo: UInt8Array, mask: Image.Image, random: np.random.Generator) -> UInt8Array:
    """The photo with a light colour, outlined in a dark one, where the mask is white; or reversed.

    The outline is what keeps subtitles legible on any background.
    """
    tones = [random.integers(170, 256, 3), random.integers(0, 70, 3)]
    fill, edge = tones if random.random() < 0.5 else tones[::-1]
    blur = ImageFilter.GaussianBlur(random.uniform(0.4, 0.8))
    outline = mask.filter(ImageFilter.MaxFilter(5)).filter(blur)
    return _painted(_painted(photo, outline, edge), mask.filter(blur), fill)


def _painted(photo: UInt8Array, mask: Image.Image, colour: NDArray[np.int64]) -> UInt8Array:
    cover = np.asarray(mask, np.float32)[..., None] / 255
    mixed: UInt8Array = np.rint(photo * (1 - cover) + colour * cover).astype(np.uint8)
    return mixed


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(package_file("matplotlib", f"mpl-data/fonts/ttf/{name}.ttf"), size)
