"""What somebody on another machine may hear of an error of the store."""

from pathlib import Path

MOST_CHARACTERS = 1000

__all__ = ["told"]


def told(text: str, root: Path) -> str:
    """`text` for somebody elsewhere: names in the store remain, where it lies (`root`) does not."""
    for place in (root, root.resolve()):
        text = text.replace(f"{place}/", "").replace(str(place), "the store")
    return text.encode("utf-8", "backslashreplace").decode()[:MOST_CHARACTERS]  # it goes by UTF-8
