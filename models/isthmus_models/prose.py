"""English prose that is installed anyway, in passages of equally many words.

It is the Python reference, which every interpreter carries for `help()`. As with the photographs,
calibration and evaluation share no source: each has chapters of its own.
"""

import re
from collections.abc import Sequence
from pydoc_data.topics import topics

from isthmus.errors import ConfigError

__all__ = [
    "calibration_chapters",
    "calibration_passages",
    "evaluation_chapters",
    "evaluation_passages",
]

# Chapters of which none holds another.
_CALIBRATION_CHAPTERS = ("debugger", "types", "typesmapping", "typesseq")
_EVALUATION_CHAPTERS = (
    "compound", "execmodel", "formatstrings", "import", "objects", "specialnames", "string-methods",
)  # fmt: skip
_MARKUP = re.compile(r"[*`|]")
# A paragraph of prose begins with a word and ends as a sentence does; headings, tables, grammars
# and programs do not.
_PROSE = re.compile(r"[A-Z][a-z]* .*[a-z)][.:]", re.DOTALL)


def calibration_passages(count: int, words: int) -> tuple[str, ...]:
    """`count` passages of `words` words, taking turns over the chapters.

    The first passages are the same whatever `count` is. ConfigError if it is below 1 or beyond
    what the chapters hold.
    """
    return tuple(text for _, text in _passages(_CALIBRATION_CHAPTERS, count, words))


def evaluation_passages(count: int, words: int) -> tuple[str, ...]:
    """As `calibration_passages`, of chapters that it never sees."""
    return tuple(text for _, text in _passages(_EVALUATION_CHAPTERS, count, words))


def calibration_chapters(count: int, words: int) -> tuple[str, ...]:
    """The chapter that each of `calibration_passages` comes from."""
    return tuple(chapter for chapter, _ in _passages(_CALIBRATION_CHAPTERS, count, words))


def evaluation_chapters(count: int, words: int) -> tuple[str, ...]:
    """The chapter that each of `evaluation_passages` comes from."""
    return tuple(chapter for chapter, _ in _passages(_EVALUATION_CHAPTERS, count, words))


def _passages(chapters: Sequence[str], count: int, words: int) -> list[tuple[str, str]]:
    """So many passages, each with the name of its chapter."""
    if count < 1 or words < 1:
        raise ConfigError(f"{count} passages of {words} words: both must be 1 or more")
    sources = {name: _prose(topics[name]).split() for name in chapters}
    longest = max(map(len, sources.values())) // words
    found = [
        (name, " ".join(source[turn * words : (turn + 1) * words]))
        for turn in range(longest)
        for name, source in sources.items()
        if len(source) >= (turn + 1) * words
    ]
    if len(found) < count:
        raise ConfigError(
            f"there are {len(found)} passages of {words} words, not {count}; ask for fewer"
        )
    return found[:count]


def _prose(text: str) -> str:
    paragraphs = (part.strip() for part in _MARKUP.sub("", text).split("\n\n"))
    return " ".join(part for part in paragraphs if _PROSE.fullmatch(part))
