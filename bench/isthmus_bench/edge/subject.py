"""A network as files: whole, as chains of segments, and as prefixes, in both forms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx

from isthmus import Chain, ModelError
from isthmus.agreement.closeness import Metric
from isthmus.agreement.layouts import decoder
from isthmus_bench.edge.config import EdgeBenchConfig
from isthmus_bench.edge.nested import nested_cuts, spread
from isthmus_bench.edge.orders import ITEMS_NAME, Net
from isthmus_models import Model
from isthmus_partitioner import Network, Samples, load_model
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.graph.files import save_model
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.parts.chains import ChainPlan, write_chain
from isthmus_partitioner.parts.twins import with_twins
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.precision.sensitivity import Judge
from isthmus_partitioner.samples import sets_of

__all__ = ["Arrangement", "Built", "Kind", "Precision", "Subject", "make_subject"]

Precision = Literal["fp32", "int8"]
Kind = Literal["whole", "mapped", "chain", "prefixes", "inside"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is loaded together for so many candidates; 0: the undivided network.

    "chain": nested segments as a bundle has them, the last of which finishes the network; their
    weights lie page-aligned beside them. "inside": the same with weights inside. "prefixes": a
    model of its own up to each cut, and the undivided network, which finishes a frame from its
    picture, weights inside. "whole" is the undivided network as anybody has it, weights inside;
    "mapped" has them beside it.
    """

    kind: Kind
    candidates: int
    nets: tuple[Net, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A network in one precision: what is loaded for how many candidates, and its longest chain.

    `inside` is that chain with its weights inside. `notes` say what has no TFLite form.
    """

    precision: Precision
    arrangements: tuple[Arrangement, ...]
    whole: Net
    chain: Net
    inside: Net
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model of the catalogue in `folder`; `evaluation` shares no source with what was fitted.

    `shares` are those of the work before each cut of the longest chain.
    """

    name: str
    folder: Path
    network: Network
    metric: Metric
    evaluation: Samples
    shares: tuple[float, ...]
    built: tuple[Built, ...]
    notes: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """By name, in the order of the items' file."""
        return tuple(spec.name for spec in self.network.inputs)


def make_subject(model: Model, config: EdgeBenchConfig, folder: Path, say: Say) -> Subject:
    """Quantise, divide, lower; ModelError if the network has too few places to divide it at."""
    (folder / "device").mkdir()
    say(f"{model.name}: reading the network and its inputs")
    network = load_model(model.build(folder / f"{model.name}.onnx"), model.sizes)
    calibration = Samples(*model.items("calibration", config.calibration))
    evaluation = Samples(*model.items("evaluation", config.inputs))
    _write_items(network, evaluation, folder)
    metric = _metric(model, network)
    models: dict[Precision, onnx.ModelProto] = {"fp32": network.model}
    notes: tuple[str, ...] = ()
    try:
        models["int8"] = _int8(network, calibration, evaluation, metric, say)
    except ModelError as error:
        notes = (f"no int8: {error}",)
    heads = [HeadGraph(network, each) for each in models.values()]
    cuts = nested_cuts(network, heads, config.candidates[-1])
    works = _Works(network, cuts, config.candidates, calibration, folder)
    built = []
    for precision, each in models.items():
        say(f"{model.name}: {precision} as one network, as chains and as prefixes")
        built.append(works.built(precision, each))
    return Subject(
        name=model.name,
        folder=folder,
        network=network,
        metric=metric,
        evaluation=evaluation,
        shares=tuple(cut.macs_share for cut in cuts),
        built=tuple(built),
        notes=notes,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Works:
    """Writes a network in one precision after the other."""

    network: Network
    cuts: tuple[NetworkCut, ...]
    candidates: tuple[int, ...]
    items: Samples
    folder: Path

    def built(self, precision: Precision, model: onnx.ModelProto) -> Built:
        head = HeadGraph(self.network, model)
        at = self._divided(head)
        notes: list[str] = []

        def twinned(chain: Chain) -> Chain:
            made, missing = with_twins(self.network, chain, "litert", self.folder, self.items)
            notes.extend(missing)
            return made

        mapped = self._net(self._chain(precision, "mapped", head, ()))
        whole = self._net(twinned(self._inside(self._chain(precision, "whole", head, ()))))
        prefixes = [
            self._prefix(twinned, self._chain(precision, f"prefix-{index}", head, (cut,)))
            for index, cut in enumerate(at)
        ]
        arrangements = [Arrangement("whole", 0, (whole,)), Arrangement("mapped", 0, (mapped,))]
        for count in self.candidates:
            places = spread(count, len(at))
            some = tuple(at[place] for place in places)
            chain = self._net(twinned(self._chain(precision, f"chain-{count}", head, some)))
            plain = self._chain(precision, f"inside-{count}", head, some)
            inside = self._net(self._inside(plain))
            arrangements += [
                Arrangement("chain", count, (chain,)),
                Arrangement("inside", count, (inside,)),
                Arrangement("prefixes", count, (*(prefixes[p] for p in places), whole)),
            ]
        return Built(precision, tuple(arrangements), whole, chain, inside, tuple(notes))

    def _divided(self, head: HeadGraph) -> tuple[ChainCut, ...]:
        found = (head.at(cut) for cut in self.cuts)
        return tuple(cut for cut in found if cut is not None)  # `nested_cuts` has looked

    def _chain(
        self, precision: Precision, name: str, head: HeadGraph, cuts: tuple[ChainCut, ...]
    ) -> Chain:
        plan = ChainPlan(f"{precision}-{name}", precision, head, cuts)
        return write_chain(self.network, plan, self.folder)

    def _prefix(self, twinned: Callable[[Chain], Chain], divided: Chain) -> Net:
        first = msgspec.structs.replace(divided, segments=divided.segments[:1])
        return Net(first.id, twinned(self._inside(first)))

    def _inside(self, chain: Chain) -> Chain:
        """The same files with their weights inside."""
        for segment in chain.segments:
            path = self.folder / segment.file
            model = onnx.load(path)
            for weights in path.parent.glob(f"{path.name}.*"):
                weights.unlink()
            save_model(model, path)
        return chain

    def _net(self, chain: Chain) -> Net:
        return Net(chain.id, chain, tuple(spec.name for spec in self.network.outputs))


def _int8(
    network: Network, calibration: Samples, evaluation: Samples, metric: Metric, say: Say
) -> onnx.ModelProto:
    """All ops that can be integers, by the method of calibration that does less harm."""
    sets = sets_of(calibration, evaluation)
    bases = quantised_bases(network, sets.fitted, lambda line: say(f"{network.path.stem}: {line}"))
    judge = Judge(network, sets.held_back, metric)
    models = [base.mix() for base in bases if base.is_whole]
    return min(models, key=lambda model: judge.closeness(model).divergence)


def _write_items(network: Network, items: Samples, folder: Path) -> None:
    feeds = list(items.feeds(network.inputs))
    columns: Mapping[str, np.ndarray] = {
        f"input_{index}": np.stack([feed[spec.name] for feed in feeds])
        for index, spec in enumerate(network.inputs)
    }
    with (folder / ITEMS_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, **columns)


def _metric(model: Model, network: Network) -> Metric:
    size = model.picture_size
    boxes = model.boxes and decoder(model.boxes, network.outputs, size, size)
    return metric_for(model.task, network.outputs, boxes or None)
