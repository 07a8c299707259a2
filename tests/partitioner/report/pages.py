"""A report by hand: a small network with a skip, and candidates of which each is best somewhere."""

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import urlencode

from isthmus_partitioner.planning.envelope import (
    LOCAL_ADVANTAGE,
    Offer,
    Spans,
    best_latency,
    best_period,
)
from isthmus_partitioner.report.data import CandidateRow, CutRow, LayerRow, ReportData

__all__ = ["HOSTILE", "REPORT", "Elements", "Position"]

# What a stranger's model may call its layers.
HOSTILE = "</script><script>window.hacked=1</script>'\"&amp;<b>%{x}\u202e\u0007é$$1 ${title}"
FLOOR = 0.95


def _layer(index: int, *inputs: int, name: str = "") -> LayerRow:
    size = 4096 >> (index // 2)
    return LayerRow(
        name=name or f"layer{index}",
        op="Conv" if index % 2 else "Relu",
        shape=(size // 64, 8, 8),
        macs=1_000_000 * index,
        edge_ms=4.0 + index,
        cloud_ms=0.5,
        output_bytes=size,
        memory_bytes=3 * size,
        inputs=inputs,
    )


LAYERS = (
    _layer(0),
    _layer(1, 0),
    _layer(2, 1, name=HOSTILE),
    _layer(3, 2),
    _layer(4, 3, 1),
    _layer(5, 1),
    _layer(6, 4),
    _layer(7, 5, 6),
)


def _cut(name: str, *after: int, is_local: bool = False) -> CutRow:
    return CutRow(
        id=name,
        title=f"title of {name}",
        is_local=is_local,
        after_layers=after,
        tensors=() if is_local else (f"{name} tensor uint8 [8,8]",),
    )


CUTS = (
    _cut("input"),
    _cut("early", 1),
    _cut(HOSTILE, 4, 1),
    _cut("local", is_local=True),
)


def _candidate(
    name: str,
    cut: str,
    edge_ms: float,
    encode_ms: float,
    payload_bytes: int,
    tail_ms: float,
    *,
    agreement: float = 0.98,
    answer_bytes: int = 0,
    kept: bool = True,
) -> CandidateRow:
    return CandidateRow(
        id=name,
        cut=cut,
        precision="int8",
        encoding="16 levels, step 0.25",
        edge_ms=edge_ms,
        encode_ms=encode_ms,
        payload_bytes=payload_bytes,
        payload_bytes_p95=payload_bytes * 5 // 4,
        decode_ms=0.5 if payload_bytes else 0.0,
        tail_ms=tail_ms,
        answer_bytes=answer_bytes,
        agreement=agreement,
        agreement_low=agreement - 0.05,
        agreement_high=min(1.0, agreement + 0.02),
        divergence=0.01,
        kept=kept,
        reason=f"the reason of {name}",
    )


CANDIDATES = (
    _candidate("input-raw", "input", 0.0, 1.0, 150_528, 10.0, agreement=1.0),
    _candidate("input-jpeg", "input", 0.0, 12.0, 22_679, 10.0),
    _candidate("input-tiny", "input", 0.0, 9.0, 900, 10.0, agreement=0.80),
    _candidate("early", "early", 30.0, 3.0, 4_146, 6.0, answer_bytes=1_500),
    _candidate(HOSTILE, HOSTILE, 70.0, 2.0, 1_200, 3.0, answer_bytes=2_000),
    _candidate("local", "local", 150.0, 0.0, 0, 0.0),
    _candidate("never", "early", 30.0, 9.0, 4_000, 6.0, kept=False),
)

REPORT = ReportData(
    model_name=f"net {HOSTILE}",
    fingerprint="0f" * 32,
    machine=f"a machine {HOSTILE}",
    metric="share of equal answers",
    agreement_floor=FLOOR,
    edge_factor=15.5,
    layers=LAYERS,
    cuts=CUTS,
    candidates=CANDIDATES,
    notes=(f"a note {HOSTILE}",),
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the sliders stand, and what the plan's own formulas say there."""

    bandwidth_bps: float = 5.85e6
    rtt_ms: float = 0.0
    load: float = 1.0
    slowdown: float = 1.0
    objective: Literal["latency", "period"] = "latency"

    @property
    def address(self) -> str:
        """The page's short form of it."""
        return urlencode(
            {
                "objective": self.objective,
                "bandwidth": self.bandwidth_bps,
                "rtt": self.rtt_ms,
                "load": self.load,
                "slowdown": self.slowdown,
            }
        )

    def offer(self, row: CandidateRow, advantage: float = 0.0) -> Offer:
        """The candidate as the envelope sees it, the round trip in the cloud's part."""
        device_ms = (row.edge_ms + row.encode_ms) * self.slowdown * (1 - advantage)
        if row.cut == "local":
            return Offer(row.id, device_ms, 0, 0)
        waiting_ms = self.rtt_ms if self.objective == "latency" else 0.0
        cloud_ms = row.decode_ms + row.tail_ms * self.load + waiting_ms
        return Offer(row.id, device_ms, row.payload_bytes, cloud_ms, row.answer_bytes)

    @property
    def spans(self) -> Spans:
        """Who is best at which bandwidth, by the plan's envelope."""
        offers = [
            self.offer(row, LOCAL_ADVANTAGE if row.cut == "local" else 0.0)
            for row in CANDIDATES
            if row.kept and row.agreement >= FLOOR
        ]
        return (best_latency if self.objective == "latency" else best_period)(offers)

    def cost_ms(self, row: CandidateRow) -> float:
        """What a frame of the candidate costs."""
        offer = self.offer(row)
        if self.objective == "latency":
            return offer.latency_ms(self.bandwidth_bps)
        return offer.period_ms(self.bandwidth_bps)

    @property
    def best(self) -> CandidateRow:
        """The winner at this bandwidth."""
        (found,) = (
            name
            for name, spans in self.spans.items()
            for span in spans
            if span.low_bps <= self.bandwidth_bps < span.high_bps
        )
        return next(row for row in CANDIDATES if row.id == found)


class Elements(HTMLParser):
    """Tags with attributes and the text of scripts, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._in_script = True
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
