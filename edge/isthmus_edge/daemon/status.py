"""What a daemon says of itself when it is asked."""

from typing import Any, Literal

from msgspec import Struct

from isthmus_edge.answer import Stats

State = Literal["starting", "running", "reloading", "stopping"]
SupplyState = Literal["starting", "fetching", "opening", "current", "waiting", "refused"]
SourceState = Literal["starting", "running", "lost", "ended", "failed", "stopped"]

__all__ = [
    "AgentStatus",
    "Counts",
    "LinkStatus",
    "OutputStatus",
    "SourceState",
    "SourceStatus",
    "State",
    "Status",
    "SupplyState",
    "SupplyStatus",
    "UpdateStatus",
]


class Counts(Struct, frozen=True, kw_only=True):
    """Frames of all agents since the start. accepted = cloud + device + errors + pending."""

    accepted: int = 0
    answered_cloud: int = 0
    answered_device: int = 0
    errors: int = 0
    stale: int = 0
    pending: int = 0

    @classmethod
    def of(cls, stats: Stats) -> "Counts":
        """Those of one agent."""
        return cls(**{name: getattr(stats, name) for name in cls.__struct_fields__})

    def __add__(self, other: "Counts") -> "Counts":
        names = self.__struct_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


class LinkStatus(Struct, frozen=True, kw_only=True):
    """The link to the cloud; the figures are None as long as nothing is believed of it.

    `cloud` is the address of the service at the other end, None while there is none; `model` and
    `version` are what it calls the bundle, empty where it has no names for it.
    """

    state: str
    bandwidth_bps: float | None = None
    rtt_ms: float | None = None
    cloud: str | None = None
    model: str = ""
    version: str = ""


class UpdateStatus(Struct, frozen=True, kw_only=True):
    """What the cloud's active version is called, and the fingerprint of its bundle."""

    model: str
    version: str
    fingerprint: str


class AgentStatus(Struct, frozen=True, kw_only=True):
    """The agent in use; `answers` is False while it does not say how it is, then this is old.

    `update` is another version of the model that the cloud has offered, and that is not used yet.
    """

    answers: bool
    candidate: str | None
    rung: int | None
    switches: int
    link: LinkStatus
    events: list[str] = []
    update: UpdateStatus | None = None


class SourceStatus(Struct, frozen=True, kw_only=True):
    """One source: taken = answered + errors + unreadable + unwritten + what is under way.

    `unwritten` are answers and errors that no output could take; a directory gives their pictures
    again. `dropped` frames were stale before anybody asked for them.
    """

    name: str
    kind: str
    state: SourceState
    detail: str
    taken: int
    answered: int
    errors: int
    unreadable: int
    unwritten: int = 0
    dropped: int


class OutputStatus(Struct, frozen=True, kw_only=True):
    """Lines that were written, and answers that could not be: `fault` says why not now."""

    written: int
    unwritten: int
    fault: str | None


class SupplyStatus(Struct, frozen=True, kw_only=True):
    """Where bundles come from the cloud: what becomes of the one that the cloud named last.

    "current" is in use; "waiting" is tried again by itself; "refused" not before an hour is over.
    `share` (0-1) of it is here while it is being fetched; `fault` says why it waits or is refused.
    """

    model: str
    state: SupplyState
    version: str = ""
    fingerprint: str = ""
    share: float | None = None
    fault: str | None = None


class Status(Struct, frozen=True, kw_only=True):
    """One daemon; what is None was not opened yet.

    `bundle` has `path`, `model` and `fingerprint`; `events` are the last that were told;
    `dashboard` has the URLs of the live page, none without one; `supply` is None where the bundle
    is a folder that somebody else fills.
    """

    version: str
    pid: int
    state: State
    config: str
    uptime_s: float
    bundle: dict[str, str] | None
    agent: AgentStatus | None
    counts: Counts | None
    rss_bytes: int
    endpoint: list[str]
    sources: list[SourceStatus]
    output: OutputStatus | None
    reloads: int
    reload_fault: str | None
    events: list[dict[str, Any]]
    dashboard: list[str] = []
    supply: SupplyStatus | None = None
