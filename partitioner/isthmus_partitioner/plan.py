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
    FileEntry,
    Manifest,
    Segment,
    decode_manifest,
    describe_machine,
    encode_manifest,
    sha256_of,
)
from isthmus.manifest import LABELS_NAME
from isthmus_partitioner.agreement import answer_index
from isthmus_partitioner.build import INPUT, INPUT_TAIL, LOCAL, BuiltCut, build_parts, write_chain
from isthmus_partitioner.config import PictureSets, PlanConfig, Progress
from isthmus_partitioner.measure import measure
from isthmus_partitioner.network import Network
from isthmus_partitioner.precision import Quantised, Variant
from isthmus_partitioner.profiling import Profile
from isthmus_partitioner.propose import WireForecast, propose
from isthmus_partitioner.segments import boundary_spec
from isthmus_partitioner.selection import select

__all__ = ["ModelCard", "Plan", "make_plan"]

Side = Literal["device", "cloud", "both"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people call the model and its classes; no labels is fine."""

    name: str
    labels: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is made of, and what was considered on the way.

    `rejected` are measured candidates of cuts that the bundle does not have; `forecasts` every
    cut as predicted; `variants` the head precisions that were tried; `chain_note` says which
    figures are of the chain before cuts were dropped from it.
    """

    manifest: Manifest
    rejected: tuple[Candidate, ...]
    forecasts: tuple[WireForecast, ...]
    variants: tuple[Variant, ...]
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
    leaves the chain again; the prefixes behind it keep the times that were measured with it.
    """
    _check_labels(network, card)
    proposals, forecasts = propose(network, head, profile, pictures, config, progress)
    parts = build_parts(network, head, proposals, pictures, folder, progress)
    measured = measure(network, head, parts, pictures.evaluation, config, progress)
    candidates = select(measured.candidates, config.agreement_floor)
    kept = {c.cut for c in candidates if c.kept} | {INPUT, LOCAL}
    progress(f"keeping {sum(c.kept for c in candidates)} of {len(candidates)} candidates")
    cuts = tuple(cut for cut in parts.cuts if cut.id in kept)
    segments = write_chain(network, head, [cut.boundary for cut in cuts], folder)
    for cut in parts.cuts:
        if cut.id not in kept:
            (folder / cut.tail).unlink()
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
        candidates=tuple(c for c in candidates if c.cut in kept),
        files=tuple(_files(segments, records, card, folder)),
        agreement_floor=config.agreement_floor,
        edge_factor=measured.edge_factor,
        measured_on=describe_machine(),
        has_labels=bool(card.labels),
    )
    return Plan(
        manifest=decode_manifest(encode_manifest(manifest), "the plan's manifest"),
        rejected=tuple(c for c in candidates if c.cut not in kept),
        forecasts=forecasts,
        variants=head.variants,
        precision=head.chosen.name,
        precision_reason=head.reason,
        calibration_pictures=len(pictures.calibration),
        evaluation_pictures=len(pictures.evaluation),
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
        tensor=network.input,
        quantisation=None,
        tail=INPUT_TAIL,
    )
    for depth, cut in enumerate(cuts, start=1):
        yield Cut(
            id=cut.id,
            depth=depth,
            macs_share=cut.boundary.cut.macs_share,
            tensor=boundary_spec(cut.boundary),
            quantisation=cut.boundary.quantisation,
            tail=cut.tail,
        )
    yield Cut(id=LOCAL, depth=segments, macs_share=1.0, tensor=None, quantisation=None, tail=None)


def _write_labels(card: ModelCard, folder: Path) -> None:
    path = folder / LABELS_NAME
    path.unlink(missing_ok=True)
    if card.labels:
        path.write_text("".join(f"{label}\n" for label in card.labels), encoding="utf-8")


def _files(
    segments: Sequence[Segment], cuts: Sequence[Cut], card: ModelCard, folder: Path
) -> Iterator[FileEntry]:
    listed: list[tuple[str, Side]] = [(segment.file, "device") for segment in segments]
    listed += [(cut.tail, "cloud") for cut in cuts if cut.tail is not None]
    if card.labels:
        listed.append((LABELS_NAME, "both"))
    for name, side in listed:
        path = folder / name
        yield FileEntry(
            path=name, side=side, size_bytes=path.stat().st_size, sha256=sha256_of(path)
        )
