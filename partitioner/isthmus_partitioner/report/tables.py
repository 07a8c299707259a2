"""Profile and plan as tables for people; the JSON of both comes from their records."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from isthmus import Candidate, Encoding, Lossless, Picture, PictureFormat, Raw, Symbols
from isthmus_partitioner.planning.plan import Plan, TransformNote
from isthmus_partitioner.precision.mixed import Variant
from isthmus_partitioner.profiles.layers import Profile
from isthmus_partitioner.wire.bottleneck import Verdict

__all__ = ["render_plan", "render_profile"]

_FORMATS: dict[PictureFormat, str] = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
_LEAST_MS = 0.005  # shown as 0.01; less is a node that was fused into another


def render_profile(profile: Profile) -> str:
    """Every layer that takes time, then every one-tensor cut."""
    whole = [f"fp32 {profile.fp32_ms:.1f} ms"]
    if profile.int8_ms is not None:
        whole.append(f"int8 {profile.int8_ms:.1f} ms")
    whole.append(f"head ({profile.head_name}) {profile.head_ms:.1f} ms")
    return "\n".join(
        (
            f"On {profile.machine}, one thread, one picture: {', '.join(whole)}",
            "",
            _layers(profile),
            "",
            f"{len(profile.cuts)} places where one tensor crosses:",
            _cuts(profile),
        )
    )


def _layers(profile: Profile) -> str:
    rows = [
        (
            node.name,
            node.op,
            _shape(node.shape),
            f"{node.macs / 1e6:.1f}" if node.macs else "",
            f"{node.fp32_ms:.2f}",
            "" if node.int8_ms is None else f"{node.int8_ms:.2f}",
        )
        for node in profile.nodes
        if max(node.fp32_ms, node.int8_ms or 0) >= _LEAST_MS
    ]
    return _table(("layer", "op", "output", "MMAC", "fp32 ms", "int8 ms"), rows, "lllrrr")


def _cuts(profile: Profile) -> str:
    rows = [
        (
            cut.tensor,
            _shape(cut.shape),
            f"{cut.macs_share:.0%}",
            f"{cut.tensor_bytes / 1e3:.1f}",
            f"{cut.head_ms:.2f}",
            f"{cut.tail_ms:.2f}",
        )
        for cut in profile.cuts
    ]
    headers = ("cut", "tensor", "depth", "KB as uint8", "head ms", "fp32 tail ms")
    return _table(headers, rows, "llrrrr")


def render_plan(plan: Plan) -> str:
    """Head precisions, then every candidate with its figures and the reason for its fate."""
    manifest = plan.manifest
    summary = (
        f"{manifest.model_name}: {len(manifest.kept)} of {len(plan.candidates)} candidates kept, "
        f"{len(manifest.segments)} segments on the device. "
        f"Agreement with the unsplit fp32 model on {plan.evaluation_pictures} pictures, "
        f"floor {manifest.agreement_floor:g}. "
        f"Measured on {manifest.measured_on}; the device is {manifest.edge_factor:.3g}x slower."
    )
    return "\n".join(
        (
            f"Head precision: {plan.precision} ({plan.precision_reason})",
            _variants(plan.variants),
            "",
            summary,
            _candidates(plan.candidates),
            "",
            "Ladders: bytes/agreement of each rung, the finest first; * is the one to begin with",
            _ladders(plan.candidates),
            "",
            *_transforms(plan.transforms),
        )
    )


def _variants(variants: Sequence[Variant]) -> str:
    rows = [(v.name, f"{v.network_ms:.2f}", f"{v.kl:.4f}", f"{v.agreement:.3f}") for v in variants]
    return _table(("tried on this machine", "ms", "KL", "agreement"), rows, "lrrr")


def _candidates(candidates: Iterable[Candidate]) -> str:
    headers = (
        "", "candidate", "encoding", "device ms", "bytes", "p95", "cloud ms", "agreement", "KL",
        "why",
    )  # fmt: skip
    return _table(headers, [_candidate(c) for c in candidates], "lllrrrrrrl")


def _candidate(candidate: Candidate) -> tuple[str, ...]:
    figures = candidate.figures
    return (
        "*" if candidate.kept else "",
        candidate.id,
        " + ".join(map(_encoding, candidate.encodings)) or "nothing sent",
        f"{figures.device_ms:.1f}",
        str(figures.payload_bytes),
        str(figures.payload_bytes_p95),
        f"{figures.cloud_ms:.1f}",
        f"{figures.agreement:.3f}",
        f"{figures.kl:.4f}",
        candidate.reason,
    )


def _encoding(encoding: Encoding) -> str:
    match encoding:
        case Raw():
            return "raw"
        case Lossless():
            return "lossless"
        case Picture(format=name, quality=quality):
            return f"{_FORMATS[name]} {'lossless' if quality is None else f'q{quality}'}"
        case Symbols(levels=levels, step=step):
            return f"{levels} levels, step {step:.3g}"


def _ladders(candidates: Iterable[Candidate]) -> str:
    rows = [
        (candidate.id, *(_rung(candidate, index) for index in range(len(candidate.rungs))))
        for candidate in candidates
        if len(candidate.rungs) > 1
    ]
    most = max((len(row) for row in rows), default=1)
    padded = [(*row, *[""] * (most - len(row))) for row in rows]
    return _table(("candidate", *map(str, range(most - 1))), padded, "l" + "r" * (most - 1))


def _rung(candidate: Candidate, index: int) -> str:
    figures = candidate.rungs[index].figures
    mark = "*" if index == candidate.chosen else ""
    return f"{mark}{figures.payload_bytes}/{figures.agreement:.3f}"


def _transforms(notes: Iterable[TransformNote]) -> Iterable[str]:
    for note in notes:
        tried = "" if note.bottleneck is None else f"; {_bottleneck(note.bottleneck)}"
        yield f"{note.cut}: {note.transform}{tried}"


def _bottleneck(tried: Verdict) -> str:
    ratio = tried.bytes_ratio
    saved = "no KL that both reach" if ratio is None else f"{ratio:.2f}x the bytes at equal KL"
    return (
        f"PCA {tried.channels} -> {tried.kept_channels} channels, "
        f"{tried.extra_macs / 1e6:.2f} MMAC more on each side: "
        f"{saved}, {'kept' if tried.is_kept else 'not kept'}"
    )


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    sides = {"l": "left", "r": "right"}
    return tabulate(
        rows,
        headers,
        tablefmt="simple",
        colalign=[sides[side] for side in align] if rows else None,
        disable_numparse=True,
    )
