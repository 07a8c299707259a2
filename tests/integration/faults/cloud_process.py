"""The real `isthmus cloud` in a process that tells its counts and whose clock may jump.

    python -m tests.integration.faults.cloud_process cloud BUNDLE [flags of isthmus cloud]

SIGUSR1: one line of JSON, `Counts`. The clock jumps as `clock.py` says.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import psutil
from tests.integration.faults.clock import Clock

from isthmus_cli.main import main
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.sessions.sessions import Sessions

__all__ = ["WORD", "Counts"]

WORD = "counts "


class Counts(msgspec.Struct):
    """What the service has done, and what it holds at present.

    `answering` counts the frames that tails were asked for, `sessions` those of which something is
    held, with or without a stream, `parked` those without. Of all sessions, `frames` are in flight,
    `outcomes` wait to be told, and `kept_bytes` are results that a later stream might ask for.
    """

    answering: int
    sessions: int
    parked: int
    frames: int
    outcomes: int
    kept_bytes: int
    bytes_in_flight: int
    threads: int
    rss_bytes: int


class _Watch:
    """Sees the parts of the service come, and counts the frames that tails are asked for."""

    def __init__(self) -> None:
        self._sessions: list[Sessions] = []
        self._desks: list[Desk] = []
        self._frames = 0
        _watch(Sessions, "__init__", self._sessions.append)
        _watch(Desk, "__init__", self._desks.append)
        _watch(Desk, "begin", self._note_frame)

    def counts(self) -> Counts:
        process = psutil.Process()
        held = [session for each in self._sessions for session in each._by_id.values()]
        return Counts(
            answering=self._frames,
            sessions=sum(each.count for each in self._sessions),
            parked=sum(each.parked for each in self._sessions),
            frames=sum(len(each.rules.in_flight) for each in held),
            outcomes=sum(len(each._outcomes) for each in held),
            kept_bytes=sum(each.rules.kept_bytes for each in held),
            bytes_in_flight=sum(each.bytes_in_flight for each in self._desks),
            threads=process.num_threads(),
            rss_bytes=process.memory_info().rss,
        )

    def _note_frame(self, _: Desk) -> None:
        self._frames += 1


def _watch(kind: type, method: str, seen: Callable[[Any], None]) -> None:
    """`seen` gets the instance before each call of this method."""
    original = getattr(kind, method)

    def watched(instance: object, *rest: object) -> object:
        seen(instance)
        return original(instance, *rest)

    setattr(kind, method, watched)


def _serve(arguments: list[str]) -> int:
    Clock()
    watch = _Watch()

    def tell(*_: object) -> None:
        # Not by `print`: the signal may have come in the middle of one.
        os.write(1, WORD.encode() + msgspec.json.encode(watch.counts()) + b"\n")

    signal.signal(signal.SIGUSR1, tell)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1:]))
