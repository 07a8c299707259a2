"""Who is best where: lower envelopes over bandwidth, exactly and without a grid.

A way to answer a frame costs `device_ms`, then `payload_bytes` on the link, then `cloud_ms`.

* latency: the sum. A line in 1/bandwidth; the round trip time shifts everything that uses the
  link alike, so who is best among those does not depend on it, and with no round trip at all the
  most of them are better than staying on the device.
* period, the inverse of frames/s: in a pipelined stream the slowest of the three stages.

Both are piecewise linear in 1/bandwidth, so the order can change only where two pieces cross;
between neighbouring crossings one sample tells who is best. Ties go to fewer bytes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = [
    "FASTEST_BPS",
    "LOCAL_ADVANTAGE",
    "SLOWEST_BPS",
    "Offer",
    "Span",
    "best_latency",
    "best_period",
]

SLOWEST_BPS = 10e3
FASTEST_BPS = 1e9
# Staying on the device needs no link: another way has to save this share to count as better.
LOCAL_ADVANTAGE = 0.05


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to answer a frame, as the envelope sees it."""

    id: str
    device_ms: float
    payload_bytes: float
    cloud_ms: float

    def wire_ms(self, bandwidth_bps: float) -> float:
        """Time of the payload on the link."""
        return self.payload_bytes * 8e3 / bandwidth_bps

    def latency_ms(self, bandwidth_bps: float) -> float:
        """From the first operation on the device to the answer, round trip left out."""
        return self.device_ms + self.wire_ms(bandwidth_bps) + self.cloud_ms

    def period_ms(self, bandwidth_bps: float) -> float:
        """Time between two answers of a pipelined stream."""
        return max(self.device_ms, self.wire_ms(bandwidth_bps), self.cloud_ms)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of bandwidths over which one offer is best."""

    low_bps: float
    high_bps: float

    @property
    def octaves(self) -> float:
        """Its width in doublings of bandwidth."""
        return float(np.log2(self.high_bps / self.low_bps))


Spans = Mapping[str, Sequence[Span]]


def best_latency(offers: Iterable[Offer]) -> Spans:
    """For each offer that is best somewhere, the bandwidths where its latency is least."""
    known = list(offers)
    crossings = [
        crossing
        for i, one in enumerate(known)
        for two in known[:i]
        for crossing in _crossing(
            one.payload_bytes - two.payload_bytes,
            two.device_ms + two.cloud_ms - one.device_ms - one.cloud_ms,
        )
    ]
    return _spans(known, Offer.latency_ms, crossings)


def best_period(offers: Iterable[Offer]) -> Spans:
    """For each offer that is best somewhere, the bandwidths where its period is least."""
    known = list(offers)
    floors = {max(offer.device_ms, offer.cloud_ms) for offer in known}
    crossings = [
        crossing
        for offer in known
        for floor in floors
        for crossing in _crossing(offer.payload_bytes, floor)
    ]
    return _spans(known, Offer.period_ms, crossings)


def _crossing(more_bytes: float, fewer_ms: float) -> list[float]:
    """The bandwidth at which `more_bytes` take `fewer_ms`, if it lies in the range."""
    if more_bytes == 0 or fewer_ms == 0 or (more_bytes > 0) != (fewer_ms > 0):
        return []
    bandwidth_bps = more_bytes * 8e3 / fewer_ms
    return [bandwidth_bps] if SLOWEST_BPS < bandwidth_bps < FASTEST_BPS else []


def _spans(
    offers: Sequence[Offer], cost_ms: Callable[[Offer, float], float], crossings: Iterable[float]
) -> Spans:
    edges = sorted({SLOWEST_BPS, FASTEST_BPS, *crossings})
    spans: dict[str, list[Span]] = {}
    last = None
    for low, high in pairwise(edges):
        middle = (low * high) ** 0.5
        best = min(offers, key=lambda offer: (cost_ms(offer, middle), offer.payload_bytes))
        own = spans.setdefault(best.id, [])
        if best.id == last:
            own[-1] = Span(own[-1].low_bps, high)
        else:
            own.append(Span(low, high))
        last = best.id
    return spans
