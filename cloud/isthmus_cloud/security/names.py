"""What may be the name of an identity: safe in logs, on a page and in a file of any kind."""

import re

NAME = r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}\Z"
ALLOWED = "at most 128 letters, digits and . _ @ : / -, the first a letter or digit"

__all__ = ["ALLOWED", "NAME", "is_name"]

_PATTERN = re.compile(NAME)


def is_name(text: str) -> bool:
    """Whether it may be one."""
    return _PATTERN.match(text) is not None
