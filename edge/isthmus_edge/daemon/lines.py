"""One line of the output: how one picture ended."""

from datetime import UTC, datetime
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus_edge.answer import Answer
from isthmus_edge.daemon.printable import printable
from isthmus_edge.daemon.sections import OutputSection
from isthmus_edge.daemon.sources import Item

__all__ = ["answer_line", "error_line", "head_of"]

Head = dict[str, Any]


def head_of(source: str, item: Item) -> Head:
    """When and of what: how each line begins."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"time": now, "source": source, "item": printable(item.name)}


def answer_line(head: Head, answer: Answer, section: OutputSection) -> bytes:
    """Its classes (or all its values), where it was computed, and what that cost."""
    line = head | {
        "top": [
            {"label": label, "score": score if isfinite(score) else None}
            for label, score in answer.top(section.top)
        ],
        "place": answer.place,
        "candidate": answer.candidate,
        "rung": answer.rung,
        "latency_ms": round(answer.latency_ms, 2),
        "payload_bytes": answer.payload_bytes,
    }
    if section.values == "all":
        line["outputs"] = {name: _listed(value) for name, value in answer.outputs.items()}
    return msgspec.json.encode(line) + b"\n"


def error_line(head: Head, error: BaseException) -> bytes:
    """Why there is no answer."""
    return msgspec.json.encode(head | {"error": printable(str(error))}) + b"\n"


def _listed(array: NDArray[np.generic]) -> Any:
    """Nested lists; msgspec writes what is not finite as null."""
    return array.tolist()
