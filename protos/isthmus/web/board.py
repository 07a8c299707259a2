"""What the live page shows, as records: the service and the daemon fill them, the page draws them.

A section that is None is not shown. Texts may be anybody's (a device names its own session): they
are cut to a bounded length here, and the page shows them as text and nothing else.
"""

from typing import Literal

import msgspec
from msgspec import Struct

MOST_TEXT = 200

Tone = Literal["plain", "good", "bad"]
Level = Literal["info", "warning", "error"]
Kind = Literal["service", "device"]

__all__ = [
    "Agreement",
    "Batch",
    "Board",
    "Deployed",
    "Device",
    "Fact",
    "Happened",
    "Kind",
    "Level",
    "Share",
    "Tone",
    "Total",
    "Trend",
    "encode_board",
    "shortened",
]


class Fact(Struct, frozen=True):
    """Something that seldom changes, in words."""

    name: str
    text: str


class Total(Struct, frozen=True):
    """A figure with its name; None where it is not known. `unit` is "" for a count."""

    name: str
    value: float | None
    unit: str = ""
    tone: Tone = "plain"


class Trend(Struct, frozen=True):
    """A figure for each of the last 60 s, the oldest first; None where nothing was known."""

    name: str
    unit: str
    values: list[float | None]


class Share(Struct, frozen=True):
    """Answers of one candidate in the last minute.

    `parts_ms` are the mean times of the board's `stages`, `mean_ms` that of the whole.
    """

    name: str
    frames: int
    parts_ms: list[float]
    mean_ms: float
    mean_bytes: float


class Batch(Struct, frozen=True):
    """How often a part of a network was run on so many items at once, in the last minute."""

    size: int
    runs: int


class Agreement(Struct, frozen=True):
    """Audited answers since the start; those of one model, candidate or rung where it has a name.

    `has_drifted` says that it is not trusted any more.
    """

    name: str
    compared: int
    agreed: int
    not_compared: int = 0
    has_drifted: bool = False


class Deployed(Struct, frozen=True):
    """A version of a model that is served. `is_active`: new devices get this one."""

    model: str
    version: str
    is_active: bool
    streams: int
    answered: int


class Device(Struct, frozen=True, kw_only=True):
    """A device that is or was connected. `since_s`, `until_s` and `heard_s` are seconds ago;
    `until_s` is None for one that is here, `heard_s` for one that never sent a frame."""

    identity: str
    session: str
    peer: str
    model: str
    version: str
    since_s: float
    until_s: float | None
    heard_s: float | None
    why: str
    candidate: str | None
    shares: dict[str, int]
    bandwidth_bps: float | None
    rtt_ms: float | None
    answered: int
    errors: int
    answers_per_s: float


class Happened(Struct, frozen=True):
    """An event; `at_s` is seconds ago, `count` how often the same happened in a row."""

    at_s: float
    level: Level
    text: str
    count: int = 1


class Board(Struct, frozen=True, kw_only=True):
    """All of the page at one moment."""

    kind: Kind
    title: str
    version: str
    state: str
    uptime_s: float
    facts: list[Fact]
    totals: list[Total]
    trends: list[Trend]
    stages: list[str]
    candidates: list[Share]
    events: list[Happened]
    batches: list[Batch] | None = None
    agreement: list[Agreement] | None = None
    models: list[Deployed] | None = None
    devices: list[Device] | None = None
    devices_left_out: int = 0


def encode_board(board: Board) -> bytes:
    """JSON on one line, in UTF-8; what is no finite number is null."""
    return msgspec.json.encode(board)


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """At most so many characters, and none that no encoding has (half of a surrogate pair)."""
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return kept.encode("utf-8", "backslashreplace").decode("utf-8")
