"""The figures of a plan: everything that was built is run on the real path and compared.

picture -> head segments -> uint8 symbols -> wire payload -> decoded symbols -> tail, against the
unsplit fp32 network, on evaluation pictures. Device times are thread CPU time on one thread times
the device's factor; cloud times are wall time with all cores, as the cloud runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isthmus import (
    Candidate,
    Encoding,
    Figures,
    Jpeg,
    Raw,
)
from isthmus_partitioner.agreement import Closeness, answer_index, closeness
from isthmus_partitioner.build import INPUT, INPUT_TAIL, LOCAL, BuiltCut, Parts, tail_feed
from isthmus_partitioner.config import PlanConfig, Progress, UInt8Array
from isthmus_partitioner.network import Network
from isthmus_partitioner.precision import Quantised
from isthmus_partitioner.propose import edge_factor
from isthmus_partitioner.runtime import AnyArray, Session, all_cores, open_session, run_batches
from isthmus_partitioner.segments import boundary_spec
from isthmus_partitioner.timing import Times, open_tails, time_parts
from isthmus_partitioner.wire import WireRun, through_the_wire

__all__ = ["Measurement", "measure"]

_UNDECIDED = "measured, not yet chosen from"


@dataclass(frozen=True, slots=True)
class Measurement:
    """All candidates with their figures, not yet chosen from, and the device's factor."""

    candidates: tuple[Candidate, ...]
    edge_factor: float


def measure(
    network: Network,
    head: Quantised,
    parts: Parts,
    pictures: UInt8Array,
    config: PlanConfig,
    progress: Progress,
) -> Measurement:
    """Time every head, wire and tail, and compare every answer with the unsplit network's."""
    tails = open_tails(parts)
    progress(f"timing {len(parts.segments)} segments and {len(tails)} tails")
    times = time_parts(network, parts, tails, pictures[:1])
    factor = edge_factor(config, times.prefix_ms[-1])
    progress(f"running the unsplit fp32 network on {len(pictures)} evaluation pictures")
    rig = _Rig(network, head, parts, tails, times, factor, pictures)
    candidates = [*rig.whole_pictures(config, progress), *rig.chain(progress)]
    return Measurement(tuple(candidates), factor)


class _Rig:
    """The opened parts, the reference answers, and what turns a run into a candidate."""

    def __init__(  # noqa: PLR0913, PLR0917  the rig is what all measurements share
        self,
        network: Network,
        head: Quantised,
        parts: Parts,
        tails: dict[str, Session],
        times: Times,
        factor: float,
        pictures: UInt8Array,
    ) -> None:
        self._network, self._head, self._parts = network, head, parts
        self._tails, self._times, self._factor = tails, times, factor
        self._pictures = pictures
        self._answer = answer_index(network.outputs)
        self._reference = self._answers(INPUT_TAIL, {network.input.name: pictures})

    def whole_pictures(self, config: PlanConfig, progress: Progress) -> Iterator[Candidate]:
        """`input`: the picture goes to the cloud, raw or as a JPEG."""
        spec = self._network.input
        raw = through_the_wire(self._pictures, spec, Raw(), None)
        exact = closeness(self._reference, self._reference)
        yield self._candidate("input-raw", INPUT, Raw(), raw, exact)
        for quality in config.jpeg_qualities:
            progress(f"sending pictures as JPEG of quality {quality}")
            jpeg = through_the_wire(self._pictures, spec, Jpeg(quality=quality), None)
            answers = self._answers(INPUT_TAIL, {spec.name: jpeg.decoded})
            close = closeness(self._reference, answers)
            name = f"input-jpeg-q{quality}"
            yield self._candidate(name, INPUT, Jpeg(quality=quality), jpeg, close)

    def chain(self, progress: Progress) -> Iterator[Candidate]:
        """Each cut in both encodings, in order, then `local`."""
        tensor: AnyArray = self._pictures
        for depth, segment in enumerate(self._parts.segments):
            progress(f"running segment {depth} on all pictures, then its cut")
            session = open_session(self._parts.folder / segment.file, threads=all_cores())
            results = run_batches(session, {segment.input.name: tensor})
            if depth < len(self._parts.cuts):
                tensor = results[0]
                yield from self._cut(self._parts.cuts[depth], tensor.view(np.uint8), depth + 1)
            else:
                close = closeness(self._reference, results[self._answer])
                yield self._local(close)

    def _cut(self, cut: BuiltCut, symbols: UInt8Array, depth: int) -> Iterator[Candidate]:
        spec, source = boundary_spec(cut.boundary), cut.boundary.quantisation
        for encoding in cut.ladder:
            wire = through_the_wire(symbols, spec, encoding, source)
            feed = tail_feed(wire.decoded, encoding.step, encoding.zero_point)
            close = closeness(self._reference, self._answers(cut.tail, feed))
            name = f"{cut.id}-{encoding.levels}"
            yield self._candidate(name, cut.id, encoding, wire, close, depth)

    def _answers(self, tail: str, feed: dict[str, AnyArray]) -> AnyArray:
        return run_batches(self._tails[tail], feed)[self._answer]

    def _local(self, close: Closeness) -> Candidate:
        figures = Figures(
            edge_ms=self._times.prefix_ms[-1] * self._factor,
            encode_ms=0.0,
            decode_ms=0.0,
            tail_ms=0.0,
            payload_bytes=0,
            payload_bytes_p95=0,
            agreement=close.agreement,
            kl=close.kl,
        )
        return Candidate(
            id=LOCAL,
            cut=LOCAL,
            precision=self._head.precision,
            encoding=None,
            figures=figures,
            kept=False,
            reason=_UNDECIDED,
        )

    def _candidate(
        self,
        name: str,
        cut: str,
        encoding: Encoding,
        wire: WireRun,
        close: Closeness,
        depth: int = 0,
    ) -> Candidate:
        tail = self._parts.cuts[depth - 1].tail if depth else INPUT_TAIL
        figures = Figures(
            edge_ms=self._times.prefix_ms[depth] * self._factor,
            encode_ms=wire.encode_ms * self._factor,
            decode_ms=wire.decode_ms,
            tail_ms=self._times.tail_ms[tail],
            payload_bytes=wire.payload_bytes,
            payload_bytes_p95=wire.payload_bytes_p95,
            agreement=close.agreement,
            kl=close.kl,
        )
        return Candidate(
            id=name,
            cut=cut,
            precision=self._head.precision if depth else "none",
            encoding=encoding,
            figures=figures,
            kept=False,
            reason=_UNDECIDED,
        )
