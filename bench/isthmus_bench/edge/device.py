"""A device's process, fresh for each order: one runtime, and the chains of segments of an agent.

    python -m isthmus_bench.edge.device

takes an `Order` as JSON on stdin and prints a `Reply`. It may run in an environment that has no
ONNX Runtime and no partitioner.
"""

import gc
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from isthmus import IsthmusError
from isthmus.memory import MemoryGrowth, resident_bytes
from isthmus_bench.edge.orders import ITEMS_NAME, Memory, Net, Order, Reply
from isthmus_edge.device.chain import Chain, Link
from isthmus_edge.doctor.tiny import FP32, INT8, OUTPUT, fp32_feed, int8_feed
from isthmus_edge.runtimes import AnyArray, GraphFiles, Runtime, Runtimes

__all__ = ["main", "obey"]

_THREADS = 1
_STATUS = Path("/proc/self/status")

Feed = Mapping[str, AnyArray]


def main(source: BinaryIO) -> int:
    """Do the order on `source`; the reply goes to stdout."""
    reply = obey(msgspec.json.decode(source.read(), type=Order))
    sys.stdout.write(msgspec.json.encode(reply).decode() + "\n")
    return 0


def obey(order: Order) -> Reply:
    """Do it in this process; what Isthmus explains is the `problem`."""
    try:
        (runtime,) = Runtimes(order.runtime).usable
        return _VERBS[order.do](order, runtime)
    except IsthmusError as error:
        return Reply(problem=str(error))


def _describe(_order: Order, runtime: Runtime) -> Reply:
    return Reply(version=runtime.version)


def _memory(order: Order, runtime: Runtime) -> Reply:
    feed = _items(order)[0]
    _warm_up(runtime)
    before, anonymous = resident_bytes(), _anonymous_bytes()
    growth = MemoryGrowth()
    begun_s = time.process_time()
    loaded = [_loaded(net, order, runtime) for net in order.nets]
    load_ms = 1e3 * (time.process_time() - begun_s)
    for chain in loaded:
        for _ in range(order.turns):
            chain.head(feed, chain.segments)
    now, own = resident_bytes(), _anonymous_bytes()
    peak = growth.bytes_now()
    return Reply(
        version=runtime.version,
        memory=Memory(
            settled_mb=(now - before) / 1e6,
            peak_mb=peak / 1e6 if growth.is_peak else None,
            anonymous_mb=None if own is None or anonymous is None else (own - anonymous) / 1e6,
            load_ms=load_ms,
        ),
    )


def _warm_up(runtime: Runtime) -> None:
    """Run something else first: the runtime's own code and state are no network's memory."""
    for files, feed in ((FP32, fp32_feed()), (INT8, int8_feed())):
        runtime.load(files, _THREADS).run(feed, [OUTPUT])
    gc.collect()


def _times(order: Order, runtime: Runtime) -> Reply:
    items = _items(order)
    loaded: dict[str, Chain] = {}
    problems: dict[str, str] = {}
    for net in order.nets:
        try:
            loaded[net.name] = _loaded(net, order, runtime)
            loaded[net.name].head(items[0], loaded[net.name].segments)
        except IsthmusError as error:
            loaded.pop(net.name, None)
            problems[net.name] = str(error)
    times: dict[str, list[float]] = {name: [] for name in loaded}
    for turn in range(order.turns):
        for name, chain in loaded.items():
            begun_s = time.thread_time()
            chain.head(items[turn % len(items)], chain.segments)
            times[name].append(1e3 * (time.thread_time() - begun_s))
    return Reply(version=runtime.version, times_ms=times, problems=problems)


def _answers(order: Order, runtime: Runtime) -> Reply:
    """Integers that cross and the model's outputs go to the file, each as `<net>/<tensor>`."""
    found: dict[str, AnyArray] = {}
    problems: dict[str, str] = {}
    for net in order.nets:
        try:
            chain = _loaded(net, order, runtime)
            rows = [_made(net, chain, feed) for feed in _items(order)]
        except IsthmusError as error:
            problems[net.name] = str(error)
            continue
        found |= {f"{net.name}/{name}": np.concatenate([r[name] for r in rows]) for name in rows[0]}
    with Path(order.out).open("wb") as file:
        np.savez(file, allow_pickle=False, **found)
    return Reply(version=runtime.version, problems=problems)


_VERBS = {"describe": _describe, "memory": _memory, "times": _times, "answers": _answers}


def _made(net: Net, chain: Chain, feed: Feed) -> dict[str, AnyArray]:
    """All that the segments make of one item, each [1,*graph shape]."""
    held: Feed = feed
    made: dict[str, AnyArray] = {}
    for depth, segment in enumerate(net.chain.segments):
        held = chain.step(held, depth)
        made |= {spec.name: held[spec.name] for spec in segment.outputs if spec.name in held}
    return {name: np.expand_dims(tensor, 0) for name, tensor in made.items()}


def _loaded(net: Net, order: Order, runtime: Runtime) -> Chain:
    """As the agent loads it."""
    folder = Path(order.folder)
    links = [
        Link(segment, runtime.load(GraphFiles.of(folder, segment), _THREADS))
        for segment in net.chain.segments
    ]
    return Chain(net.chain, links, net.outputs)


def _items(order: Order) -> Sequence[Feed]:
    with np.load(Path(order.folder, ITEMS_NAME), allow_pickle=False) as arrays:
        columns = [arrays[f"input_{index}"] for index in range(len(order.inputs))]
    rows = zip(*columns, strict=True)
    return [dict(zip(order.inputs, row, strict=True)) for row in rows]


def _anonymous_bytes() -> int | None:
    with suppress(OSError):
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return None


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer))
