"""What a frame pays for its replica being elsewhere: Ray beside in-process, in pairs of turns.

Machines drift; two short turns, one right after the other, drift together.
"""

from collections.abc import Iterable, Iterator
from statistics import median

from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.figures import HopRow
from isthmus_bench.scale.fleets import Fleet
from isthmus_bench.scale.real import Measurer, frame_bytes
from isthmus_bench.serve.subject import Served

__all__ = ["hops_of"]


def hops_of(
    measurer: Measurer, in_process: Fleet, ray: Fleet, sent: Iterable[tuple[str, Served]]
) -> Iterator[HopRow]:
    """A row for everything that is sent, by name; one device with one frame at a time."""
    for name, served in sent:
        here, there = [], []
        sending = measurer.sending(served)
        for _ in range(measurer.config.pairs):
            pair = [
                sending.one(fleet, measurer.config.pair_s).load.p50_ms
                for fleet in (in_process, ray)
            ]
            if pair[0] is not None and pair[1] is not None:
                here.append(pair[0])
                there.append(pair[1])
        if here:
            hop_ms = [b - a for a, b in zip(here, there, strict=True)]
            yield HopRow(name, frame_bytes(served), median(here), median(there), Spread.of(hop_ms))
