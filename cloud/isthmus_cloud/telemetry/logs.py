"""What the service writes down: one line an event, with who, what and why in fields.

Lines are few: a frame is a line at debug level, or if it ended in a way that somebody should look
at. Whatever strangers can cause (refusals, streams that come and go, calls that are turned away) is
limited to so many lines a second of each kind; how many were left out is a line of its own. Secrets
are not in any record: sessions are told by the beginning of their ids, tokens never.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Literal

from isthmus.log_lines import start_lines, tell
from isthmus_cloud.telemetry.happenings import (
    Activated,
    Audited,
    CallLost,
    FrameDone,
    Happening,
    Refused,
    Retired,
    StreamClosed,
    StreamOpened,
    Unloaded,
)

LINES_PER_S = 20
MOST_CHARACTERS = 200  # of a field
LogFormat = Literal["auto", "text", "json"]
_ROOMS = ("isthmus", "isthmus_cloud")

# How a frame ends that is nobody's fault, and how one ends where somebody should look.
_USUAL = frozenset({"answered", "cancelled", "key_frame_needed"})
_WRONG = frozenset({"internal", "bad_frame", "unknown_candidate", "protocol", "unspecified"})

__all__ = ["LogFormat", "LogObserver", "start_logging"]

_logger = logging.getLogger(__name__)


def start_logging(
    kind: LogFormat = "auto", level: int = logging.INFO, stream: IO[str] | None = None
) -> None:
    """Send every log line of the process to `stream` (stderr); "auto" is text on a terminal and
    JSON elsewhere.

    Libraries are heard from info on, whatever the level. Plain lines of one logger and level are
    limited, as the observer's are.
    """
    stream = sys.stderr if stream is None else stream
    as_json = kind == "json" or (kind == "auto" and not stream.isatty())
    start_lines(as_json=as_json, level=max(level, logging.INFO), word_of=_word_of, stream=stream)
    for room in _ROOMS:
        logging.getLogger(room).setLevel(level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_PlainLines())


class LogObserver:
    """Writes happenings down, at most `lines_per_s` of one event and level; from any thread.

    What was left out is told with the next happening a second later, or by `flush`. `clock` counts
    seconds and may be any that never goes back.
    """

    def __init__(
        self, lines_per_s: int = LINES_PER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines_per_s = lines_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._quotas: dict[tuple[str, int], _Quota] = {}
        self._owes = False  # some quota has left lines out

    def note(self, happening: Happening) -> None:
        """See `Observer.note`."""
        match happening:
            case FrameDone(outcome=outcome):
                self._frame(happening, outcome)
            case StreamOpened():
                self._stream(happening, "stream_opened", peer=happening.peer, **_resumed(happening))
            case StreamClosed():
                self._stream(happening, "stream_closed", why=happening.why)
            case Refused(identity=identity, why=why, peer=peer):
                self._say(logging.WARNING, "refused", identity=identity, why=why, peer=peer)
            case CallLost():
                self._call_lost(happening)
            case Activated() | Unloaded() | Retired():
                self._move(happening)
            case Audited() if happening.compared and not happening.agrees:
                self._disagreement(happening)
        if self._owes:
            self._tell_left_out(due=True)

    def flush(self) -> None:
        """Tell what was left out: the service is about to end."""
        self._tell_left_out(due=False)

    def _frame(self, done: FrameDone, outcome: str) -> None:
        level = logging.WARNING if outcome in _WRONG else logging.DEBUG
        if not _logger.isEnabledFor(level):
            return
        fields: dict[str, object] = {
            "session": done.session,
            "identity": done.identity,
            "model": done.model,
            "version": done.version,
            "sequence": done.sequence,
            "candidate": done.candidate,
            "rung": done.rung,
            "outcome": outcome,
            "payload_bytes": done.payload_bytes,
            "queue_ms": round(done.queue_ms, 3),
            "total_ms": round(done.total_ms, 3),
        }
        self._say(level, "frame" if outcome in _USUAL else "frame_failed", **fields)

    def _stream(self, happening: StreamOpened | StreamClosed, event: str, **more: object) -> None:
        fields: dict[str, object] = {
            "session": happening.session,
            "identity": happening.identity,
            "model": happening.model,
            "version": happening.version,
        }
        self._say(logging.INFO, event, **fields, **more)

    def _move(self, happening: Activated | Unloaded | Retired) -> None:
        """Of which model new devices get which version; and who said so."""
        fields: dict[str, object] = {"model": happening.model, "version": happening.version}
        match happening:
            case Activated(previous=previous, identity=identity):
                self._say(logging.INFO, "activated", identity=identity, **fields, previous=previous)
            case Unloaded(identity=identity):
                self._say(logging.INFO, "unloaded", identity=identity, **fields)
            case Retired():
                self._say(logging.INFO, "retired", **fields)

    def _call_lost(self, lost: CallLost) -> None:
        fields: dict[str, object] = {
            "model": lost.model,
            "version": lost.version,
            "frames": lost.frames,
            "why": lost.why,
        }
        self._say(logging.WARNING, "call_lost", **fields)

    def _disagreement(self, audited: Audited) -> None:
        fields: dict[str, object] = {
            "session": audited.session,
            "model": audited.model,
            "version": audited.version,
            "divergence": round(audited.divergence, 6),
        }
        self._say(logging.INFO, "audit_disagrees", **fields)

    def _say(self, level: int, event: str, **fields: object) -> None:
        """Log it, unless there were too many of these. Debug lines are asked for, so all come."""
        if not _logger.isEnabledFor(level):
            return
        if level > logging.DEBUG:
            with self._lock:
                quota = self._quotas.setdefault((event, level), _Quota(self._lines_per_s))
                may = quota.take(self._clock())
                self._owes |= quota.left_out > 0
            if not may:
                return
        tell(_logger, level, event, **{name: _shown(value) for name, value in fields.items()})

    def _tell_left_out(self, *, due: bool) -> None:
        """Of the quotas whose second is over, or of all."""
        with self._lock:
            now = self._clock()
            owed = [
                (level, event, quota.settle())
                for (event, level), quota in self._quotas.items()
                if quota.left_out and not (due and quota.is_running(now))
            ]
            self._owes = any(quota.left_out for quota in self._quotas.values())
        for level, event, lines in owed:
            tell(_logger, level, "left_out", of=event, lines=lines)


class _PlainLines(logging.Filter):
    """Lets so many lines a second pass of each logger, level and event, of those that no observer
    wrote.

    The next one that passes says how many did not.
    """

    def __init__(
        self, lines_per_s: int = LINES_PER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._lines_per_s = lines_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._quotas: dict[tuple[str, int, str], _Quota] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes; from any thread."""
        if record.levelno <= logging.DEBUG or record.name == _logger.name:
            return True
        event = getattr(record, "event", "")
        key = (record.name, record.levelno, event)
        with self._lock:
            quota = self._quotas.setdefault(key, _Quota(self._lines_per_s))
            may = quota.take(self._clock())
            left_out = quota.settle() if may else 0
        if left_out and event:
            record.__dict__["fields"] = {**getattr(record, "fields", {}), "left_out": left_out}
        elif left_out:
            record.msg = f"{record.getMessage()} (after {left_out} like it that were left out)"
            record.args = ()
        return may


class _Quota:
    """So many a second, counted from the first."""

    def __init__(self, most: int) -> None:
        self.left_out = 0
        self._most = most
        self._said = 0
        self._until_s = float("-inf")

    def take(self, now: float) -> bool:
        """Whether there is room for one more; else it counts as left out."""
        if not self.is_running(now):
            self._until_s, self._said = now + 1.0, 0
        if self._said < self._most:
            self._said += 1
            return True
        self.left_out += 1
        return False

    def is_running(self, now: float) -> bool:
        """Whether its second is not over."""
        return now < self._until_s

    def settle(self) -> int:
        """How many were left out; they count no more."""
        left_out, self.left_out = self.left_out, 0
        return left_out


def _resumed(happening: StreamOpened) -> dict[str, object]:
    return {"resumed": True} if happening.resumed else {}


def _shown(value: object) -> object:
    """A field as it is logged: strangers choose the length of some. "" says nothing."""
    if not isinstance(value, str):
        return value
    if len(value) > MOST_CHARACTERS:
        return value[:MOST_CHARACTERS] + "…"
    return value or None


def _word_of(logger: str) -> str:
    """The event of a line that no observer wrote."""
    return "service" if logger.startswith(("isthmus_cloud", "isthmus.")) else "log"
