"""Builds what was proposed, as files: chains, and for each cut its stages and its tail."""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus import Chain, CutTensor, Lossless, write_projection
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.config import PlanConfig, Progress
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.graph.files import save_model
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.arrivals import Arrival
from isthmus_partitioner.parts.boundary import ChainCut
from isthmus_partitioner.parts.chains import ChainPlan, ChainRun, write_chain
from isthmus_partitioner.parts.segments import whole_model
from isthmus_partitioner.parts.tails import TailCut
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.runtime import all_cores, open_session, run_items
from isthmus_partitioner.samples import SampleSets
from isthmus_partitioner.wire.bottleneck import Verdict
from isthmus_partitioner.wire.fitting import CutFitter, CutValues, Fitted, Ladder
from isthmus_partitioner.wire.stages import (
    projection_of,
    quantises,
    stage_is_needed,
    stage_of,
    wire_spec,
)
from isthmus_partitioner.wire.transform import Transform

__all__ = ["INPUT", "INPUT_TAIL", "LOCAL", "Builder", "BuiltCut", "input_cut", "tail_cut"]

INPUT, LOCAL = "input", "local"
INPUT_TAIL = f"cloud/whole-{INPUT}.onnx"


@dataclass(frozen=True, slots=True, eq=False)
class BuiltCut:
    """A cut whose head and tail exist; its files are relative to the folder.

    The head is the first `depth` segments of `chain`. `tail` is one graph, to measure with; the
    bundle will have an entry made of `arrivals`, and parts, in its place. `transforms` in words;
    `bottleneck` says what came of a projection, if one was tried.
    """

    id: str
    chain: str
    depth: int
    at: ChainCut
    tensors: tuple[CutTensor, ...]
    ladder: Ladder
    tail: str
    arrivals: tuple[Arrival, ...]
    has_bias: bool
    transforms: tuple[str, ...]
    bottleneck: Verdict | None

    @property
    def projections(self) -> tuple[str, ...]:
        """The files of its stages."""
        return tuple(
            tensor.stage.projection
            for tensor in self.tensors
            if tensor.stage is not None and tensor.stage.projection is not None
        )


def tail_cut(built: BuiltCut) -> TailCut:
    """What its tail in a bundle is made of."""
    middle = built.ladder[len(built.ladder) // 2]
    return TailCut(built.id, built.at.cut, built.tensors, built.arrivals, middle)


def input_cut(network: Network) -> TailCut:
    """The place before the whole network, where all inputs cross as they are."""
    inputs = network.inputs
    return TailCut(
        id=INPUT,
        cut=NetworkCut(head=frozenset(), tensors=inputs, answers=(), macs_share=0.0),
        tensors=tuple(CutTensor(boundary=spec, wire=spec) for spec in inputs),
        arrivals=(),
        rung=tuple(Lossless() for _ in inputs),
    )


class Builder:
    """Builds chains of one network below `folder`, whose older files it removes."""

    def __init__(
        self,
        network: Network,
        sets: SampleSets,
        metric: Metric,
        config: PlanConfig,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._network, self._sets, self.folder = network, sets, folder
        self._progress = progress
        self._ids = {INPUT, LOCAL}
        for side in ("device", "cloud"):
            (folder / side).mkdir(parents=True, exist_ok=True)
            for stale in (folder / side).iterdir():
                stale.unlink()
        save_model(whole_model(network), folder / INPUT_TAIL)
        whole = open_session(network.model, threads=all_cores())
        feeds = sets.held_back.feeds(network.inputs)
        reference = run_items(whole, feeds, network.outputs)
        self._fitter = CutFitter(network, reference, metric, config)

    def chain(self, plan: ChainPlan) -> Chain:
        """Write the segments of a chain."""
        self._progress(f"building chain {plan.id} of {len(plan.cuts) + 1} segments")
        return write_chain(self._network, plan, self.folder)

    def remove_chains(self, names: Iterable[str]) -> None:
        """Remove the segments of chains that were only tried."""
        for name in names:
            for path in (self.folder / "device").glob(f"{name}-*"):
                path.unlink()

    def fit(self, plan: ChainPlan, chain: Chain, wanted: Container[int]) -> Iterator[BuiltCut]:
        """Write stages and tails of those cuts of a chain that lie at the `wanted` depths."""
        at = {depth: cut for depth, cut in enumerate(plan.cuts, start=1) if depth in wanted}
        specs = {b.tensor.name: b.tensor for cut in at.values() for b in cut.boundaries}
        real = activations(self._network, tuple(specs.values()), self._sets.fitted)
        fitted = ChainRun(self._network, chain, self.folder, self._sets.fitted)
        held_back = ChainRun(self._network, chain, self.folder, self._sets.held_back)
        for depth, cut in at.items():
            fitted.advance_to(depth)
            held_back.advance_to(depth)
            held = [boundary.spec for boundary in cut.boundaries]
            values = CutValues(
                tuple(real[boundary.tensor.name] for boundary in cut.boundaries),
                fitted.stacked(held),
                held_back.stacked(held),
            )
            yield self._cut(cut, values, plan, depth)

    def _cut(self, cut: ChainCut, values: CutValues, plan: ChainPlan, depth: int) -> BuiltCut:
        cut_id = self._id(cut, plan)
        self._progress(f"fitting ladder, transform and tail of {cut_id}")
        fitted = self._fitter.fit(cut, values)
        tail = f"cloud/whole-{cut_id}.onnx"
        save_model(fitted.tail, self.folder / tail)
        tensors = tuple(self._tensors(cut, fitted, cut_id))
        return BuiltCut(
            id=cut_id,
            chain=plan.id,
            depth=depth,
            at=cut,
            tensors=tensors,
            ladder=fitted.ladder,
            tail=tail,
            arrivals=tuple(_arrivals(cut, fitted, tensors)),
            has_bias=fitted.has_bias,
            transforms=_described(cut, fitted.transforms),
            bottleneck=fitted.bottleneck,
        )

    def _tensors(self, cut: ChainCut, fitted: Fitted, cut_id: str) -> Iterable[CutTensor]:
        pairs = zip(cut.boundaries, fitted.transforms, strict=True)
        for index, (boundary, transform) in enumerate(pairs):
            stage = None
            if stage_is_needed(boundary, transform):
                suffix = f"+{index}" if index else ""  # no id has a plus
                stage = stage_of(boundary, transform, f"device/wire-{cut_id}{suffix}.npy")
                projection = projection_of(transform)
                if stage.projection is not None and projection is not None:
                    write_projection(self.folder / stage.projection, projection)
            yield CutTensor(
                boundary=boundary.spec,
                wire=wire_spec(boundary, transform),
                quantisation=None if quantises(boundary, transform) else boundary.quantisation,
                stage=stage,
            )

    def _id(self, cut: ChainCut, plan: ChainPlan) -> str:
        """The tensors' names made fit for a file name, distinct also where case does not count."""
        first, *more = (boundary.tensor.name for boundary in cut.boundaries)
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", first).strip("-.")[:48] or "cut"
        plain += f"-and-{len(more)}-more" if more else ""
        if plan.is_second:
            plain += f"-{plan.precision}"
        name, count = plain, 2
        while name.lower() in self._ids:
            name, count = f"{plain}-{count}", count + 1
        self._ids.add(name.lower())
        return name


def _arrivals(cut: ChainCut, fitted: Fitted, tensors: Sequence[CutTensor]) -> Iterator[Arrival]:
    """How the cloud takes what is quantised."""
    together = zip(cut.boundaries, fitted.transforms, tensors, strict=True)
    for index, (boundary, transform, tensor) in enumerate(together):
        if boundary.is_quantised:
            yield Arrival(boundary, transform, fitted.biases.get(index), tensor.feeds)


def _described(cut: ChainCut, transforms: Sequence[Transform]) -> tuple[str, ...]:
    pairs = zip(cut.boundaries, transforms, strict=True)
    return tuple(transform.described(boundary.tensor.shape) for boundary, transform in pairs)
