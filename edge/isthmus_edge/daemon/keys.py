"""Tables of a TOML file into typed sections; every complaint names file, line, key and way out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from isthmus import ConfigError
from isthmus_edge.config import SECRET

Section = TypeVar("Section")

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
_LIKENESS = 0.6  # as difflib counts it: a letter or two that are wrong or changed places

__all__ = ["Place", "nearest", "section_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the file: its header, and which one it is of those that have the same header."""

    file: Path
    text: str
    header: str = ""
    turn: int = 0

    def of(self, key: str) -> str:
        """Where a key of this table stands, for people: the line where it can be found.

        For "" that of the table's own header.
        """
        number = self._line(key)
        line = "" if number is None else f", line {number}"
        table = f", {self.header}" if self.header else ""
        return f"{self.file}{line}{table}"

    def _line(self, key: str) -> int | None:
        header, seen = "", -1 if self.header else 0
        for number, line in enumerate(self.text.splitlines(), 1):
            if found := re.match(r"\s*(\[+[^\]]*\]+)", line):
                header = re.sub(r"\s", "", found[1])
                seen += header == self.header
                is_ours = header == self.header and seen == self.turn
                if (is_ours and not key) or (not self.header and header.strip("[]") == key):
                    return number
            elif header == self.header and seen == self.turn and _is_of(line, key):
                return number
        return None


def _is_of(line: str, key: str) -> bool:
    return re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line) is not None


def section_of(kind: type[Section], table: object, place: Place, ignored: str = "") -> Section:
    """One table as `kind`, a dataclass or a Struct, whose fields are the keys that are allowed.

    Paths are taken from the folder of the file. The key `ignored` was looked at already. Raises
    ConfigError for an unknown or missing key and a value of a wrong type.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place.of('')}: must be a table of keys and values")
    hints = _hints(kind)
    given = {str(key): value for key, value in table.items() if key != ignored}
    for key in given:
        if key not in hints:
            raise ConfigError(f"{place.of(key)}: unknown key {key!r}; {nearest(key, hints)}")
    values = {key: _converted(value, hints[key], key, place) for key, value in given.items()}
    try:
        return kind(**values)
    except TypeError as error:
        missing = [name for name in hints if name not in given and repr(name) in str(error)]
        raise ConfigError(
            f"{place.of('')}: {', '.join(missing) or error} is missing; it has no default"
        ) from error
    except ConfigError as error:
        raise ConfigError(f"{place.of(_named_in(str(error), given))}: {error}") from error


def nearest(word: str, allowed: Mapping[str, object]) -> str:
    """What was probably meant, and what there is."""
    listed = f"allowed here are {', '.join(allowed)}"
    like = get_close_matches(word, list(allowed), 1, _LIKENESS)
    return f"did you mean {like[0]!r}? {listed}" if like else listed


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _converted(value: object, hint: Any, key: str, place: Place) -> object:
    def hook(wanted: type, given: object) -> object:
        if wanted is Path and isinstance(given, str) and given and "\0" not in given:
            return (place.file.parent / Path(given).expanduser()).absolute()
        raise TypeError

    try:
        return msgspec.convert(value, hint, dec_hook=hook)
    except RuntimeError as error:  # of expanduser
        raise ConfigError(
            f"{place.of(key)}: {key} = {value!r}: there is no such home; give the whole path"
        ) from error
    except (msgspec.ValidationError, TypeError) as error:
        shown = "" if key in SECRET else f" = {value!r}"
        raise ConfigError(f"{place.of(key)}: {key}{shown}: use {_allowed(hint)}") from error


def _allowed(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        bounds = [bound for meta in metas for bound in _bounds(meta)]
        return " ".join([_allowed(inner), *bounds])
    if get_origin(hint) in {Union, UnionType}:
        return " or ".join(_allowed(each) for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) in {tuple, list}:
        return f"a list, each {_allowed(get_args(hint)[0])}"
    return "a path in quotes" if hint is Path else _WORDS.get(hint, str(hint))


def _bounds(meta: object) -> list[str]:
    if not isinstance(meta, msgspec.Meta):
        return []
    words = {"of at least": meta.ge, "above": meta.gt, "of at most": meta.le}
    return [f"{word} {bound:,}" for word, bound in words.items() if bound is not None]


def _named_in(message: str, given: Mapping[str, object]) -> str:
    """The key that a section's own check complains of: its line is the place."""
    return next((key for key in given if re.search(rf"\b{re.escape(key)}\b", message)), "")
