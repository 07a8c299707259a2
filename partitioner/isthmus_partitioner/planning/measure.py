"""The figures of a plan: everything that was built is run on the real path and compared.

inputs -> head segments -> stages -> symbols -> payloads -> symbols -> tail, against the unsplit
fp32 network, on evaluation items, for each rung of each ladder. Device times are thread CPU time
on one thread times the device's factor; cloud times are wall time with all cores, as the cloud
runs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Literal

from isthmus import (
    Candidate,
    Chain,
    CutTensor,
    Encoding,
    Figures,
    Lossless,
    Picture,
    Raw,
    Rung,
    TensorSpec,
    left_to_answer,
    open_stage,
)
from isthmus.pictures import available
from isthmus_partitioner.agreement.metrics import Answers, Closeness, Metric
from isthmus_partitioner.config import PlanConfig, Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.build import INPUT, LOCAL, BuiltCut
from isthmus_partitioner.parts.chains import ChainPlan, ChainRun
from isthmus_partitioner.runtime import AnyArray, Session, all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.wire.feeds import tail_feed
from isthmus_partitioner.wire.through import (
    NOTHING_SENT,
    WireFigures,
    after_a_pause,
    through_the_wire,
)

__all__ = ["Evaluation", "Step", "Surroundings", "Trial", "as_candidate", "is_picture", "until_bad"]

_BAD = 2  # rungs in succession below the floor: one may be bad luck


@dataclass(frozen=True, slots=True)
class Step:
    """One rung after all evaluation items; no `encodings` where nothing is sent."""

    encodings: tuple[Encoding, ...]
    wire: WireFigures
    close: Closeness


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate with its rungs, the finest first."""

    id: str
    cut: str
    precision: Literal["none", "fp32", "int8"]
    steps: tuple[Step, ...]


def is_picture(spec: TensorSpec) -> bool:
    """Whether picture formats can carry an input: uint8 [H,W,3]."""
    return spec.data_type == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3


class Evaluation:
    """The evaluation items, and what the unsplit fp32 network answers to them."""

    def __init__(
        self, network: Network, items: Samples, metric: Metric, progress: Progress
    ) -> None:
        progress(f"running the unsplit fp32 network on {len(items)} evaluation inputs")
        self._network, self._items = network, items
        self._metric, self._progress = metric, progress
        self._unsplit = open_session(network.model, threads=all_cores())
        self._reference = run_items(self._unsplit, items.feeds(network.inputs), network.outputs)

    def whole_inputs(self, config: PlanConfig) -> Iterator[Trial]:
        """`input`: everything goes to the cloud, raw or in a picture format."""
        for name, ladder in self._input_ladders(config).items():
            self._progress(f"sending whole inputs: {name}")
            steps = tuple(until_bad(map(self._whole, ladder), config.agreement_floor))
            yield Trial(name, INPUT, "none", steps)

    def _input_ladders(self, config: PlanConfig) -> dict[str, list[Encoding]]:
        """By candidate; each rung's encoding is that of every input which it can carry."""
        ladders: dict[str, list[Encoding]] = {"input-raw": [Raw()]}
        if not any(is_picture(spec) for spec in self._network.inputs):
            return ladders | {"input-lossless": [Lossless()]}
        for picture in config.pictures:
            if available(picture):
                qualities = sorted(config.qualities, reverse=True)
                rungs: list[Encoding] = [Picture(format=picture, quality=q) for q in qualities]
                ladders[f"input-{picture}"] = rungs
            else:
                self._progress(f"leaving out {picture}: Pillow is built without it here")
        if config.lossless_pictures:
            ladders["input-lossless"] = [Picture(format="webp", quality=None)]
        return ladders

    def _whole(self, encoding: Encoding) -> Step:
        specs = self._network.inputs
        tensors = [CutTensor(boundary=spec, wire=spec) for spec in specs]
        encodings = tuple(
            encoding if is_picture(spec) or not isinstance(encoding, Picture) else Lossless()
            for spec in specs
        )
        feeds = self._items.feeds(specs)
        items = (tuple(feed[spec.name] for spec in specs) for feed in feeds)
        arrived, wire = through_the_wire(
            items, tensors, encodings, [None] * len(specs), after_a_pause
        )
        is_exact = not any(isinstance(e, Picture) and e.quality is not None for e in encodings)
        if is_exact:
            answers = self._reference  # what is sent exactly arrives as it was
        else:
            names = [spec.name for spec in specs]
            fed = (dict(zip(names, item, strict=True)) for item in arrived)
            answers = run_items(self._unsplit, fed, self._network.outputs)
        return Step(encodings, wire, self._compared(answers))

    @property
    def first(self) -> Mapping[str, AnyArray]:
        """The first item, as the graph takes it."""
        return next(iter(self._items.feeds(self._network.inputs)))

    def chain(
        self,
        plan: ChainPlan,
        chain: Chain,
        cuts: Sequence[BuiltCut],
        tails: Mapping[str, Session],
        folder: Path,
        floor: float,
    ) -> Iterator[Trial]:
        """Some cuts of a chain in order, then the whole chain on the device under its own name."""
        run = ChainRun(self._network, chain, folder, self._items)
        for cut in cuts:
            run.advance_to(cut.depth)
            self._progress(
                f"sending cut {cut.id} ({cut.at.cut.macs_share:.0%} deep) "
                f"in {len(cut.ladder)} steps"
            )
            steps = tuple(until_bad(self._ladder(cut, run, tails[cut.tail], folder), floor))
            yield Trial(cut.id, cut.id, plan.precision, steps)
        run.advance_to(len(chain.segments))
        step = Step((), NOTHING_SENT, self._compared(run.answers()))
        yield Trial(f"{LOCAL}-{plan.id}", LOCAL, plan.precision, (step,))

    def _ladder(self, cut: BuiltCut, run: ChainRun, tail: Session, folder: Path) -> Iterator[Step]:
        items = run.items([tensor.boundary for tensor in cut.tensors])
        known = run.answers()
        outputs = left_to_answer(self._network.outputs, cut.at.cut.answers)
        ready = [open_stage(folder, tensor) for tensor in cut.tensors]
        for rung in cut.ladder:
            stages = [
                None if stage is None else partial(stage.wire, encoding=encoding)
                for stage, encoding in zip(ready, rung, strict=True)
            ]
            arrived, wire = through_the_wire(items, cut.tensors, rung, stages)
            fed = (tail_feed(cut.at.boundaries, item, rung) for item in arrived)
            answers = run_items(tail, fed, outputs)
            yield Step(rung, wire, self._compared({**known, **answers}))

    def _compared(self, answers: Answers) -> Closeness:
        return self._metric.closeness(self._reference, answers, self._items.sources)


def until_bad(steps: Iterable[Step], floor: float) -> Iterator[Step]:
    """Steps, the finest first, up to the second in succession below the agreement floor.

    Or up to one that is below it beyond doubt. Coarser ones would never be used, and take as long
    to measure.
    """
    below = 0
    for step in steps:
        yield step
        below = below + 1 if step.close.agreement < floor else 0
        if below == _BAD or step.close.high < floor:
            return


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a candidate takes beside its wire.

    A head on the plan's device, `factor` times slower than this machine; the tail; and what comes
    back.
    """

    edge_ms: float
    memory_bytes: int
    factor: float
    tail_ms: float
    answer_bytes: int


def as_candidate(trial: Trial, around: Surroundings, floor: float) -> Candidate:
    """The manifest's record of a trial; not yet chosen from."""
    rungs = (_rung(step, around) for step in trial.steps)
    candidate = Candidate(
        id=trial.id,
        cut=trial.cut,
        precision=trial.precision,
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


def _rung(step: Step, around: Surroundings) -> Rung:
    wire, close = step.wire, step.close
    figures = Figures(
        edge_ms=around.edge_ms,
        encode_ms=wire.encode_ms * around.factor,
        decode_ms=wire.decode_ms,
        tail_ms=around.tail_ms,
        payload_bytes=wire.payload_bytes,
        payload_bytes_p95=wire.payload_bytes_p95,
        agreement=close.agreement,
        agreement_low=close.low,
        agreement_high=close.high,
        divergence=close.divergence,
        answer_bytes=around.answer_bytes,
        memory_bytes=around.memory_bytes,
    )
    return Rung(encodings=step.encodings, figures=figures)
