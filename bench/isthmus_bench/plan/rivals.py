"""Builds what a plan has to beat, so that it is run and not just reckoned.

Cuts of other planners go into the plan's own bundle, as chains of the fp32 network whose tensors
cross as they are. The whole network on the device, in fp32 and in int8, gets bundles of its own.
All of them are timed as a plan times its own.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx

from isthmus import (
    Candidate,
    Chain,
    Cut,
    CutTensor,
    Figures,
    FileEntry,
    Manifest,
    Raw,
    Rung,
    decode_manifest,
    encode_manifest,
    sha256_of,
)
from isthmus.manifest import MANIFEST_NAME
from isthmus_partitioner import Network
from isthmus_partitioner.cuts.cut import cut_before, nested_families
from isthmus_partitioner.graph.files import save_model
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.parts.chains import ChainPlan, write_chain
from isthmus_partitioner.parts.segments import tail_model
from isthmus_partitioner.parts.timing import PAUSE_S, ChainTimer
from isthmus_partitioner.runtime import AnyArray, all_cores, interleaved_ms, open_session
from isthmus_partitioner.wire.feeds import tail_feed
from isthmus_partitioner.wire.through import through_the_wire

__all__ = ["EDGE_FP32", "EDGE_INT8", "Rivals", "Whole", "build_rivals"]

EDGE_FP32, EDGE_INT8 = "edge-only fp32", "edge-only int8"
_TAIL_ROUNDS = 11
_ENCODE_ROUNDS = 9

Head = frozenset[int]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """The whole network on the device in one precision, and how well it agrees with fp32."""

    name: str
    precision: Precision
    model: onnx.ModelProto
    agreement: float


@dataclass(frozen=True, slots=True)
class Rivals:
    """What was built: `bundle` is the plan's with the other planners' cuts, `alone` a folder with
    a bundle for each way of `whole`. `cut_of` names the candidate of each head.

    `edge_fp32_ms` is what the whole fp32 network takes on this machine, at the speed that it had
    when the plan was made.
    """

    bundle: Path
    alone: Path
    manifest: Manifest
    cut_of: Mapping[Head, str]
    whole: tuple[Candidate, ...]
    edge_fp32_ms: float


@dataclass(frozen=True, slots=True)
class _Placed:
    """A cut in its chain; `id` is its candidate's, too."""

    id: str
    chain: str
    depth: int
    at: ChainCut

    @property
    def tail(self) -> str:
        return f"cloud/tail-{self.id}.onnx"

    @property
    def encodings(self) -> tuple[Raw, ...]:
        return tuple(Raw() for _ in self.at.boundaries)


def build_rivals(  # noqa: PLR0913  a plan's bundle, and what it is to be compared with
    network: Network,
    bundle: Path,
    manifest: Manifest,
    heads: Iterable[Head],
    wholes: Sequence[Whole],
    *,
    feed: Mapping[str, AnyArray],
    factor: float,
    alone: Path,
) -> Rivals:
    """Add cuts with these heads to the bundle of a plan, and write the `wholes` below `alone`.

    `feed` is one item to time with, on a device `factor` times slower than this machine. Should
    this machine be slower or faster by now than when the plan was made, what the plan keeps on the
    device says by how much, and all times are as they were then.
    """
    timer = ChainTimer(feed)
    chains, placed = _written(network, set(heads), bundle, timer)
    lone = [_written_alone(network, whole, alone, timer) for whole in wholes]
    local = manifest.chain_of(manifest.cut_of(manifest.local))
    timer.add(local, bundle)
    here = timer.prefixes_ms()
    factor_now = manifest.local.figures.edge_ms / here[local.id][-1]
    edge_ms = {name: tuple(ms * factor_now for ms in own) for name, own in here.items()}
    candidates = []
    for whole, chain in zip(wholes, lone, strict=True):
        taken = _figures(edge_ms[chain.id][-1], agreement=whole.agreement)
        candidates.append(_local(whole, taken))
        _write_alone(manifest, chain, candidates[-1], alone / whole.name)
    tail_ms = _tail_times(placed, bundle)
    figures = {
        each.id: _figures(
            edge_ms[each.chain][each.depth],
            encode_ms=_raw_encode_ms(each) * factor,
            tail_ms=tail_ms[each.id],
            payload_bytes=sum(boundary.spec.nbytes for boundary in each.at.boundaries),
        )
        for each in placed
    }
    grown = _grown(manifest, chains, placed, figures, bundle)
    names = {each.at.cut.head: each.id for each in placed}
    edge_fp32_ms = edge_ms[_chain_id(EDGE_FP32)][-1] / factor
    return Rivals(bundle, alone, grown, names, tuple(candidates), edge_fp32_ms)


def _chain_id(whole: str) -> str:
    return whole.replace(" ", "-")


def _written_alone(network: Network, whole: Whole, alone: Path, timer: ChainTimer) -> Chain:
    folder = alone / whole.name
    (folder / "device").mkdir(parents=True)
    head = HeadGraph(network, whole.model)
    plan = ChainPlan(_chain_id(whole.name), whole.precision, head, ())
    chain = write_chain(network, plan, folder)
    timer.add(chain, folder)
    return chain


def _written(
    network: Network, heads: set[Head], folder: Path, timer: ChainTimer
) -> tuple[list[Chain], list[_Placed]]:
    """Chains and tails, as files."""
    exact = {spec.name for spec in network.inputs} | network.tensors.keys()
    graph = HeadGraph(network, network.model, exact)
    chains: list[Chain] = []
    placed: list[_Placed] = []
    for family in nested_families(cut_before(network, head) for head in heads):
        cuts = tuple(at for cut in family if (at := graph.at(cut)) is not None)
        plan = ChainPlan(f"fp32-wire-{len(chains) + 1}", "fp32", graph, cuts)
        chains.append(write_chain(network, plan, folder))
        timer.add(chains[-1], folder)
        for depth, at in enumerate(cuts, start=1):
            placed.append(_Placed(f"fp32 wire {len(placed) + 1}", plan.id, depth, at))
            save_model(tail_model(network, at), folder / placed[-1].tail)
    return chains, placed


def _tail_times(placed: Sequence[_Placed], folder: Path) -> dict[str, float]:
    runs = {}
    for each in placed:
        session = open_session(folder / each.tail, threads=all_cores())
        specs = [boundary.spec for boundary in each.at.boundaries]
        blanks = [np.zeros(spec.graph_shape, spec.data_type) for spec in specs]
        fed = tail_feed(each.at.boundaries, blanks, each.encodings)
        runs[each.id] = partial(session.run, None, fed)
    return interleaved_ms(runs, _TAIL_ROUNDS, time.perf_counter, PAUSE_S)


def _raw_encode_ms(placed: _Placed) -> float:
    """What it takes here to put its tensors into a message as they are."""
    tensors = _cut(placed).tensors
    blanks = tuple(np.zeros(t.wire.graph_shape, t.wire.data_type) for t in tensors)
    plain = [None] * len(tensors)
    _, wire = through_the_wire([blanks] * _ENCODE_ROUNDS, tensors, placed.encodings, plain)
    return wire.encode_ms


def _grown(
    manifest: Manifest,
    chains: Sequence[Chain],
    placed: Sequence[_Placed],
    figures: Mapping[str, Figures],
    folder: Path,
) -> Manifest:
    """The plan's manifest with these cuts, written over its own."""
    files = [(segment.file, "device") for chain in chains for segment in chain.segments]
    files += [(each.tail, "cloud") for each in placed]
    return _write_manifest(
        msgspec.structs.replace(
            manifest,
            chains=(*manifest.chains, *chains),
            cuts=(*manifest.cuts, *map(_cut, placed)),
            candidates=(
                *manifest.candidates,
                *(_candidate(each, figures[each.id]) for each in placed),
            ),
            files=(*manifest.files, *_entries(files, folder)),
        ),
        folder,
    )


def _cut(placed: _Placed) -> Cut:
    boundaries = [boundary.spec for boundary in placed.at.boundaries]
    return Cut(
        id=placed.id,
        chain=placed.chain,
        depth=placed.depth,
        macs_share=placed.at.cut.macs_share,
        tensors=tuple(CutTensor(boundary=spec, wire=spec) for spec in boundaries),
        tail=(placed.tail,),
        answers=placed.at.cut.answers,
    )


def _candidate(placed: _Placed, figures: Figures) -> Candidate:
    return Candidate(
        id=placed.id,
        cut=placed.id,
        precision="fp32",
        rungs=(Rung(encodings=placed.encodings, figures=figures),),
        chosen=0,
        kept=False,
        reason="what another planner would do",
    )


def _local(whole: Whole, figures: Figures) -> Candidate:
    return Candidate(
        id=whole.name,
        cut="local",
        precision=whole.precision,
        rungs=(Rung(encodings=(), figures=figures),),
        chosen=0,
        kept=True,
        reason="the whole network on the device",
    )


def _write_alone(manifest: Manifest, chain: Chain, candidate: Candidate, folder: Path) -> None:
    """A bundle of one chain that is never cut."""
    local = Cut(id="local", chain=chain.id, depth=1, macs_share=1.0, tensors=())
    files = [(segment.file, "device") for segment in chain.segments]
    _write_manifest(
        msgspec.structs.replace(
            manifest,
            chains=(chain,),
            cuts=(local,),
            candidates=(candidate,),
            files=tuple(_entries(files, folder)),
            has_labels=False,
        ),
        folder,
    )


def _write_manifest(manifest: Manifest, folder: Path) -> Manifest:
    data = encode_manifest(manifest)
    decode_manifest(data, str(folder))  # a reader's checks
    (folder / MANIFEST_NAME).write_bytes(data)
    return manifest


def _entries(files: Sequence[tuple[str, str]], folder: Path) -> Iterator[FileEntry]:
    """With weights that lie beside their graphs."""
    for name, side in files:
        graph = folder / name
        for path in (graph, *sorted(graph.parent.glob(f"{graph.name}.*"))):
            yield FileEntry(
                path=str(path.relative_to(folder)),
                side="device" if side == "device" else "cloud",
                size_bytes=path.stat().st_size,
                sha256=sha256_of(path),
            )


def _figures(
    edge_ms: float,
    *,
    encode_ms: float = 0.0,
    tail_ms: float = 0.0,
    payload_bytes: int = 0,
    agreement: float = 1.0,
) -> Figures:
    return Figures(
        edge_ms=edge_ms,
        encode_ms=encode_ms,
        decode_ms=0.0,
        tail_ms=tail_ms,
        payload_bytes=payload_bytes,
        payload_bytes_p95=payload_bytes,
        agreement=agreement,
        agreement_low=agreement,
        agreement_high=agreement,
        divergence=0.0,
    )
