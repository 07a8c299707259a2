"""What a bundle's manifest alone tells the report: cuts and candidates."""

from isthmus import Candidate, Cut, Manifest
from isthmus_partitioner.report.data import CandidateRow, CutRow, ReportData
from isthmus_partitioner.report.words import (
    encodings_words,
    runtimes_words,
    tails_words,
    tensor_words,
)

__all__ = ["NO_PROFILE", "candidate_row", "from_manifest"]

NO_PROFILE = (
    "This bundle carries no profile, so the network itself cannot be drawn; "
    "a bundle that `isthmus build` makes anew carries it."
)


def from_manifest(manifest: Manifest, fingerprint: str, unbatched: str = "") -> ReportData:
    """Everything but the layers, and a note that says so.

    `unbatched` is why the cloud runs frames one by one, where that is known.
    """
    return ReportData(
        model_name=manifest.model_name,
        fingerprint=fingerprint,
        machine=manifest.measured_on,
        metric=manifest.metric,
        agreement_floor=manifest.agreement_floor,
        edge_factor=manifest.edge_factor,
        layers=(),
        cuts=tuple(map(_cut_row, manifest.cuts)),
        candidates=tuple(map(candidate_row, manifest.candidates)),
        notes=(
            NO_PROFILE,
            f"chains on the device: {runtimes_words(manifest.chains)}",
            f"tails in the cloud: {tails_words(manifest, unbatched)}",
        ),
    )


def candidate_row(candidate: Candidate) -> CandidateRow:
    """A candidate of a manifest or of a plan at its chosen rung."""
    figures = candidate.figures
    return CandidateRow(
        id=candidate.id,
        cut=candidate.cut,
        precision=candidate.precision,
        encoding=encodings_words(candidate.encodings),
        edge_ms=figures.edge_ms,
        encode_ms=figures.encode_ms,
        payload_bytes=figures.payload_bytes,
        payload_bytes_p95=figures.payload_bytes_p95,
        decode_ms=figures.decode_ms,
        tail_ms=figures.tail_ms,
        answer_bytes=figures.answer_bytes,
        agreement=figures.agreement,
        agreement_low=figures.agreement_low,
        agreement_high=figures.agreement_high,
        divergence=figures.divergence,
        kept=candidate.kept,
        reason=candidate.reason,
    )


def _cut_row(cut: Cut) -> CutRow:
    return CutRow(
        id=cut.id,
        title=_title(cut),
        is_local=not cut.tail,
        after_layers=(),
        tensors=tuple(tensor_words(tensor.wire) for tensor in cut.tensors),
    )


def _title(cut: Cut) -> str:
    if not cut.tail:
        return "everything on the device"
    if cut.depth == 0:
        return "the input is sent"
    return f"{cut.macs_share:.0%} of the multiplications on the device"
