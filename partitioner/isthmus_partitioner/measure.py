"""The figures of a plan: everything that was built is run on the real path and compared.

picture -> head segments -> uint8 symbols -> wire payload -> decoded symbols -> tail, against the
unsplit fp32 network, on evaluation pictures. Device times are thread CPU time on one thread times
the device's factor; cloud times are wall time with all cores, as the cloud runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isthmus import Candidate, Encoding, Figures, Jpeg, Raw
from isthmus_partitioner.agreement import Closeness, answer_index, closeness
from isthmus_partitioner.build import INPUT, INPUT_TAIL, LOCAL, BuiltCut, Parts, tail_feed
from isthmus_partitioner.config import PlanConfig, Progress, UInt8Array
from isthmus_partitioner.network import Network
from isthmus_partitioner.runtime import AnyArray, Session, all_cores, open_session, run_batches
from isthmus_partitioner.segments import boundary_spec
from isthmus_partitioner.timing import Times
from isthmus_partitioner.wire import NOTHING_SENT, WireFigures, through_the_wire

__all__ = ["Evaluation", "Trial", "as_candidate"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate after all evaluation pictures; `depth` segments ran before the wire."""

    id: str
    cut: str
    depth: int
    encoding: Encoding | None
    tail: str | None
    wire: WireFigures
    close: Closeness


class Evaluation:
    """The evaluation pictures, and what the unsplit fp32 network answers to them."""

    def __init__(self, network: Network, pictures: UInt8Array, progress: Progress) -> None:
        progress(f"running the unsplit fp32 network on {len(pictures)} evaluation pictures")
        self._network, self._pictures, self._progress = network, pictures, progress
        self._answer = answer_index(network.outputs)
        self._unsplit = open_session(network.model, threads=all_cores())
        self._reference = self._answers(self._unsplit, {network.input.name: pictures})

    def whole_pictures(self, config: PlanConfig) -> Iterator[Trial]:
        """`input`: the picture goes to the cloud, raw or as a JPEG."""
        spec = self._network.input
        encodings: dict[str, Encoding] = {"input-raw": Raw()}
        for quality in config.jpeg_qualities:
            encodings[f"input-jpeg-q{quality}"] = Jpeg(quality=quality)
        for name, encoding in encodings.items():
            self._progress(f"sending whole pictures: {name}")
            decoded, wire = through_the_wire(self._pictures, spec, encoding, None)
            answers = (
                self._reference  # what is sent raw arrives as it was
                if isinstance(encoding, Raw)
                else self._answers(self._unsplit, {spec.name: decoded})
            )
            close = closeness(self._reference, answers)
            yield Trial(name, INPUT, 0, encoding, INPUT_TAIL, wire, close)

    def chain(self, parts: Parts, tails: Mapping[str, Session], floor: float) -> Iterator[Trial]:
        """The cuts in order, then `local`.

        The coarser step comes first. Where its answers meet the agreement floor, the finer one
        could only send more, and is not run.
        """
        tensor: AnyArray = self._pictures
        for depth, segment in enumerate(parts.segments):
            session = open_session(parts.folder / segment.file, threads=all_cores())
            results = run_batches(session, {segment.input.name: tensor})
            if depth == len(parts.cuts):
                close = closeness(self._reference, results[self._answer])
                yield Trial(LOCAL, LOCAL, depth + 1, None, None, NOTHING_SENT, close)
                return
            cut = parts.cuts[depth]
            tensor = results[0]
            self._progress(f"sending cut {cut.id} ({cut.boundary.cut.macs_share:.0%} deep)")
            for trial in self._cut(cut, tails[cut.tail], tensor.view(np.uint8), depth + 1):
                yield trial
                if trial.close.agreement >= floor:
                    break

    def _cut(
        self, cut: BuiltCut, tail: Session, symbols: UInt8Array, depth: int
    ) -> Iterator[Trial]:
        spec, source = boundary_spec(cut.boundary), cut.boundary.quantisation
        for encoding in reversed(cut.ladder):
            decoded, wire = through_the_wire(symbols, spec, encoding, source)
            feed = tail_feed(decoded, encoding.step, encoding.zero_point)
            close = closeness(self._reference, self._answers(tail, feed))
            yield Trial(
                f"{cut.id}-{encoding.levels}", cut.id, depth, encoding, cut.tail, wire, close
            )

    def _answers(self, session: Session, feed: Mapping[str, AnyArray]) -> AnyArray:
        return run_batches(session, feed)[self._answer]


def as_candidate(
    trial: Trial, times: Times, factor: float, precision: Literal["fp32", "int8"]
) -> Candidate:
    """The manifest's record of a trial on a device `factor` times slower; not yet chosen from."""
    wire, close = trial.wire, trial.close
    figures = Figures(
        edge_ms=times.prefix_ms[trial.depth] * factor,
        encode_ms=wire.encode_ms * factor,
        decode_ms=wire.decode_ms,
        tail_ms=0.0 if trial.tail is None else times.tail_ms[trial.tail],
        payload_bytes=wire.payload_bytes,
        payload_bytes_p95=wire.payload_bytes_p95,
        agreement=close.agreement,
        kl=close.kl,
    )
    return Candidate(
        id=trial.id,
        cut=trial.cut,
        precision=precision if trial.depth else "none",
        encoding=trial.encoding,
        figures=figures,
        kept=False,
        reason="measured, not yet chosen from",
    )
