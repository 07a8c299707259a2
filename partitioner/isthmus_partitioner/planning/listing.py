"""The manifest of what was chosen: chains, cuts and files of a bundle, as they lie in a folder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from isthmus import (
    FORMAT_VERSION,
    Candidate,
    Chain,
    ConfigError,
    Cut,
    CutTensor,
    FileEntry,
    Manifest,
    decode_manifest,
    describe_machine,
    encode_manifest,
    sha256_of,
)
from isthmus.manifest import LABELS_NAME
from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.build import (
    INPUT,
    INPUT_TAIL,
    LOCAL,
    BuiltCut,
    input_cut,
    tail_cut,
)
from isthmus_partitioner.parts.chains import write_chain
from isthmus_partitioner.parts.cloud import CloudSide, cost_of_parts, write_cloud_side
from isthmus_partitioner.parts.together import frames_of, some_items
from isthmus_partitioner.planning.trying import Tried, TriedChain
from isthmus_partitioner.samples import SampleSets

__all__ = [
    "PLAN_RECORD",
    "RECORDS",
    "ModelCard",
    "WrittenChains",
    "cuts_of",
    "manifest_of",
    "write_chains",
    "write_cloud",
    "write_records",
]

Side = Literal["device", "cloud", "both", "record"]
RECORDS = "record"
PLAN_RECORD = f"{RECORDS}/plan.json"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people call the model and its classes; no labels is fine.

    ConfigError for labels of more than one line.
    """

    name: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(label.splitlines()) > 1 for label in self.labels):
            raise ConfigError("a label has more than one line; give each class one line")

    def require_fit(self, network: Network) -> None:
        """ConfigError if there are labels, but not one for each value of the first output."""
        classes = network.outputs[0].size
        if self.labels and len(self.labels) != classes:
            raise ConfigError(f"{len(self.labels)} labels for {classes} classes; give one for each")


def cuts_of(network: Network, tried: Tried, local: TriedChain) -> Iterator[Cut]:
    """All cuts that were built, `input` before and `local` behind them; without their tails."""
    whole_ms = local.prefix_ms[-1]
    yield Cut(
        id=INPUT,
        chain=local.plan.id,
        depth=0,
        macs_share=0.0,
        tensors=tuple(CutTensor(boundary=spec, wire=spec) for spec in network.inputs),
        rest_ms=whole_ms,
    )
    for built in tried.cuts.values():
        yield _cut(built, tried.chains[built.chain])
    depth = len(local.chain.segments)
    yield Cut(id=LOCAL, chain=local.plan.id, depth=depth, macs_share=1.0, tensors=())


def _cut(built: BuiltCut, chain: TriedChain) -> Cut:
    return Cut(
        id=built.id,
        chain=built.chain,
        depth=built.depth,
        macs_share=built.at.cut.macs_share,
        tensors=built.tensors,
        answers=built.at.cut.answers,
        rest_ms=max(0.0, chain.prefix_ms[-1] - chain.prefix_ms[built.depth]),
    )


@dataclass(frozen=True, slots=True)
class WrittenChains:
    """The chains of a bundle, on disk; `depths` of the cuts that are left, by id."""

    chains: tuple[Chain, ...]
    depths: Mapping[str, int]


def manifest_of(  # noqa: PLR0913  what a bundle is made of
    network: Network,
    written: WrittenChains,
    cloud: CloudSide,
    candidates: Sequence[Candidate],
    cuts: Mapping[str, Cut],
    folder: Path,
    *,
    card: ModelCard,
    metric: str,
    floor: float,
    edge_factor: float,
) -> Manifest:
    """What is left in the folder by `write_chains` and `write_cloud`, and listed.

    Candidates get the times of their tails as they are now, in parts.
    """
    kept = _kept_cuts(candidates)
    records = tuple(_placed(cut, written, cloud) for cut in cuts.values() if cut.id in kept)
    _write_labels(card, folder)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model_name=card.name,
        model_sha256=network.sha256,
        inputs=network.inputs,
        outputs=network.outputs,
        metric=metric,
        chains=written.chains,
        cuts=records,
        candidates=tuple(_timed(c, cloud) for c in candidates if c.cut in kept),
        files=tuple(_files(written.chains, records, card, folder)),
        agreement_floor=floor,
        edge_factor=edge_factor,
        measured_on=describe_machine(),
        has_labels=bool(card.labels),
        batched=cloud.batched,
    )
    # A reader's checks, before anybody has to be a reader.
    return decode_manifest(encode_manifest(manifest), "the plan's manifest")


def _placed(cut: Cut, written: WrittenChains, cloud: CloudSide) -> Cut:
    """A cut at its depth in the chain as it is now, with its tail."""
    return msgspec.structs.replace(
        cut, depth=written.depths.get(cut.id, cut.depth), tail=cloud.files.get(cut.id, ())
    )


def write_chains(
    network: Network,
    tried: Tried,
    candidates: Sequence[Candidate],
    cuts: Mapping[str, Cut],
    folder: Path,
) -> WrittenChains:
    """Leave only what kept candidates need on the device: chains divided at their cuts alone."""
    kept = _kept_cuts(candidates)
    for built in tried.cuts.values():
        if built.id not in kept:
            for file in built.projections:
                _remove(folder / file)
    chains: list[Chain] = []
    depths: dict[str, int] = {}
    wanted = {cuts[name].chain for name in kept}
    for name, chain in tried.chains.items():
        for segment in chain.chain.segments:
            _remove(folder / segment.file)
        if name not in wanted:
            continue
        own = [cut for cut in tried.cuts.values() if cut.chain == name and cut.id in kept]
        own.sort(key=lambda cut: cut.depth)
        plan = replace(chain.plan, cuts=tuple(cut.at for cut in own))
        chains.append(write_chain(network, plan, folder))
        depths |= {cut.id: depth for depth, cut in enumerate(own, start=1)}
        if cuts[LOCAL].chain == name:
            depths[LOCAL] = len(own) + 1
    return WrittenChains(tuple(chains), depths)


def write_cloud(
    network: Network,
    tried: Tried,
    candidates: Sequence[Candidate],
    sets: SampleSets,
    folder: Path,
    progress: Progress,
) -> CloudSide:
    """Replace the tails that plans are measured with by those of kept candidates, in parts."""
    kept = _kept_cuts(candidates)
    built = (tail_cut(each) for each in tried.cuts.values() if each.id in kept)
    cuts = [input_cut(network), *built]
    frames = frames_of(network, cuts, some_items((sets.held_back, sets.fitted)))
    wholes = {INPUT: INPUT_TAIL} | {name: built.tail for name, built in tried.cuts.items()}
    cloud = write_cloud_side(network, cuts, frames, folder, progress)
    cloud = cost_of_parts(cloud, cuts, wholes, frames, folder)
    for file in wholes.values():
        _remove(folder / file)
    return cloud


def _timed(candidate: Candidate, cloud: CloudSide) -> Candidate:
    """With what its tail takes in parts: as it was measured, times what parts take more."""
    ratio = cloud.ratios.get(candidate.cut, 1.0)
    rungs = []
    for rung in candidate.rungs:
        taken = msgspec.structs.replace(rung.figures, tail_ms=rung.figures.tail_ms * ratio)
        rungs.append(msgspec.structs.replace(rung, figures=taken))
    return msgspec.structs.replace(candidate, rungs=tuple(rungs))


def _kept_cuts(candidates: Iterable[Candidate]) -> set[str]:
    return {c.cut for c in candidates if c.kept} | {INPUT, LOCAL}


def _remove(path: Path) -> None:
    """With its weights, where they lie beside it."""
    for file in (path, *path.parent.glob(f"{path.name}.*")):
        file.unlink(missing_ok=True)


def _write_labels(card: ModelCard, folder: Path) -> None:
    path = folder / LABELS_NAME
    path.unlink(missing_ok=True)
    if card.labels:
        path.write_text("".join(f"{label}\n" for label in card.labels), encoding="utf-8")


def write_records(folder: Path, records: Mapping[str, msgspec.Struct]) -> None:
    """Write `record/<name>.json` for people and reports; nobody runs them."""
    (folder / RECORDS).mkdir(exist_ok=True)
    for name, record in records.items():
        data = msgspec.json.format(msgspec.json.encode(record), indent=1)
        (folder / RECORDS / f"{name}.json").write_bytes(data + b"\n")


def _files(
    chains: Iterable[Chain], cuts: Sequence[Cut], card: ModelCard, folder: Path
) -> Iterator[FileEntry]:
    segments = [segment for chain in chains for segment in chain.segments]
    listed: list[tuple[str, Side]] = [(segment.file, "device") for segment in segments]
    listed += [(s.tflite.file, "device") for s in segments if s.tflite is not None]
    listed += [
        (tensor.stage.projection, "device")
        for cut in cuts
        for tensor in cut.tensors
        if tensor.stage is not None and tensor.stage.projection is not None
    ]
    listed += [(part, "cloud") for part in dict.fromkeys(p for cut in cuts for p in cut.tail)]
    weights = [
        (str(path.relative_to(folder)), side)
        for name, side in listed
        for path in sorted((folder / name).parent.glob(f"{Path(name).name}.*"))
    ]
    listed += weights
    if card.labels:
        listed.append((LABELS_NAME, "both"))
    listed += [
        (str(path.relative_to(folder)), "record")
        for path in sorted((folder / RECORDS).glob("*.json"))
    ]
    for name, side in listed:
        path = folder / name
        yield FileEntry(
            path=name, side=side, size_bytes=path.stat().st_size, sha256=sha256_of(path)
        )
