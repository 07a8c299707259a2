"""Who is best where: lower envelopes over bandwidth, exactly and without a grid.

A way to answer a frame costs `device_ms`, then `payload_bytes` on the link, then `cloud_ms`, then
`answer_bytes` on the way back. Both ways are taken to be equally wide, as the policy does.

* latency: the sum. A line in 1/bandwidth; a round trip time shifts everything that uses the link
  alike, so who is best among those does not depend on it, and with no round trip at all the most
  of them are better than staying on the device.
* period, the inverse of frames/s: in a pipelined stream the slowest of device, way up, cloud and
  way back.

These, and energy and money (see `objectives`), are curves of one kind: the greatest of a few lines
in 1/bandwidth. The least of many such curves is piecewise of lines, too, and is found by dividing
and merging: two envelopes are walked side by side, and inside a step, where each is one line, they
cross at most once. For n curves of a few lines that takes O(n log n) steps, but for a factor that
never matters, the inverse Ackermann function (Sharir and Agarwal, "Davenport-Schinzel Sequences and
Their Geometric Applications", 1995, chapter 6).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import inf, log2, sqrt
from typing import NamedTuple, Protocol

__all__ = [
    "FASTEST_BPS",
    "LOCAL_ADVANTAGE",
    "SLOWEST_BPS",
    "Curve",
    "Line",
    "Offer",
    "Span",
    "Spans",
    "Stages",
    "amount",
    "best_latency",
    "best_period",
    "latency_curve",
    "lowest",
    "period_curve",
    "rate_words",
]

SLOWEST_BPS = 10e3
FASTEST_BPS = 1e9
# Staying on the device needs no link: another way has to save this share to count as better.
LOCAL_ADVANTAGE = 0.05


class Stages(Protocol):
    """The stages of answering a frame; without a payload the link is not used at all."""

    @property
    def device_ms(self) -> float:
        """All that the device computes."""
        ...

    @property
    def payload_bytes(self) -> float:
        """What crosses the link on the way up."""
        ...

    @property
    def cloud_ms(self) -> float:
        """All that the cloud computes."""
        ...

    @property
    def answer_bytes(self) -> float:
        """What crosses the link on the way back."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to answer a frame, as the envelope sees it."""

    id: str
    device_ms: float
    payload_bytes: float
    cloud_ms: float
    answer_bytes: float = 0.0

    def wire_ms(self, bandwidth_bps: float) -> float:
        """Time of payload and answer on the link."""
        return (self.payload_bytes + self.answer_bytes) * 8e3 / bandwidth_bps

    def latency_ms(self, bandwidth_bps: float) -> float:
        """From the first operation on the device to the answer, round trip left out."""
        return self.device_ms + self.wire_ms(bandwidth_bps) + self.cloud_ms

    def period_ms(self, bandwidth_bps: float) -> float:
        """Time between two answers of a pipelined stream."""
        wider_bytes = max(self.payload_bytes, self.answer_bytes)
        return max(self.device_ms, wider_bytes * 8e3 / bandwidth_bps, self.cloud_ms)


@dataclass(frozen=True, slots=True)
class Line:
    """A cost of `fixed` + `sloped` / bandwidth_bps; both at least 0."""

    fixed: float
    sloped: float

    def at(self, per_bps: float) -> float:
        """The cost at 1/bandwidth_bps."""
        return self.fixed + self.sloped * per_bps


@dataclass(frozen=True, slots=True)
class Curve:
    """A cost over bandwidth: the greatest of the lines; below `from_bps` it is no choice at all."""

    lines: tuple[Line, ...]
    from_bps: float = 0.0

    def at(self, bandwidth_bps: float) -> float:
        """The cost at a bandwidth, infinite where it is no choice."""
        if bandwidth_bps < self.from_bps:
            return inf
        return max(line.at(1 / bandwidth_bps) for line in self.lines)

    def times(self, factor: float) -> "Curve":
        """The curve of a cost that is `factor` times as high."""
        lines = (Line(line.fixed * factor, line.sloped * factor) for line in self.lines)
        return replace(self, lines=tuple(lines))


@dataclass(frozen=True, slots=True)
class Span:
    """A range of bandwidths over which one offer is best."""

    low_bps: float
    high_bps: float

    @property
    def octaves(self) -> float:
        """Its width in doublings of bandwidth."""
        return log2(self.high_bps / self.low_bps)

    @property
    def middle_bps(self) -> float:
        """As many octaves above its low end as below its high end."""
        return sqrt(self.low_bps * self.high_bps)


Spans = Mapping[str, Sequence[Span]]


def amount(value: float) -> str:
    """A cost for people: three digits, without an exponent where it is large."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def rate_words(bandwidth_bps: float) -> str:
    """A bandwidth for people."""
    rate = bandwidth_bps / 1e6
    return f"{rate:.2g} Mbit/s" if rate < 100 else f"{rate:.0f} Mbit/s"


def latency_curve(stages: Stages, rtt_ms: float = 0.0) -> Curve:
    """Ms from the first operation to the answer; what sends nothing pays no round trip."""
    trip_ms = rtt_ms if stages.payload_bytes else 0.0
    fixed_ms = stages.device_ms + stages.cloud_ms + trip_ms
    return Curve((Line(fixed_ms, (stages.payload_bytes + stages.answer_bytes) * 8e3),))


def period_curve(stages: Stages) -> Curve:
    """Ms between two answers of a pipelined stream."""
    slower_ms = max(stages.device_ms, stages.cloud_ms)
    wider_bytes = max(stages.payload_bytes, stages.answer_bytes)
    return Curve((Line(slower_ms, 0.0), Line(0.0, wider_bytes * 8e3)))


def best_latency(offers: Iterable[Offer]) -> Spans:
    """For each offer that is best somewhere, the bandwidths where its latency is least.

    Ties go to fewer bytes.
    """
    return lowest({offer.id: latency_curve(offer) for offer in _by_bytes(offers)})


def best_period(offers: Iterable[Offer]) -> Spans:
    """For each offer that is best somewhere, the bandwidths where its period is least.

    Ties go to fewer bytes.
    """
    return lowest({offer.id: period_curve(offer) for offer in _by_bytes(offers)})


def _by_bytes(offers: Iterable[Offer]) -> list[Offer]:
    return sorted(offers, key=lambda offer: offer.payload_bytes)


class _Piece(NamedTuple):  # thousands are made: a tuple is made faster than a dataclass
    """Up to `end` (1/bandwidth_bps), from where the piece before ends; no owner: no choice."""

    end: float
    line: Line
    owner: str | None


def lowest(
    curves: Mapping[str, Curve], low_bps: float = SLOWEST_BPS, high_bps: float = FASTEST_BPS
) -> Spans:
    """For each curve that is least somewhere in a range of bandwidths, where that is.

    Ties go to the curve that is named first. Where no curve is a choice, nobody is named.
    """
    start, end = 1 / high_bps, 1 / low_bps
    pieces = _envelope([list(_pieces(*each, start, end)) for each in curves.items()], start)
    spans: dict[str, list[Span]] = {}
    above_bps = high_bps
    for piece in pieces:
        below_bps = low_bps if piece.end >= end else 1 / piece.end
        if piece.owner is not None and below_bps < above_bps:
            _add(spans.setdefault(piece.owner, []), Span(below_bps, above_bps))
        above_bps = below_bps
    return spans


def _add(spans: list[Span], lower: Span) -> None:
    """Put a span before the others, joined to the first where they touch."""
    if spans and spans[0].low_bps == lower.high_bps:
        lower = Span(lower.low_bps, spans.pop(0).high_bps)
    spans.insert(0, lower)


def _pieces(owner: str, curve: Curve, start: float, end: float) -> Iterator[_Piece]:
    last = end if curve.from_bps <= 0 else min(end, 1 / curve.from_bps)
    if last > start:
        crossings = (_crossing(one, two) for one, two in combinations(curve.lines, 2))
        edges = sorted({start, last, *(x for x in crossings if start < x < last)})
        for low, high in pairwise(edges):
            yield _Piece(high, _highest(curve, (low + high) / 2), owner)
    if last < end:
        yield _Piece(end, Line(inf, 0.0), None)


def _highest(curve: Curve, per_bps: float) -> Line:
    return max(curve.lines, key=lambda line: line.at(per_bps))


def _crossing(one: Line, two: Line) -> float:
    """The 1/bandwidth_bps at which two lines are equal; infinite for parallels."""
    slope = one.sloped - two.sloped
    return (two.fixed - one.fixed) / slope if slope else inf


def _envelope(given: Sequence[list[_Piece]], start: float) -> list[_Piece]:
    if len(given) <= 1:
        return given[0] if given else []
    half = len(given) // 2
    return _lower(_envelope(given[:half], start), _envelope(given[half:], start), start)


def _lower(one: list[_Piece], two: list[_Piece], start: float) -> list[_Piece]:
    """The lower of two envelopes, which end at the same place."""
    found: list[_Piece] = []
    i = j = 0
    while i < len(one) and j < len(two):
        end = min(one[i].end, two[j].end)
        for piece in _lower_line(one[i], two[j], start, end):
            if found and (found[-1].owner, found[-1].line) == (piece.owner, piece.line):
                found.pop()
            found.append(piece)
        start = end
        i += one[i].end <= end
        j += two[j].end <= end
    return found


def _lower_line(one: _Piece, two: _Piece, start: float, end: float) -> tuple[_Piece, ...]:
    """The lower of two lines between two places: one or two pieces."""
    if one.owner is None or two.owner is None:
        _, line, owner = two if one.owner is None else one
        return (_Piece(end, line, owner),)
    before = two.line.at(start) - one.line.at(start)
    after = two.line.at(end) - one.line.at(end)
    if before >= 0 and after >= 0:
        return (_Piece(end, one.line, one.owner),)
    if before <= 0 and after <= 0:
        return (_Piece(end, two.line, two.owner),)
    first, last = (one, two) if before > 0 else (two, one)
    crossing = min(max(_crossing(one.line, two.line), start), end)
    return _Piece(crossing, first.line, first.owner), _Piece(end, last.line, last.owner)
