"""Which measured candidates the plan keeps, and in words why or why not.

Kept is what meets the agreement floor and is best at some bandwidth, in latency or in frames/s,
and always `local` and the JPEGs: without them nobody could see what splitting is worth.
"""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from isthmus import Candidate, Picture
from isthmus_partitioner.planning.envelope import (
    FASTEST_BPS,
    LOCAL_ADVANTAGE,
    SLOWEST_BPS,
    Offer,
    Span,
    Spans,
    best_latency,
    best_period,
)

__all__ = ["select"]

_LEAST_OCTAVES = 0.1  # best over less than 7 % of bandwidth is a tie
_GRID_BPS = np.geomspace(SLOWEST_BPS, FASTEST_BPS, 61)

_ALWAYS = {
    True: "always kept so that the comparison with sending a picture is honest",
    False: "always kept: the device can do without a link",
}


def select(candidates: Sequence[Candidate], floor: float) -> tuple[Candidate, ...]:
    """The same candidates with `kept` and `reason` decided."""
    offers = {c.id: _offer(c) for c in candidates}
    eligible = [offers[c.id] for c in candidates if c.rung_for(floor) is not None]
    latency, period = _wide(best_latency(eligible)), _wide(best_period(eligible))
    return tuple(
        _decided(candidate, offers[candidate.id], eligible, floor, (latency, period))
        for candidate in candidates
    )


def _offer(candidate: Candidate) -> Offer:
    figures = candidate.figures
    advantage = LOCAL_ADVANTAGE if candidate.is_local else 0.0
    return Offer(
        candidate.id,
        figures.device_ms * (1 - advantage),
        figures.payload_bytes,
        figures.cloud_ms,
    )


def _wide(spans: Spans) -> Spans:
    return {
        name: own for name, own in spans.items() if sum(s.octaves for s in own) >= _LEAST_OCTAVES
    }


def _decided(
    candidate: Candidate,
    offer: Offer,
    eligible: Sequence[Offer],
    floor: float,
    best: tuple[Spans, Spans],
) -> Candidate:
    reasons = [
        f"{what} {_words(spans[candidate.id])}"
        for what, spans in zip(("least latency", "most frames/s"), best, strict=True)
        if candidate.id in spans
    ]
    is_kept = bool(reasons)
    if candidate.rung_for(floor) is None:
        reasons.append(f"below the agreement floor {floor:g}: {candidate.figures.agreement:.3f}")
    elif not is_kept:
        reasons.append(_how_close(offer, eligible))
    if candidate.is_local or _is_jpeg(candidate):
        if not is_kept:
            reasons.append(_ALWAYS[not candidate.is_local])
        is_kept = True
    return msgspec.structs.replace(candidate, kept=is_kept, reason="; ".join(reasons))


def _is_jpeg(candidate: Candidate) -> bool:
    return any(isinstance(e, Picture) and e.format == "jpeg" for e in candidate.encodings)


def _words(spans: Iterable[Span]) -> str:
    return " and ".join(_span_words(span) for span in spans)


def _span_words(span: Span) -> str:
    low, high = _rate(span.low_bps), _rate(span.high_bps)
    if span.low_bps <= SLOWEST_BPS and span.high_bps >= FASTEST_BPS:
        return "at any bandwidth"
    if span.low_bps <= SLOWEST_BPS:
        return f"below {high}"
    if span.high_bps >= FASTEST_BPS:
        return f"above {low}"
    return f"from {low} to {high}"


def _rate(bandwidth_bps: float) -> str:
    return (
        f"{bandwidth_bps / 1e6:.2g} Mbit/s"
        if bandwidth_bps < 1e8
        else f"{bandwidth_bps / 1e6:.0f} Mbit/s"
    )


def _how_close(offer: Offer, eligible: Sequence[Offer]) -> str:
    """Where a candidate that is never best comes nearest, and to whom."""

    def lag(bandwidth_bps: float) -> float:
        return offer.latency_ms(bandwidth_bps) / _best(eligible, bandwidth_bps).latency_ms(
            bandwidth_bps
        )

    nearest = float(min(_GRID_BPS, key=lag))
    best = _best([other for other in eligible if other is not offer] or [offer], nearest)
    return (
        f"never best; nearest at {_rate(nearest)}: {offer.latency_ms(nearest):.0f} ms, "
        f"{best.id} {best.latency_ms(nearest):.0f} ms"
    )


def _best(offers: Sequence[Offer], bandwidth_bps: float) -> Offer:
    return min(offers, key=lambda offer: offer.latency_ms(bandwidth_bps))
