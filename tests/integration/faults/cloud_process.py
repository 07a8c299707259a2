"""The real `isthmus cloud` in a process that tells its counts and whose clock may jump.

    python -m tests.integration.faults.cloud_process cloud BUNDLE [flags of isthmus cloud]

SIGUSR1: one line of JSON, `Counts`; so does its end. With the flag JUMPS its clock jumps as
`clock.py` says, and its event loop is asyncio's own, whose clock jumps too; without it, it has the
loop that services have.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable

import msgspec
import psutil
from tests.integration.faults.clock import Clock

from isthmus_cli.main import main
from isthmus_cloud import Core, server
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.answering.flow import Flow
from isthmus_cloud.sessions.sessions import Sessions
from isthmus_cloud.telemetry import BatchRun, FrameDone, Happening, Observers

__all__ = ["JUMPS", "WORD", "Counts", "serve", "watch"]

WORD = "counts "
JUMPS = "--clock-jumps"


class Counts(msgspec.Struct):
    """What the service has done, and what it holds at present.

    `answering` counts the frames that tails were asked for, `streams` those that are open,
    `sessions` those of which something is held, with or without a stream, `parked` those without.
    Of all sessions, `frames` are in flight, `outcomes` wait to be told, and `kept_bytes` are
    results that a later stream might ask for. `ended` counts the frames that sessions took in, by
    their outcome as `FrameDone` names it. `largest_batch` is that of all runs; `joins` counts the
    batches that others of another cut joined on their way.
    """

    answering: int
    streams: int
    sessions: int
    parked: int
    frames: int
    outcomes: int
    kept_bytes: int
    bytes_in_flight: int
    threads: int
    rss_bytes: int
    ended: dict[str, int]
    largest_batch: int
    joins: int


class _Watch:
    """Sees the parts of the service come, and counts the frames that tails are asked for."""

    def __init__(self) -> None:
        self._cores: list[Core] = []
        self._sessions: list[Sessions] = []
        self._desks: list[Desk] = []
        self._frames = 0
        self._joins = 0
        self._largest_batch = 0
        self._ended: Counter[str] = Counter()
        watch(Core, "__init__", lambda each, *_: self._cores.append(each))
        watch(Sessions, "__init__", lambda each, *_: self._sessions.append(each))
        watch(Desk, "__init__", lambda each, *_: self._desks.append(each))
        watch(Desk, "begin", self._note_frame)
        watch(Flow, "_join", self._note_join)
        watch(Observers, "note", self._note_happening)

    def counts(self) -> Counts:
        process = psutil.Process()
        held = [session for each in self._sessions for session in each._by_id.values()]
        return Counts(
            answering=self._frames,
            streams=sum(each.streams for each in self._cores),
            sessions=sum(each.count for each in self._sessions),
            parked=sum(each.parked for each in self._sessions),
            frames=sum(len(each.rules.in_flight) for each in held),
            outcomes=sum(len(each._outcomes) for each in held),
            kept_bytes=sum(each.rules.kept_bytes for each in held),
            bytes_in_flight=sum(each.bytes_in_flight for each in self._desks),
            threads=process.num_threads(),
            rss_bytes=process.memory_info().rss,
            ended=dict(self._ended),
            largest_batch=self._largest_batch,
            joins=self._joins,
        )

    def _note_frame(self, *_: object) -> None:
        self._frames += 1

    def _note_join(self, *_: object) -> None:
        self._joins += 1

    def _note_happening(self, _: Observers, happening: Happening) -> None:
        match happening:
            case FrameDone(outcome=outcome):
                self._ended[outcome] += 1
            case BatchRun(size=size):
                self._largest_batch = max(self._largest_batch, size)


def watch(kind: type, method: str, seen: Callable[..., None]) -> None:
    """`seen` gets the instance and what else the method gets, before each call of it."""
    original = getattr(kind, method)

    def watched(instance: object, *rest: object) -> object:
        seen(instance, *rest)
        return original(instance, *rest)

    setattr(kind, method, watched)


def serve(arguments: list[str]) -> int:
    """`isthmus` with these arguments, JUMPS aside; its exit status."""
    if JUMPS in arguments:
        Clock()
        server._loop_factory = lambda: None
    watched = _Watch()

    def tell(*_: object) -> None:
        # Not by `print`: the signal may have come in the middle of one.
        os.write(1, WORD.encode() + msgspec.json.encode(watched.counts()) + b"\n")

    signal.signal(signal.SIGUSR1, tell)
    status = main([each for each in arguments if each != JUMPS])
    tell()
    return status


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
