"""English text to the token ids of an uncased BERT, as its own tokenizer gives them.

Devlin et al., "BERT", arXiv 1810.04805, and `tokenization.py` beside it: lower case without
accents, split at spaces and punctuation, then each word into its longest known pieces from the
left. What that tokenizer does for Chinese is left out.
"""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError, ModelError

__all__ = ["WordPieces"]

_START, _END, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_LONGEST_WORD = 100
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


class WordPieces:
    """A vocabulary of pieces; a piece inside a word begins with `##`."""

    def __init__(self, vocabulary: Path) -> None:
        """Read one piece a line; ModelError if it is no vocabulary of BERT."""
        try:
            pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{vocabulary}: cannot be read ({error}); reinstall it") from error
        self._ids = {piece: index for index, piece in enumerate(pieces)}
        missing = {_START, _END, _UNKNOWN} - self._ids.keys()
        if missing:
            raise ModelError(f"{vocabulary}: has no {min(missing)}; name the vocab.txt of a BERT")

    def pieces(self, text: str) -> tuple[str, ...]:
        """The pieces of a text, without start and end."""
        decomposed = unicodedata.normalize("NFD", text.lower())
        plain = "".join(each for each in decomposed if unicodedata.category(each) != "Mn")
        return tuple(piece for word in _words(plain) for piece in self._split(word))

    def ids(self, text: str, length: int) -> NDArray[np.int64]:
        """`length` ids from start to end, of the beginning of a text that is long enough.

        Raises ConfigError for a text that would have to be padded.
        """
        inner = self.pieces(text)[: length - 2]
        if len(inner) < length - 2:
            raise ConfigError(
                f"{text[:40]!r}… has {len(inner)} pieces; needed: {length - 2}, take a longer text"
            )
        return np.array([self._ids[piece] for piece in (_START, *inner, _END)], np.int64)

    def _split(self, word: str) -> tuple[str, ...]:
        pieces: list[str] = []
        start = 0
        while start < len(word) <= _LONGEST_WORD:
            piece = self._longest(word, start)
            if piece is None:
                return (_UNKNOWN,)
            pieces.append(piece)
            start += len(piece) - (2 if start else 0)
        return tuple(pieces) or (_UNKNOWN,)

    def _longest(self, word: str, start: int) -> str | None:
        prefix = "##" if start else ""
        candidates = (prefix + word[start:end] for end in range(len(word), start, -1))
        return next((piece for piece in candidates if piece in self._ids), None)


def _words(text: str) -> Iterator[str]:
    """Words and single marks; an underscore is a mark."""
    for match in _WORD_OR_MARK.finditer(text):
        yield from filter(None, re.split("(_)", match[0]))
