"""What a frame pays for its replica being elsewhere: Ray beside in-process, in pairs of turns.

Machines drift; two short turns, one right after the other, drift together.
"""

from collections.abc import Iterable, Iterator
from statistics import median

from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.figures import HopRow
from isthmus_bench.scale.fleets import Fleet
from isthmus_bench.scale.orders import ScaleLoad
from isthmus_bench.scale.real import Measurer, frame_bytes
from isthmus_bench.serve.subject import Served

__all__ = ["hops_of"]


def hops_of(
    measurer: Measurer, in_process: Fleet, ray: Fleet, sent: Iterable[tuple[str, Served]]
) -> Iterator[HopRow]:
    """A row for everything that is sent, by name; one device with one frame at a time."""
    for name, served in sent:
        loads: list[ScaleLoad] = []
        pairs: list[tuple[float, float]] = []
        sending = measurer.sending(served)
        for number in range(measurer.config.pairs):
            turns = (in_process, ray) if number % 2 == 0 else (ray, in_process)
            pair = {fleet.kind: sending.one(fleet, measurer.config.pair_s) for fleet in turns}
            loads += pair.values()
            here, there = (pair[fleet.kind].load.p50_ms for fleet in (in_process, ray))
            if here is not None and there is not None:
                pairs.append((here, there))
        if pairs:
            all_here, all_there = zip(*pairs, strict=True)
            hop_ms = Spread.of([there - here for here, there in pairs])
            size, here, there = frame_bytes(served), median(all_here), median(all_there)
            yield HopRow(name, size, here, there, hop_ms, loads)
