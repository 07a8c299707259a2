"""What the doctor says: one finding a line, with the way out."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from isthmus import IsthmusError

State = Literal["ok", "warn", "fail"]
Figure = bool | int | float | str | list[str] | None

_NO_WAY_OUT = "put right what is named there, and look again"

__all__ = [
    "Figure",
    "Finding",
    "State",
    "Summary",
    "fail",
    "note",
    "summarise",
    "told_apart",
    "warn",
]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. `way_out` says what to do about it, None where nothing has to be done.

    `figures` holds what was read or measured; units stand in the names.
    """

    id: str
    state: State
    text: str
    way_out: str | None = None
    figures: dict[str, Figure] = msgspec.field(default_factory=dict)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings there are of each state."""

    ok: int
    warn: int
    fail: int

    @property
    def status(self) -> int:
        """The exit status: 1 if anything fails, warnings are allowed."""
        return 1 if self.fail else 0


def note(name: str, text: str, **figures: Figure) -> Finding:
    """All is well."""
    return Finding(id=name, state="ok", text=text, figures=figures)


def warn(name: str, text: str, way_out: str, **figures: Figure) -> Finding:
    """It works, but slower, later or less surely than it could."""
    return Finding(id=name, state="warn", text=text, way_out=way_out, figures=figures)


def fail(name: str, text: str, way_out: str, **figures: Figure) -> Finding:
    """It does not work."""
    return Finding(id=name, state="fail", text=text, way_out=way_out, figures=figures)


def told_apart(error: IsthmusError) -> tuple[str, str]:
    """What was wrong, and the way out: what the message says behind its last semicolon."""
    text, _, way_out = str(error).rpartition("; ")
    return (text, way_out) if text else (way_out, _NO_WAY_OUT)


def summarise(findings: Iterable[Finding]) -> Summary:
    """Count them."""
    states = [finding.state for finding in findings]
    return Summary(ok=states.count("ok"), warn=states.count("warn"), fail=states.count("fail"))
