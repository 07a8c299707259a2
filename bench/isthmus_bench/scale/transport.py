"""What a call of a replica takes by either transport, at several sizes, where nothing is computed.

    python -m isthmus_bench.scale.transport

takes orders on stdin, one JSON line each, and answers each in one line. It joins the cluster as a
front end does: Ray is in this process, and not in the bench's own.
"""

import random
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from isthmus import IsthmusError, open_bundle
from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.figures import TransportRow
from isthmus_bench.serve.measuring import Hand
from isthmus_cloud.answering.packed import Packed
from isthmus_cloud.replicas.calls import Asked, Call
from isthmus_cloud.replicas.line import Line
from isthmus_cloud.replicas.opening import open_cluster
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import specs_of

TRANSPORT = "isthmus_bench.scale.transport"
SIZES = (6_000, 150_000, 300_000, 600_000, 1_000_000, 1_500_000, 2_000_000)  # bytes of a call
_WITHIN_S = 30.0
_START_S = 60.0  # for the replica

__all__ = ["SIZES", "TRANSPORT", "TransportOrder", "main", "measured", "transports_of"]


class TransportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """At each of `sizes`, `turns` turns of `pairs` calls by gRPC and as many by the object store,
    one after the other, on a replica of `bundle` in the cluster at `address`."""

    do: Literal["transport"] = "transport"
    address: str
    bundle: str
    sizes: tuple[int, ...] = SIZES
    turns: int
    pairs: int = 20


class Turns(msgspec.Struct, frozen=True):
    """Of calls of `call_bytes`: the median of each turn, in ms."""

    call_bytes: int
    grpc_ms: list[float]
    store_ms: list[float]


def transports_of(hand: Hand, order: TransportOrder) -> list[TransportRow]:
    """A row for each size; LinkError if the cluster or its replica fails."""
    fields = msgspec.to_builtins(order)
    reply = hand.do(fields.pop("do"), busy_s=_START_S, **fields)
    return [
        TransportRow(
            each.call_bytes,
            Spread.of(each.grpc_ms),
            Spread.of(each.store_ms),
            Spread.of([b - a for a, b in zip(each.grpc_ms, each.store_ms, strict=True)]),
        )
        for each in msgspec.convert(reply["sizes"], list[Turns])
    ]


def measured(lines: tuple[Line, Line], order: TransportOrder) -> Iterator[Turns]:
    """What calls take by the first line and by the second, size by size."""
    for size in order.sizes:
        call, turns = _answered_at_once(size), []
        for number in range(order.turns + 1):
            turn = _turn(lines, call, order.pairs)
            if number:  # the first one warms up
                turns.append(turn)
        grpc_ms, store_ms = zip(*turns, strict=True)
        yield Turns(size, list(grpc_ms), list(store_ms))


def main() -> None:
    """Obey until stdin ends."""
    for text in sys.stdin:
        try:
            _say(_obey(msgspec.json.decode(text, type=TransportOrder)))
        except IsthmusError as error:
            _say({"event": "error", "message": str(error)})


def _turn(lines: tuple[Line, Line], call: bytes, pairs: int) -> tuple[float, float]:
    took_ms: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for line, times in zip(lines, took_ms, strict=True):
            began_s = time.perf_counter()
            line.reply(line.send("", call), _WITHIN_S)
            times.append((time.perf_counter() - began_s) * 1e3)
    return median(took_ms[0]), median(took_ms[1])


def _answered_at_once(size: int) -> bytes:
    """A call for a cut that no bundle has: its replica says so, and runs nothing."""
    frame = random.Random(size).randbytes(size)  # noqa: S311 - bytes, no secret
    return msgspec.msgpack.encode(Call([Asked("", Packed(candidate="none", frame=frame))]))


def _obey(order: TransportOrder) -> dict[str, object]:
    bundle = open_bundle(Path(order.bundle), "cloud")
    settings = RaySettings(address=order.address, cpus=0.1)
    (spec,) = specs_of(bundle, settings, 1)
    with open_cluster(settings, _hear_nothing) as cluster, cluster.applications([spec]) as names:
        lines = cluster.line(names[0], spec, inf), cluster.line(names[0], spec, 0)
        return {"sizes": list(measured(lines, order))}


def _hear_nothing(_text: str) -> None:
    """What a front end announces to people."""


def _say(reply: object) -> None:
    sys.stdout.write(msgspec.json.encode(reply).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
