"""What the engine alone takes: tails in a tight loop, at several batch sizes.

    python -m isthmus_bench.serve.engine

takes orders on stdin, one JSON line each, and answers in one line.
"""

import sys
import time
from collections.abc import Sequence
from functools import partial
from statistics import median

import msgspec

from isthmus_bench.serve.orders import Times, TimesOrder
from isthmus_bench.serve.recorded import load_case
from isthmus_bench.serve.tails import Tail, load_spec

__all__ = ["main", "times_of"]

_LEAST_RUNS = 3


def main() -> None:
    """Obey until stdin ends."""
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=TimesOrder)
        sys.stdout.write(msgspec.json.encode(times_of(order)).decode() + "\n")
        sys.stdout.flush()


def times_of(order: TimesOrder) -> Times:
    """Parts and whole take turns, size after size."""
    spec, case = load_spec(order.spec), load_case(order.case)
    tails = [Tail(spec, graphs, order.threads) for graphs in (spec.parts, (spec.whole,))]
    found: list[dict[int, float]] = [{}, {}]
    for size in order.sizes:
        raws = [case.items[index % len(case.items)].raw for index in range(size)]
        runs = max(_LEAST_RUNS, order.runs // size)
        for into, ms in zip(found, _medians(tails, raws, runs), strict=True):
            into[size] = ms
    return Times(*found)


def _medians(tails: Sequence[Tail], raws: Sequence[bytes], runs: int) -> list[float]:
    calls = [partial(tail.run, tail.feeds(raws)) for tail in tails]
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(runs + 1):
        for call, own in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            own.append((time.perf_counter() - begin) * 1e3)
    return [median(own[1:]) for own in times]  # the first run sets up memory


if __name__ == "__main__":
    main()
