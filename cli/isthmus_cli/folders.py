"""A type for flags: a folder that has a name."""

import argparse
from pathlib import Path

__all__ = ["named_folder"]


def named_folder(text: str) -> Path:
    """A path; nothing at all is refused, as `Path` takes it for the folder that one is in."""
    if not text:
        raise argparse.ArgumentTypeError(
            "it is empty (a variable that is not set?); name a folder, '.' for the present one"
        )
    return Path(text)
