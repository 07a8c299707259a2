"""What happens in the service, as records; metrics, traces, logs and the dashboard read them.

`received_ns` is of this machine's monotonic clock. `identity` names who the device is ("" where
nobody asks), `session` is a prefix of the session's id, `model` and `version` are the deployment
that answered.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Activated",
    "Audited",
    "BatchRun",
    "CallLost",
    "FrameDone",
    "Happening",
    "LinkReported",
    "Observer",
    "Observers",
    "Refused",
    "Retired",
    "StreamClosed",
    "StreamOpened",
    "Unloaded",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDone:
    """A frame ended. `outcome` is "answered" or the error's code in lower case ("too_late").

    `batch` is the size of the last batch that it was part of, 0 if it was not run; `run_ms` is the
    time of the runs that it took part in. `traceparent` is the device's, "" without tracing.
    """

    identity: str
    session: str
    model: str
    version: str
    sequence: int
    candidate: str
    rung: int
    outcome: str
    payload_bytes: int
    answer_bytes: int
    batch: int
    received_ns: int
    queue_ms: float
    decode_ms: float
    run_ms: float
    total_ms: float
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRun:
    """A part of a tail ran on `size` items at once; `clients` of them are of different sessions.

    `traceparents` are those of its frames that have one; it is noted when the run has just ended.
    """

    model: str
    version: str
    part: str
    provider: str
    size: int
    clients: int
    run_ms: float
    traceparents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """A device said Hello and was welcomed; `resumed` if its session was here already."""

    identity: str
    session: str
    model: str
    version: str
    peer: str
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClosed:
    """A stream that had a session ended; `why` in a few words, for people."""

    identity: str
    session: str
    model: str
    version: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call was turned away, by whichever face; `why` is one of few words ("token", "rate", …)."""

    identity: str
    why: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """An answer was compared with the unsplit model's; `compared` says whether it could be."""

    session: str
    model: str
    version: str
    compared: bool
    agrees: bool
    divergence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """New devices of `model` get `version` from now on; `previous` is "" for the first.

    `candidates` are the ids of those that it answers. `identity` names the operator who asked for
    it, "" for nobody: at the start, at a reload, or where names are not asked.
    """

    model: str
    version: str
    previous: str
    candidates: tuple[str, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """New devices get `model` no more, of which `version` was active; `identity` asked for it."""

    model: str
    version: str
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """The last device has left a version that is not the active one: it is not served any more."""

    model: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReported:
    """A device told what it believes of its link; `bandwidth_bps` is 0 while it does not know."""

    identity: str
    session: str
    bandwidth_bps: float
    rtt_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLost:
    """A call of a replica was lost with so many frames: they go to another one, or end."""

    model: str
    version: str
    frames: int
    why: str


Happening = (
    FrameDone
    | BatchRun
    | StreamOpened
    | StreamClosed
    | Refused
    | Audited
    | Activated
    | LinkReported
    | Retired
    | Unloaded
    | CallLost
)


class Observer(Protocol):
    """Hears of what happens, on the event loop or on a worker thread; must not block."""

    def note(self, happening: Happening) -> None:
        """One more."""


class Observers:
    """Several as one. An observer that fails is logged; it must not cost a frame."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def note(self, happening: Happening) -> None:
        """See `Observer.note`."""
        for observer in self._observers:
            try:
                observer.note(happening)
            except Exception:
                _logger.exception("%s failed on %s", type(observer).__name__, happening)
