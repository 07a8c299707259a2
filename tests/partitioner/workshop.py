"""Cuts that a test names, built, measured and listed as those of a plan are."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
import onnx
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK, ignore
from tests.partitioner.serving import Bundle

from isthmus import Manifest
from isthmus_partitioner import ModelCard, Network, PlanConfig, SampleSets
from isthmus_partitioner.agreement.metrics import Metric, metric_for
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.build import Builder
from isthmus_partitioner.planning.listing import (
    cuts_of,
    manifest_of,
    write_chains,
    write_cloud,
    write_records,
)
from isthmus_partitioner.planning.measure import Evaluation, Surroundings, as_candidate
from isthmus_partitioner.planning.node_costs import ALL_INT8, NodeCosts
from isthmus_partitioner.planning.trying import Tried, try_out
from isthmus_partitioner.precision.bases import quantised_bases

Heads = Mapping[str, HeadGraph]


def branched_sets(network: Network) -> SampleSets:
    """Random items of a network of `branched`."""
    return SampleSets(
        fitted=branched.items(network, 8, 1, "one"),
        held_back=branched.items(network, 4, 3, "two"),
        evaluation=branched.items(network, 9, 2, "three"),
    )


def made_up_costs(
    network: Network, *, here_ms: float = 1000, slower: float = 1.0, cloud: float = 0.01
) -> NodeCosts:
    """In proportion to the work: fp32 takes `here_ms`, any int8 half of it, the cloud a share."""
    share = np.asarray(network.macs, np.float64) + 1.0
    fp32 = here_ms * share / share.sum()
    here = {"fp32": fp32, "int8": fp32 / 2, ALL_INT8: fp32 / 2}
    device = {precision: ms * slower for precision, ms in here.items()}
    return NodeCosts(here, device, fp32 * cloud)


class Workshop:
    """One network, its items, and a folder for what is built."""

    def __init__(
        self,
        network: Network,
        sets: SampleSets,
        folder: Path,
        config: PlanConfig = QUICK,
        metric: Metric | None = None,
    ) -> None:
        self.network, self.sets, self.folder, self.config = network, sets, folder, config
        self.metric = metric or metric_for("classify", network.outputs[-1:])
        self._evaluation = Evaluation(network, sets.evaluation, self.metric, ignore)

    def heads(self, *precisions: str, exact: Collection[str] = ()) -> Heads:
        """Heads of these precisions, the preferred first; int8 wherever it can be."""
        known = {"fp32": lambda: self.network.model, "int8": self._int8}
        return {name: HeadGraph(self.network, known[name](), exact) for name in precisions}

    def _int8(self) -> onnx.ModelProto:
        return quantised_bases(self.network, self.sets.fitted, ignore)[0].mix()

    def tried(
        self,
        cuts: Sequence[NetworkCut],
        heads: Heads,
        costs: NodeCosts | None = None,
        wholes: Heads = MappingProxyType({}),
    ) -> Tried:
        """Build and measure cuts, and networks that are only tried undivided."""
        return try_out(
            self.network,
            cuts,
            heads,
            costs or made_up_costs(self.network),
            Builder(self.network, self.sets, self.metric, self.config, self.folder, ignore),
            self._evaluation,
            self.config,
            ignore,
            wholes,
        )

    def manifest(self, tried: Tried, kept: Sequence[str] | None = None) -> Manifest:
        """All whole inputs, and the candidates of these cuts (of all, unless they are named)."""
        local = tried.chains[next(iter(tried.wholes))]
        wholes = [
            as_candidate(t, Surroundings(0, 0, 1, 1, 0), 0)
            for t in self._evaluation.whole_inputs(self.config)
        ]
        only = msgspec.structs.replace(tried.wholes[local.plan.id], id="local")
        measured = (*wholes, *tried.candidates, only)
        names = {c.id for c in measured} if kept is None else {*kept, "local"}
        candidates = [msgspec.structs.replace(c, kept=c.id in names) for c in measured]
        write_records(self.folder, {"note": Note(name="branched")})
        cuts = {cut.id: cut for cut in cuts_of(self.network, tried, local)}
        return manifest_of(
            self.network,
            write_chains(self.network, tried, candidates, cuts, self.folder),
            write_cloud(self.network, tried, candidates, self.sets, self.folder, ignore),
            candidates,
            cuts,
            self.folder,
            card=ModelCard("branched"),
            metric=self.metric.name,
            floor=0.0,
            edge_factor=1.0,
        )

    def bundle(self, tried: Tried, kept: Sequence[str] | None = None) -> Bundle:
        """What device and cloud make of the manifest."""
        return Bundle(self.manifest(tried, kept), self.folder)


class Note(msgspec.Struct):
    """Stands for profile and plan."""

    name: str
