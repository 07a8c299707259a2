"""Profile and plan as tables for people; the JSON of both comes from their records."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from isthmus import Candidate
from isthmus_partitioner.planning.records import Gap, Plan, TransformNote
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.profiles.profile import Profile
from isthmus_partitioner.profiles.runtime_choice import TITLES, RuntimeNote
from isthmus_partitioner.report.words import (
    encodings_words,
    goals_words,
    plain,
    runtimes_words,
    tails_words,
)
from isthmus_partitioner.wire.bottleneck import Verdict

__all__ = ["render_plan", "render_profile"]

_LEAST_MS = 0.005  # shown as 0.01; less is a node that was fused into another


def render_profile(profile: Profile) -> str:
    """Every layer that takes time on the device, or in the cloud."""
    whole = [f"fp32 {profile.fp32_ms:.1f} ms"]
    if profile.int8_ms is not None:
        whole.append(f"{profile.head_name} {profile.int8_ms:.1f} ms")
    return "\n".join(
        (
            f"Edge: {profile.edge}; one item: {', '.join(whole)}",
            f"Cloud: {profile.cloud}; one item: fp32 {profile.cloud_ms:.1f} ms",
            *_runtimes(profile.runtimes, profile.head_name),
            *(f"{note.reason}." for note in profile.runtimes),
            "",
            _layers(profile),
            *(("", *profile.notes) if profile.notes else ()),
        )
    )


def _runtimes(notes: Sequence[RuntimeNote], head_name: str) -> Iterable[str]:
    """What each network takes on each runtime; * runs it, ! must not."""
    if not notes:
        return
    names = {"head": head_name, "int8": "int8 throughout"}
    measured = [name for name in TITLES if any(t.runtime == name for n in notes for t in n.times)]
    rows = []
    for note in notes:
        marks = {note.runtime: "*"} | dict.fromkeys(note.unfit, "!")
        took = {t.runtime: f"{marks.get(t.runtime, '')}{t.ms:.2f}" for t in note.times}
        label = names.get(note.network, note.network)
        rows.append((label, *(took.get(name, "") for name in measured)))
    key = "* runs it, ! is unfit" if any(note.unfit for note in notes) else "* runs it"
    headers = (f"whole network (ms; {key})", *(TITLES[name] for name in measured))
    yield ""
    yield _table(headers, rows, "l" + "r" * len(measured))


def _layers(profile: Profile) -> str:
    rows = [
        (
            node.name,
            node.op,
            _shape(node.shape),
            f"{node.macs / 1e6:.1f}" if node.macs else "",
            f"{node.output_bytes / 1e3:.1f}",
            f"{node.fp32_ms:.2f}",
            "" if node.int8_ms is None else f"{node.int8_ms:.2f}",
            f"{node.cloud_ms:.2f}",
        )
        for node in profile.nodes
        if max(node.fp32_ms, node.int8_ms or 0, node.cloud_ms) >= _LEAST_MS
    ]
    headers = ("layer", "op", "output", "MMAC", "KB", "fp32 ms", "head ms", "cloud ms")
    return _table(headers, rows, "lllrrrrr")


def render_plan(plan: Plan) -> str:
    """Why the plan is as it is; every candidate with its figures and the reason for its fate."""
    manifest, record = plan.manifest, plan.record
    segments = sum(len(chain.segments) for chain in manifest.chains)
    summary = (
        f"{manifest.model_name}: {len(manifest.kept)} of {len(plan.candidates)} candidates kept, "
        f"{segments} segments in {len(manifest.chains)} chain(s) on the device. Agreement "
        f"({plain(manifest.metric)}) with the unsplit fp32 model on {record.evaluation_items} "
        f"inputs from {record.evaluation_sources} sources, floor {manifest.agreement_floor:g}. "
        f"Measured on {manifest.measured_on}; the device is {manifest.edge_factor:.3g}x slower."
    )
    return "\n".join(
        (
            f"Head precision: {record.precision} ({record.precision_reason})",
            _front(record.front),
            "",
            f"Goals: {goals_words(record.goals)}.",
            summary,
            _candidates(plan.candidates),
            "",
            "Why:",
            *(f"- {line}" for line in record.why),
            "",
            f"On the device {record.layout}.",
            f"Chains: {runtimes_words(manifest.chains)}.",
            f"Tails: {tails_words(manifest, record.unbatched)}. "
            f"In parts they take {record.parts_ratio - 1:+.0%} of the time in one graph.",
            *_runtimes(record.runtimes, record.precision),
            "",
            "Proposed by node costs, measured as wholes (ms):",
            _gaps(record.gaps),
            "",
            "Ladders: bytes/agreement of each rung, the finest first; * is the one to begin with",
            _ladders(plan.candidates),
            "",
            *_transforms(record.transforms),
            *(f"Note: {note}" for note in record.notes),
        )
    )


def _front(points: Sequence[Point]) -> str:
    rows = [(p.name, f"{p.ms:.2f}", f"{p.divergence:.4f}", f"{p.agreement:.3f}") for p in points]
    return _table(("tried on this machine", "ms", "divergence", "agreement"), rows, "lrrr")


def _gaps(gaps: Sequence[Gap]) -> str:
    rows = [
        (
            gap.cut,
            *_gap(gap.predicted_edge_ms, gap.measured_edge_ms),
            *_gap(gap.predicted_tail_ms, gap.measured_tail_ms),
        )
        for gap in gaps
    ]
    return _table(("cut", "head", "measured", "off", "tail", "measured", "off"), rows, "lrrrrrr")


def _gap(predicted_ms: float, measured_ms: float) -> tuple[str, str, str]:
    off = predicted_ms / measured_ms - 1 if measured_ms else 0.0
    return f"{predicted_ms:.2f}", f"{measured_ms:.2f}", f"{off:+.0%}"


def _candidates(candidates: Iterable[Candidate]) -> str:
    headers = (
        "", "candidate", "encoding", "device ms", "bytes", "p95", "cloud ms", "agreement",
        "divergence",
        "why",
    )  # fmt: skip
    return _table(headers, [_candidate(c) for c in candidates], "lllrrrrrrl")


def _candidate(candidate: Candidate) -> tuple[str, ...]:
    figures = candidate.figures
    return (
        "*" if candidate.kept else "",
        candidate.id,
        encodings_words(candidate.encodings),
        f"{figures.device_ms:.1f}",
        str(figures.payload_bytes),
        str(figures.payload_bytes_p95),
        f"{figures.cloud_ms:.1f}",
        f"{figures.agreement:.3f} [{figures.agreement_low:.2f}, {figures.agreement_high:.2f}]",
        f"{figures.divergence:.4f}",
        candidate.reason,
    )


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
        yield f"{note.cut}: {', '.join(note.transforms)}{tried}"


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
