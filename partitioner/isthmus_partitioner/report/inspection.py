"""What a bundle on disk is, and whether it is whole; nothing of it is run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec
from tabulate import tabulate

from isthmus import Candidate, Cut, Manifest, sha256_of
from isthmus.bundle import read_manifest
from isthmus_partitioner.planning.records import GoalsRecord
from isthmus_partitioner.report.words import (
    bytes_words,
    encodings_words,
    goals_words,
    plain,
    runtime_words,
    tails_words,
    tensor_words,
)

__all__ = ["FileState", "Inspection", "inspect_bundle", "render_inspection"]

_PLAN = "record/plan.json"
_MOST_PLAN_BYTES = 1 << 26  # a hundred times what a plan of hundreds of candidates takes
State = Literal["ok", "missing", "unreadable", "wrong size", "wrong sha256"]


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the manifest as it lies on disk."""

    path: str
    side: str
    size_bytes: int
    sha256: str
    state: State


class _Recorded(msgspec.Struct, frozen=True):
    """Of a plan's record no more than its goals, and why frames are run one by one."""

    goals: GoalsRecord
    unbatched: str = ""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle: its manifest, its fingerprint, and the state of every file listed.

    `goals` are None where the bundle carries no plan that can be read. `unbatched` is the plan's
    reason why the cloud runs frames one by one, empty where it does not or nothing is recorded.
    """

    bundle: str
    fingerprint: str
    manifest: Manifest
    goals: GoalsRecord | None
    unbatched: str
    files: tuple[FileState, ...]

    @property
    def damaged(self) -> tuple[FileState, ...]:
        """Files that are not what the manifest says."""
        return tuple(file for file in self.files if file.state != "ok")

    @property
    def records(self) -> tuple[str, ...]:
        """Names of profile, plan and whatever else the bundle carries for readers."""
        return tuple(file.path for file in self.files if file.side == "record")


def inspect_bundle(bundle: Path) -> Inspection:
    """Read the manifest and hash every file; BundleError if there is no valid manifest."""
    manifest, fingerprint = read_manifest(bundle)
    files = tuple(
        FileState(
            path=entry.path,
            side=entry.side,
            size_bytes=entry.size_bytes,
            sha256=entry.sha256,
            state=_state(bundle / entry.path, entry.size_bytes, entry.sha256),
        )
        for entry in manifest.files
    )
    has_plan = any(
        file.path == _PLAN and file.state == "ok" and file.size_bytes <= _MOST_PLAN_BYTES
        for file in files
    )
    recorded = _recorded(bundle / _PLAN) if has_plan else None
    return Inspection(
        bundle=str(bundle),
        fingerprint=fingerprint,
        manifest=manifest,
        goals=None if recorded is None else recorded.goals,
        unbatched="" if recorded is None else recorded.unbatched,
        files=files,
    )


def _recorded(plan: Path) -> _Recorded | None:
    try:
        return msgspec.json.decode(plan.read_bytes(), type=_Recorded)
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        return None  # the bundle serves without; the summary says that nothing is known of them


def _state(path: Path, size_bytes: int, sha256: str) -> State:
    try:
        if path.stat().st_size != size_bytes:
            return "wrong size"
        return "ok" if sha256_of(path) == sha256 else "wrong sha256"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


def render_inspection(inspection: Inspection) -> str:
    """The whole bundle as text."""
    manifest = inspection.manifest
    sizes = {file.path: file.size_bytes for file in inspection.files}
    sections = (
        _summary(inspection),
        _titled("Chains: what the device runs, one segment after the other", _chains(manifest)),
        _titled("Cuts", _cuts(manifest, sizes)),
        _titled("Tails: graphs of the cloud", _graphs(manifest, sizes)),
        _titled("Candidates; * is kept", _candidates(manifest)),
        _titled("Ladders: bytes/agreement of each rung; * is where it begins", _ladders(manifest)),
        _titled("Files", _files(inspection)),
        _whole(inspection),
    )
    return "\n\n".join(section for section in sections if section)


def _summary(inspection: Inspection) -> str:
    manifest = inspection.manifest
    rows = [
        ("model", plain(manifest.model_name)),
        ("fingerprint", inspection.fingerprint),
        ("model sha256", manifest.model_sha256),
        ("format", str(manifest.format_version)),
        *(("input", tensor_words(spec)) for spec in manifest.inputs),
        *(("output", tensor_words(spec)) for spec in manifest.outputs),
        ("goals", _goals_words(inspection.goals)),
        ("agreement", f"{plain(manifest.metric)}; floor {manifest.agreement_floor:g}"),
        ("measured on", plain(manifest.measured_on)),
        ("device", f"{manifest.edge_factor:.3g}x the time of that machine"),
        ("tails", tails_words(manifest, inspection.unbatched)),
        ("labels", "yes" if manifest.has_labels else "no"),
        ("records", ", ".join(map(plain, inspection.records)) or "none: no profile, no plan"),
    ]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _goals_words(goals: GoalsRecord | None) -> str:
    return "not recorded: no plan that can be read" if goals is None else goals_words(goals)


def _titled(title: str, table: str) -> str:
    return f"{title}\n{table}" if table else ""


def _chains(manifest: Manifest) -> str:
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    rows = [
        (
            plain(chain.id) if index == 0 else "",
            chain.precision if index == 0 else "",
            runtime_words(chain) if index == 0 else "",
            plain(segment.file),
            bytes_words(_weight(segment.file, sizes)),
            "" if segment.tflite is None else bytes_words(sizes.get(segment.tflite.file, 0)),
            ", ".join(map(tensor_words, segment.inputs)),
            ", ".join(map(tensor_words, segment.outputs)),
        )
        for chain in manifest.chains
        for index, segment in enumerate(chain.segments)
    ]
    headers = ("chain", "precision", "runs on", "segment", "size", ".tflite", "reads", "makes")
    return _table(headers, rows, "llllrrll")


def _cuts(manifest: Manifest, sizes: Mapping[str, int]) -> str:
    rows = [
        (
            plain(cut.id),
            f"{cut.depth} of {plain(cut.chain)}",
            f"{cut.macs_share:.0%}",
            " + ".join(tensor_words(tensor.wire) for tensor in cut.tensors) or "nothing",
            " + ".join(_short(part) for part in cut.tail),
            bytes_words(sum(_weight(part, sizes) for part in cut.tail)) if cut.tail else "",
            f"{cut.rest_ms:.1f}",
            _answers(cut),
        )
        for cut in manifest.cuts
    ]
    headers = ("cut", "segments", "MACs", "crosses", "tail", "size", "rest ms", "answered before")
    return _table(headers, rows, "llrllrrl")


def _graphs(manifest: Manifest, sizes: Mapping[str, int]) -> str:
    """A row for each graph with the cuts whose tails it is a part of."""
    cuts: dict[str, list[str]] = {}
    for cut in manifest.cuts:
        for part in cut.tail:
            cuts.setdefault(part, []).append(plain(cut.id))
    rows = [
        (plain(part), bytes_words(_weight(part, sizes)), ", ".join(names))
        for part, names in cuts.items()
    ]
    return _table(("graph", "size", "behind cuts"), rows, "lrl")


def _short(part: str) -> str:
    """A part of a tail as `tail-0`: of which there are many in one line."""
    return plain(PurePosixPath(part).stem)


def _weight(file: str, sizes: Mapping[str, int]) -> int:
    """Bytes of a graph with its weights, where they lie beside it."""
    return sizes.get(file, 0) + sizes.get(f"{file}.data", 0)


def _answers(cut: Cut) -> str:
    return ", ".join(map(plain, cut.answers))


def _candidates(manifest: Manifest) -> str:
    headers = (
        "", "candidate", "head", "wire", "device ms", "bytes", "p95", "cloud ms", "agreement",
        "95 %", "divergence", "why",
    )  # fmt: skip
    return _table(headers, [_candidate(c) for c in manifest.candidates], "llllrrrrrrrl")


def _candidate(candidate: Candidate) -> tuple[str, ...]:
    figures = candidate.figures
    return (
        "*" if candidate.kept else "",
        plain(candidate.id),
        candidate.precision,
        encodings_words(candidate.encodings),
        f"{figures.device_ms:.1f}",
        str(figures.payload_bytes),
        str(figures.payload_bytes_p95),
        f"{figures.cloud_ms:.1f}",
        f"{figures.agreement:.3f}",
        f"{figures.agreement_low:.3f}-{figures.agreement_high:.3f}",
        f"{figures.divergence:.4f}",
        plain(candidate.reason),
    )


def _ladders(manifest: Manifest) -> str:
    ladders = [candidate for candidate in manifest.candidates if len(candidate.rungs) > 1]
    most = max((len(candidate.rungs) for candidate in ladders), default=0)
    rows = [
        (plain(candidate.id), *_rungs(candidate), *[""] * (most - len(candidate.rungs)))
        for candidate in ladders
    ]
    return _table(("candidate", *map(str, range(most))), rows, "l" + "r" * most)


def _rungs(candidate: Candidate) -> Iterable[str]:
    for index, rung in enumerate(candidate.rungs):
        mark = "*" if index == candidate.chosen else ""
        yield f"{mark}{rung.figures.payload_bytes}/{rung.figures.agreement:.3f}"


def _files(inspection: Inspection) -> str:
    order = ("device", "cloud", "both", "record")
    files = sorted(inspection.files, key=lambda file: order.index(file.side))
    rows = [
        (file.side, plain(file.path), bytes_words(file.size_bytes), file.sha256[:12], file.state)
        for file in files
    ]
    return _table(("side", "file", "size", "sha256", "on disk"), rows, "llrll")


def _whole(inspection: Inspection) -> str:
    count, bad = len(inspection.files), len(inspection.damaged)
    if bad:
        return f"{bad} of {count} files are not what the manifest says"
    sums = {
        side: sum(file.size_bytes for file in inspection.files if file.side in {side, "both"})
        for side in ("device", "cloud")
    }
    return (
        f"all {count} files are what the manifest says; "
        f"the device needs {bytes_words(sums['device'])}, the cloud {bytes_words(sums['cloud'])}"
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    if not rows:
        return ""
    sides = {"l": "left", "r": "right"}
    return tabulate(
        rows,
        headers,
        tablefmt="simple",
        colalign=[sides[side] for side in align],
        disable_numparse=True,
    )
