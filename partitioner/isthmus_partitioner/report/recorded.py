"""What a bundle's records add to the report: the layers, where cuts lie, what was left out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from isthmus import BundleError
from isthmus.bundle import read_manifest
from isthmus_partitioner.planning.records import PlanRecord
from isthmus_partitioner.profiles.profile import NodeRow, Profile
from isthmus_partitioner.report.bundled import NO_PROFILE, candidate_row, from_manifest
from isthmus_partitioner.report.data import CutRow, LayerRow, ReportData
from isthmus_partitioner.report.words import goals_words

__all__ = ["layer_rows", "report_data"]

Record = TypeVar("Record")

_FUSED_MS = 1e-3  # a node that takes less, on both sides, runs as a part of the one it reads


def report_data(bundle: Path) -> ReportData:
    """All that the page shows of a bundle on disk; BundleError if it is damaged.

    A bundle without records is shown without its network, and a note says so.
    """
    manifest, fingerprint = read_manifest(bundle)
    profile = _record(bundle / "record" / "profile.json", Profile)
    plan = _record(bundle / "record" / "plan.json", PlanRecord)
    data = from_manifest(manifest, fingerprint, "" if plan is None else plan.unbatched)
    if profile is None or plan is None:
        return data
    layers, row_of = layer_rows(profile.nodes)
    tensors = {f.cut: f.tensors for f in plan.forecasts if f.cut is not None}
    rejected = [c for c in plan.rejected if c.cut in tensors]
    unkept = {c.cut for c in rejected} - {cut.id for cut in data.cuts}
    cuts = (*data.cuts, *(_bare(cut, tensors[cut]) for cut in sorted(unkept)))
    notes = (
        *(note for note in data.notes if note != NO_PROFILE),
        f"planned for: {goals_words(plan.goals)}",
        plan.layout,
        *plan.why,
        *plan.notes,
    )
    return msgspec.structs.replace(
        data,
        layers=layers,
        cuts=tuple(_placed(cut, tensors.get(cut.id, ()), row_of) for cut in cuts),
        candidates=(*data.candidates, *map(candidate_row, rejected)),
        notes=notes,
    )


def _record(path: Path, kind: type[Record]) -> Record | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); build the bundle again") from error


def layer_rows(nodes: Sequence[NodeRow]) -> tuple[tuple[LayerRow, ...], dict[str, int]]:
    """Layers in order, fused nodes in the layer that they read; and the layer of each tensor."""
    groups: list[list[NodeRow]] = []
    group_of: list[int] = []
    for node in nodes:
        is_fused = len(node.reads) == 1 and max(node.fp32_ms, node.cloud_ms) < _FUSED_MS
        if is_fused and _is_last(groups[group_of[node.reads[0]]], nodes[node.reads[0]]):
            group_of.append(group_of[node.reads[0]])
            groups[group_of[-1]].append(node)
        else:
            group_of.append(len(groups))
            groups.append([node])
    reads = [
        tuple(sorted({group_of[row] for node in group for row in node.reads} - {index}))
        for index, group in enumerate(groups)
    ]
    alive = _alive([group[-1].output_bytes for group in groups], reads)
    layers = tuple(
        _layer(group, inputs, memory)
        for group, inputs, memory in zip(groups, reads, alive, strict=True)
    )
    row_of = {name: group_of[i] for i, node in enumerate(nodes) for name in node.makes}
    return layers, row_of


def _is_last(group: Sequence[NodeRow], node: NodeRow) -> bool:
    return group[-1] is node


def _alive(sizes: Sequence[int], reads: Sequence[tuple[int, ...]]) -> list[int]:
    """Bytes of outputs that are still to be read, or just made, while each layer runs."""
    last = list(range(len(sizes)))
    for index, inputs in enumerate(reads):
        for row in inputs:
            last[row] = index
    ending: list[list[int]] = [[] for _ in sizes]
    for row, index in enumerate(last):
        ending[index].append(row)
    alive, held = [], 0
    for index, size in enumerate(sizes):
        held += size
        alive.append(held)
        held -= sum(sizes[row] for row in ending[index])
    return alive


def _layer(group: Sequence[NodeRow], inputs: tuple[int, ...], memory_bytes: int) -> LayerRow:
    first, last = group[0], group[-1]
    return LayerRow(
        name=first.name,
        op=" + ".join(node.op for node in group),
        shape=last.shape,
        macs=sum(node.macs for node in group),
        edge_ms=sum(node.fp32_ms if node.int8_ms is None else node.int8_ms for node in group),
        cloud_ms=sum(node.cloud_ms for node in group),
        output_bytes=last.output_bytes,
        memory_bytes=memory_bytes,
        inputs=inputs,
    )


def _bare(cut: str, tensors: Iterable[str]) -> CutRow:
    """A cut that the bundle does not have."""
    return CutRow(
        id=cut,
        title="measured, not in the bundle",
        is_local=False,
        after_layers=(),
        tensors=tuple(tensors),
    )


def _placed(cut: CutRow, tensors: Iterable[str], row_of: dict[str, int]) -> CutRow:
    after = tuple(sorted({row_of[name] for name in tensors if name in row_of}))
    return msgspec.structs.replace(cut, after_layers=after)
