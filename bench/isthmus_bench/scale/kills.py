"""Replicas that are killed under load: what becomes of the frames."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import msgspec

from isthmus import LinkError
from isthmus_bench.scale.figures import Kills
from isthmus_bench.scale.fleets import Fleet
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.serve.measuring import Hand

BACK_S = 90.0  # within which a killed replica has to have a successor
# With all processes there, until the next kill, by chance: the new one loads its tails meanwhile.
_BEFORE_S, _MOST_S = 8.0, 10.0
_ASK_S = 0.1
_END_S = 60.0  # for the last frames

__all__ = ["BACK_S", "kill_replicas"]


def kill_replicas(
    fleet: Fleet, generator: Hand, order: ScaleOrder, count: int, say: Callable[[str], None]
) -> Kills:
    """`kill -9` of a replica, `count` times, one after the other, each some seconds after as
    many run as the fleet has; `order` is the load that goes on until the last one is replaced.
    A kill has hurt if a front end has lost a call by the time its replica was replaced.

    LinkError if a replica is not replaced in time, or the load fails.
    """
    chance = random.Random(order.seed)  # noqa: S311 - moments, no secrets
    fields = msgspec.to_builtins(msgspec.structs.replace(order, until_told=True))
    generator.do(fields.pop("do"), **fields)
    recovered_s, hurt = [], 0
    try:
        for number in range(count):
            running = _all_back(fleet, set())
            time.sleep(chance.uniform(_BEFORE_S, _MOST_S))
            say(f"kill {number + 1}/{count}")
            victim, lost = chance.choice(sorted(running)), fleet.calls_lost()
            os.kill(victim, signal.SIGKILL)
            began_s = time.monotonic()
            _all_back(fleet, {victim})
            recovered_s.append(time.monotonic() - began_s)
            hurt += fleet.calls_lost() > lost
        time.sleep(_MOST_S)
    finally:
        reply = generator.do("end", busy_s=_END_S)
    load = msgspec.convert(reply, ScaleLoad)
    return Kills(count, hurt, order.devices, load, tuple(recovered_s))


def _all_back(fleet: Fleet, gone: set[int]) -> set[int]:
    """The replicas' processes, when all that the fleet has run, without those that are `gone`."""
    for _ in _until(BACK_S):
        running = set(fleet.replica_pids()) - gone
        if len(running) >= fleet.kind.replicas:
            return running
    raise LinkError(
        f"{fleet.kind.name}: a killed replica was not replaced within {BACK_S:g} s; the logs of "
        "Ray say why"
    )


def _until(seconds: float) -> Iterator[float]:
    """Moments to ask again at."""
    deadline = time.monotonic() + seconds
    for wait_s in chain([0.0], repeat(_ASK_S)):
        time.sleep(wait_s)
        if (now := time.monotonic()) > deadline:
            return
        yield now
