"""The figures of a plan: everything that was built is run on the real path and compared.

picture -> head segments -> stage -> symbols -> payload -> symbols -> tail, against the unsplit fp32
network, on evaluation pictures, for each rung of each ladder. Device times are thread CPU time on
one thread times the device's factor; cloud times are wall time with all cores, as the cloud runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Literal

import numpy as np

from isthmus import Candidate, CutTensor, Encoding, Figures, Picture, Raw, Rung, Symbols
from isthmus.pictures import available
from isthmus_partitioner.config import PlanConfig, Progress, UInt8Array
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.build import INPUT, INPUT_TAIL, LOCAL, BuiltCut, Parts
from isthmus_partitioner.parts.timing import Times
from isthmus_partitioner.planning.agreement import Closeness, answer_index, closeness
from isthmus_partitioner.runtime import AnyArray, Session, all_cores, open_session, run_batches
from isthmus_partitioner.wire.fitting import tail_feed
from isthmus_partitioner.wire.through import NOTHING_SENT, WireFigures, through_the_wire

__all__ = ["Evaluation", "Step", "Trial", "as_candidate"]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung after all evaluation pictures; `encoding` is None where nothing is sent."""

    encoding: Encoding | None
    wire: WireFigures
    close: Closeness


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate with its rungs, the finest first; `depth` segments ran before the wire."""

    id: str
    cut: str
    depth: int
    tail: str | None
    steps: tuple[Step, ...]


class Evaluation:
    """The evaluation pictures, and what the unsplit fp32 network answers to them."""

    def __init__(self, network: Network, pictures: UInt8Array, progress: Progress) -> None:
        progress(f"running the unsplit fp32 network on {len(pictures)} evaluation pictures")
        self._network, self._pictures, self._progress = network, pictures, progress
        self._answer = answer_index(network.outputs)
        self._unsplit = open_session(network.model, threads=all_cores())
        self._reference = self._answers(self._unsplit, {network.input.name: pictures})

    def whole_pictures(self, config: PlanConfig) -> Iterator[Trial]:
        """`input`: the picture goes to the cloud, raw or in a picture format."""
        ladders: dict[str, list[Encoding]] = {"input-raw": [Raw()]}
        qualities = sorted(config.qualities, reverse=True)
        for picture in config.pictures:
            if available(picture):
                rungs: list[Encoding] = [Picture(format=picture, quality=q) for q in qualities]
                ladders[f"input-{picture}"] = rungs
            else:
                self._progress(f"leaving out {picture}: Pillow is built without it here")
        if config.lossless_pictures:
            ladders["input-lossless"] = [Picture(format="webp", quality=None)]
        for name, ladder in ladders.items():
            self._progress(f"sending whole pictures: {name}")
            steps = tuple(self._whole(encoding) for encoding in ladder)
            yield Trial(name, INPUT, 0, INPUT_TAIL, steps)

    def _whole(self, encoding: Encoding) -> Step:
        spec = self._network.input
        tensor = CutTensor(boundary=spec, wire=spec)
        decoded, wire = through_the_wire(self._pictures, tensor, encoding)
        is_exact = isinstance(encoding, Raw) or (
            isinstance(encoding, Picture) and encoding.quality is None
        )
        answers = (
            self._reference  # what is sent exactly arrives as it was
            if is_exact
            else self._answers(self._unsplit, {spec.name: decoded})
        )
        return Step(encoding, wire, closeness(self._reference, answers))

    def chain(self, parts: Parts, tails: Mapping[str, Session]) -> Iterator[Trial]:
        """The cuts in order, then `local`."""
        values: AnyArray = self._pictures
        for depth, segment in enumerate(parts.segments):
            session = open_session(parts.folder / segment.file, threads=all_cores())
            results = run_batches(session, {segment.inputs[0].name: values})
            if depth == len(parts.cuts):
                close = closeness(self._reference, results[self._answer])
                yield Trial(LOCAL, LOCAL, depth + 1, None, (Step(None, NOTHING_SENT, close),))
                return
            cut = parts.cuts[depth]
            values = results[0]
            self._progress(
                f"sending cut {cut.id} ({cut.boundary.cut.macs_share:.0%} deep) "
                f"in {len(cut.ladder)} steps"
            )
            steps = self._ladder(parts, cut, tails[cut.tail], values)
            yield Trial(cut.id, cut.id, depth + 1, cut.tail, tuple(steps))

    def _ladder(
        self, parts: Parts, cut: BuiltCut, tail: Session, values: AnyArray
    ) -> Iterator[Step]:
        file = cut.tensor.stage
        session = None if file is None else open_session(parts.folder / file, threads=1)
        for encoding in cut.ladder:
            stage = None if session is None else partial(_run_stage, session, cut.tensor, encoding)
            decoded, wire = through_the_wire(values, cut.tensor, encoding, stage)
            answers = self._answers(tail, tail_feed(decoded, encoding))
            yield Step(encoding, wire, closeness(self._reference, answers))

    def _answers(self, session: Session, feed: Mapping[str, AnyArray]) -> AnyArray:
        return run_batches(session, feed)[self._answer]


def _run_stage(
    session: Session, tensor: CutTensor, encoding: Symbols, values: AnyArray
) -> AnyArray:
    """What the device's stage makes of one item, nothing being held."""
    feed = {session.get_inputs()[0].name: values}
    if tensor.quantisation is None:
        feed |= {
            "step": np.asarray(encoding.step, np.float32),
            "zero_point": np.asarray(encoding.zero_point, np.uint8),
            "highest": np.asarray(encoding.levels - 1, np.uint8),
            "previous": np.zeros((1,) * (len(tensor.wire.shape) + 1), np.uint8),
            "hold": np.asarray(0, np.float32),
        }
    return session.run(None, feed)[0]


def as_candidate(
    trial: Trial,
    times: Times,
    factor: float,
    precision: Literal["fp32", "int8"],
    floor: float,
) -> Candidate:
    """The manifest's record of a trial on a device `factor` times slower; not yet chosen from."""
    edge_ms = times.prefix_ms[trial.depth] * factor
    tail_ms = 0.0 if trial.tail is None else times.tail_ms[trial.tail]
    rungs = (_rung(step, edge_ms, tail_ms, factor) for step in trial.steps)
    candidate = Candidate(
        id=trial.id,
        cut=trial.cut,
        precision=precision if trial.depth else "none",
        rungs=tuple(_ever_smaller(rungs)),
        chosen=0,
        kept=False,
        reason="measured, not yet chosen from",
    )
    return candidate.at_floor(floor)


def _ever_smaller(rungs: Iterable[Rung]) -> Iterator[Rung]:
    """Without those that take as many bytes as a finer one: nobody should ever go there.

    It happens to small tensors, above all from 256 levels to 16.
    """
    least = inf
    for rung in rungs:
        if rung.figures.payload_bytes < least:
            least = rung.figures.payload_bytes
            yield rung


def _rung(step: Step, edge_ms: float, tail_ms: float, factor: float) -> Rung:
    wire, close = step.wire, step.close
    figures = Figures(
        edge_ms=edge_ms,
        encode_ms=wire.encode_ms * factor,
        decode_ms=wire.decode_ms,
        tail_ms=tail_ms,
        payload_bytes=wire.payload_bytes,
        payload_bytes_p95=wire.payload_bytes_p95,
        agreement=close.agreement,
        kl=close.kl,
    )
    return Rung(encodings=() if step.encoding is None else (step.encoding,), figures=figures)
