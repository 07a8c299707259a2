"""What the report page shows, apart from how a bundle records it."""

from collections.abc import Sequence

import msgspec

__all__ = ["CandidateRow", "CutRow", "LayerRow", "ReportData", "head_layers"]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen, written by keyword."""


class LayerRow(_Row, frozen=True):
    """One (fused) layer. The rows stand in an order in which the network can run.

    `edge_ms` is its share of the head's network on the plan's device, `cloud_ms` of the fp32
    network where tails run. `shape` and `output_bytes` are of one item as the tensor leaves the
    layer in the head's precision. `memory_bytes` is what is alive while the layer runs, None where
    nobody knows. `inputs` are the indices of the earlier layers that it reads.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int
    edge_ms: float
    cloud_ms: float
    output_bytes: int
    memory_bytes: int | None
    inputs: tuple[int, ...]


class CutRow(_Row, frozen=True):
    """One cut: `after_layers` are the last layers of its head, and all they need is in the head.

    Empty for `input`; for `local` it does not matter, everything is in the head. Layers that
    answer already on the device are among `after_layers`. `tensors` describe what crosses.
    """

    id: str
    title: str
    is_local: bool
    after_layers: tuple[int, ...]
    tensors: tuple[str, ...]


class CandidateRow(_Row, frozen=True):
    """One candidate at its chosen rung, with the figures of `isthmus.Figures`."""

    id: str
    cut: str
    precision: str
    encoding: str
    edge_ms: float
    encode_ms: float
    payload_bytes: int
    payload_bytes_p95: int
    decode_ms: float
    tail_ms: float
    answer_bytes: int
    agreement: float
    agreement_low: float
    agreement_high: float
    divergence: float
    kept: bool
    reason: str


class ReportData(_Row, frozen=True):
    """All that the page says of one bundle.

    `machine` is where the figures were measured; the device's times are `edge_factor` times what
    that machine took. Without a profile `layers` is empty, and the page has no network.
    `notes` are sentences for the reader: what is missing, what was observed.
    """

    model_name: str
    fingerprint: str
    machine: str
    metric: str
    agreement_floor: float
    edge_factor: float
    layers: tuple[LayerRow, ...]
    cuts: tuple[CutRow, ...]
    candidates: tuple[CandidateRow, ...]
    notes: tuple[str, ...] = ()


def head_layers(layers: Sequence[LayerRow], cut: CutRow) -> tuple[int, ...]:
    """Indices of the layers that run on the device, in order; linear in layers and edges."""
    if cut.is_local:
        return tuple(range(len(layers)))
    inside: set[int] = set()
    waiting = list(cut.after_layers)
    while waiting:
        index = waiting.pop()
        if index not in inside:
            inside.add(index)
            waiting.extend(layers[index].inputs)
    return tuple(sorted(inside))
