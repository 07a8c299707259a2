"""A plan: the candidates with their figures, the files they need, and what was left out and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from isthmus import (
    FORMAT_VERSION,
    Candidate,
    ConfigError,
    Cut,
    CutTensor,
    FileEntry,
    Manifest,
    Segment,
    decode_manifest,
    describe_machine,
    encode_manifest,
    sha256_of,
)
from isthmus.manifest import LABELS_NAME
from isthmus_partitioner.config import PictureSets, PlanConfig, Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.build import (
    INPUT,
    INPUT_TAIL,
    LOCAL,
    BuiltCut,
    Parts,
    build_parts,
    write_chain,
)
from isthmus_partitioner.parts.timing import open_tails, time_parts
from isthmus_partitioner.planning.agreement import answer_index
from isthmus_partitioner.planning.envelope import LOCAL_ADVANTAGE, Offer
from isthmus_partitioner.planning.measure import Evaluation, Trial, as_candidate
from isthmus_partitioner.planning.propose import WireForecast, edge_factor, propose
from isthmus_partitioner.planning.selection import select
from isthmus_partitioner.precision.mixed import Quantised, Variant
from isthmus_partitioner.profiles.layers import Profile
from isthmus_partitioner.wire.bottleneck import Verdict

__all__ = ["ModelCard", "Plan", "TransformNote", "make_plan"]

Side = Literal["device", "cloud", "both"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people call the model and its classes; no labels is fine."""

    name: str
    labels: tuple[str, ...] = ()


class TransformNote(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a cut's channels before they are quantised, and what a projection would do.

    `has_bias`: the tail adds back a part of the head's error.
    """

    cut: str
    transform: str
    has_bias: bool
    bottleneck: Verdict | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is made of, and what was considered on the way.

    `rejected` are measured candidates of cuts that the bundle does not have; `forecasts` every
    cut as predicted; `variants` the head precisions that were tried; `transforms` what became of
    each built cut's channels before the wire.
    """

    manifest: Manifest
    rejected: tuple[Candidate, ...]
    forecasts: tuple[WireForecast, ...]
    variants: tuple[Variant, ...]
    transforms: tuple[TransformNote, ...]
    precision: str
    precision_reason: str
    calibration_pictures: int
    evaluation_pictures: int

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All that were measured, in the bundle or not."""
        return self.manifest.candidates + self.rejected


def make_plan(  # noqa: PLR0913  each step's result, and where to put one's own
    network: Network,
    head: Quantised,
    profile: Profile,
    pictures: PictureSets,
    *,
    config: PlanConfig,
    card: ModelCard,
    folder: Path,
    progress: Progress,
) -> Plan:
    """Propose cuts, build them below `folder`, measure, and keep what is best somewhere.

    What remains in `folder` are the files of the plan's manifest. A cut with no kept candidate
    leaves the chain again; the prefixes behind it keep the figures that were measured with it.
    """
    _check_labels(network, card)
    tried = _try_out(network, head, profile, pictures, config, folder, progress)
    kept = {c.cut for c in tried.candidates if c.kept} | {INPUT, LOCAL}
    count = sum(candidate.kept for candidate in tried.candidates)
    progress(f"keeping {count} of {len(tried.candidates)} candidates")
    return Plan(
        manifest=_manifest(network, head, tried, kept, config, card),
        rejected=tuple(c for c in tried.candidates if c.cut not in kept),
        forecasts=tried.forecasts,
        variants=head.variants,
        transforms=tuple(_note(cut) for cut in tried.parts.cuts),
        precision=head.chosen.name,
        precision_reason=head.reason,
        calibration_pictures=len(pictures.calibration),
        evaluation_pictures=len(pictures.evaluation),
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """Everything that was built and measured, with what was chosen from it."""

    parts: Parts
    candidates: tuple[Candidate, ...]
    edge_factor: float
    forecasts: tuple[WireForecast, ...]


def _try_out(  # noqa: PLR0913, PLR0917  the steps in between share all of it
    network: Network,
    head: Quantised,
    profile: Profile,
    pictures: PictureSets,
    config: PlanConfig,
    folder: Path,
    progress: Progress,
) -> _Tried:
    evaluation = Evaluation(network, pictures.evaluation, progress)
    trials = [*evaluation.whole_pictures(config)]
    progress(f"measuring the wire bytes of {len(network.cuts)} cuts in two steps each")
    rivals = tuple(_rivals(trials, profile, config))
    proposals, forecasts = propose(network, head, profile, rivals, pictures.fitted, config)
    parts = build_parts(network, head, proposals, pictures, config, folder, progress)
    tails = open_tails(parts)
    progress(f"timing {len(parts.segments)} segments and {len(tails)} tails")
    times = time_parts(network, parts, tails, pictures.evaluation[:1])
    trials += evaluation.chain(parts, tails)
    factor = edge_factor(config, times.prefix_ms[-1])
    floor = config.agreement_floor
    measured = [as_candidate(trial, times, factor, head.precision, floor) for trial in trials]
    return _Tried(parts, select(measured, floor), factor, forecasts)


def _manifest(
    network: Network,
    head: Quantised,
    tried: _Tried,
    kept: set[str],
    config: PlanConfig,
    card: ModelCard,
) -> Manifest:
    """Leave only the kept cuts in chain and files, and list what is there."""
    folder = tried.parts.folder
    cuts = tuple(cut for cut in tried.parts.cuts if cut.id in kept)
    segments = write_chain(network, head, [cut.boundary for cut in cuts], folder)
    for cut in tried.parts.cuts:
        if cut.id not in kept:
            for file in cut.files:
                (folder / file).unlink()
    _write_labels(card, folder)
    records = tuple(_cuts(network, cuts, len(segments)))
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model_name=card.name,
        model_sha256=network.sha256,
        input=network.input,
        outputs=network.outputs,
        segments=segments,
        cuts=records,
        candidates=tuple(c for c in tried.candidates if c.cut in kept),
        files=tuple(_files(segments, records, card, folder)),
        agreement_floor=config.agreement_floor,
        edge_factor=tried.edge_factor,
        measured_on=describe_machine(),
        has_labels=bool(card.labels),
    )
    # A reader's checks, before anybody has to be a reader.
    return decode_manifest(encode_manifest(manifest), "the plan's manifest")


def _rivals(trials: Sequence[Trial], profile: Profile, config: PlanConfig) -> Iterator[Offer]:
    """The ways without a cut that answer well enough, in the profile's times."""
    factor = edge_factor(config, profile.head_ms)
    yield Offer(LOCAL, profile.head_ms * factor * (1 - LOCAL_ADVANTAGE), 0, 0)
    for trial in trials:
        good = [s.wire for s in trial.steps if s.close.agreement >= config.agreement_floor]
        if good:
            wire = min(good, key=lambda wire: wire.payload_bytes)
            cloud_ms = wire.decode_ms + profile.fp32_ms
            yield Offer(trial.id, wire.encode_ms * factor, wire.payload_bytes, cloud_ms)


def _note(cut: BuiltCut) -> TransformNote:
    return TransformNote(
        cut=cut.id, transform=cut.transform, has_bias=cut.has_bias, bottleneck=cut.bottleneck
    )


def _check_labels(network: Network, card: ModelCard) -> None:
    classes = network.outputs[answer_index(network.outputs)].size
    if card.labels and len(card.labels) != classes:
        raise ConfigError(f"{len(card.labels)} labels for {classes} classes; give one for each")
    if any(len(label.splitlines()) > 1 for label in card.labels):
        raise ConfigError("a label has more than one line; give each class one line")


def _cuts(network: Network, cuts: Sequence[BuiltCut], segments: int) -> Iterator[Cut]:
    yield Cut(
        id=INPUT,
        depth=0,
        macs_share=0.0,
        tensors=(CutTensor(boundary=network.input, wire=network.input),),
        tail=INPUT_TAIL,
    )
    for depth, cut in enumerate(cuts, start=1):
        yield Cut(
            id=cut.id,
            depth=depth,
            macs_share=cut.boundary.cut.macs_share,
            tensors=(cut.tensor,),
            tail=cut.tail,
        )
    yield Cut(id=LOCAL, depth=segments, macs_share=1.0, tensors=(), tail=None)


def _write_labels(card: ModelCard, folder: Path) -> None:
    path = folder / LABELS_NAME
    path.unlink(missing_ok=True)
    if card.labels:
        path.write_text("".join(f"{label}\n" for label in card.labels), encoding="utf-8")


def _files(
    segments: Sequence[Segment], cuts: Sequence[Cut], card: ModelCard, folder: Path
) -> Iterator[FileEntry]:
    listed: list[tuple[str, Side]] = [(segment.file, "device") for segment in segments]
    listed += [(t.stage, "device") for cut in cuts for t in cut.tensors if t.stage is not None]
    listed += [(cut.tail, "cloud") for cut in cuts if cut.tail is not None]
    if card.labels:
        listed.append((LABELS_NAME, "both"))
    for name, side in listed:
        path = folder / name
        yield FileEntry(
            path=name, side=side, size_bytes=path.stat().st_size, sha256=sha256_of(path)
        )
