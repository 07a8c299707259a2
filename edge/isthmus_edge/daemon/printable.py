"""Names of files may be any bytes; a line of JSON holds Unicode only."""

from typing import Any

__all__ = ["printable", "printed"]


def printable(text: str) -> str:
    """The same, with each byte that is no UTF-8 (Python keeps it as a surrogate) as ``\\xNN``."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair, which stands for no byte
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def printed(value: Any) -> Any:
    """As `printable`, of every text in lists and mappings."""
    match value:
        case str():
            return printable(value)
        case list() | tuple():
            return [printed(each) for each in value]
        case dict():
            return {printed(key): printed(each) for key, each in value.items()}
        case _:
            return value
