"""How encodings, sizes and names are written for people, wherever a report is printed."""

import unicodedata
from collections.abc import Sequence

from isthmus import Encoding, Lossless, Picture, PictureFormat, Raw, Symbols, TensorSpec

__all__ = ["bytes_words", "encoding_words", "encodings_words", "plain", "tensor_words"]

_FORMATS: dict[PictureFormat, str] = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


def encoding_words(encoding: Encoding) -> str:
    """One wire encoding, as `JPEG q85` or `16 levels, step 0.25`."""
    match encoding:
        case Raw():
            return "raw"
        case Lossless():
            return "lossless"
        case Picture(format=name, quality=quality):
            return f"{_FORMATS[name]} {'lossless' if quality is None else f'q{quality}'}"
        case Symbols(levels=levels, step=step):
            return f"{levels} levels, step {step:.3g}"


def encodings_words(encodings: Sequence[Encoding]) -> str:
    """Those of all tensors of a cut."""
    return " + ".join(map(encoding_words, encodings)) or "nothing sent"


def tensor_words(tensor: TensorSpec) -> str:
    """A tensor as `name uint8 [40,28,28]`; the batch is left out."""
    return f"{plain(tensor.name)} {tensor.data_type} [{','.join(map(str, tensor.shape))}]"


def bytes_words(size: float) -> str:
    """Bytes with a decimal unit and three digits."""
    for unit in ("B", "KB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1e3
    return f"{size:.3g} GB"


def plain(name: str) -> str:
    """A name from a model file without characters that would steer a terminal or turn the line."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else character
        for character in name
    )
