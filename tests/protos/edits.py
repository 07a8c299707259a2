"""A manifest with one thing changed: what the tests of its validation begin with."""

import json
from collections.abc import Callable
from typing import Any

from isthmus import encode_manifest
from isthmus_bench.fuzz.plan import wire_plan

__all__ = ["Change", "edited", "put", "without"]

Change = Callable[[dict[str, Any]], object]


def edited(change: Change) -> bytes:
    """`wire_plan` as a file, changed."""
    document = json.loads(encode_manifest(wire_plan()))
    change(document)
    return json.dumps(document).encode()


def put(*path: str | int, to: object) -> Change:
    """Another value at a place."""

    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to

    return change


def without(path: str) -> Change:
    """A file left out of the list."""
    return lambda d: d.update(files=[each for each in d["files"] if each["path"] != path])
