"""A plan in sentences: why each candidate is in it, and why the prominent others are not."""

from collections.abc import Iterable, Sequence

from isthmus import Candidate, Picture
from isthmus_partitioner.planning.envelope import amount, latency_curve, rate_words
from isthmus_partitioner.planning.race import Race
from isthmus_partitioner.planning.selection import Standing
from isthmus_partitioner.planning.trying import HeadTimes

__all__ = ["explain"]

_MOST_HEADS = 3
_SHOWN_TENSORS = 2
_LEAST_RATIO = 1.05  # less is no difference
_FORMATS = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


def explain(
    standing: Standing, head_times: Sequence[HeadTimes], others: Iterable[Candidate] = ()
) -> tuple[str, ...]:
    """Sentences on what was chosen, the verdict first.

    `standing` is that of what `select` has returned, `head_times` the heads that were built in both
    precisions, `others` what took no part but has a reason of its own.
    """
    chosen = standing.candidates
    rank = {name: place for place, name in enumerate(standing.winners)}
    kept = sorted((c for c in chosen if c.kept), key=lambda c: rank.get(c.id, len(rank)))
    best = _best_cut(standing)
    left_out = (*_prominent(best, standing), *others)
    return (
        *_verdict(standing),
        *(f"{_title(c)} is in: {c.reason}" for c in kept),
        *(() if best is None else _against_pictures(best, standing)),
        *(f"{_title(c)} is out: {c.reason}" for c in left_out),
        *_slow_int8(head_times),
    )


def _verdict(standing: Standing) -> Iterable[str]:
    winners = [c for c in standing.candidates if c.id in standing.winners]
    if not any(_is_cut(c) for c in winners):
        better = " or ".join(c.id for c in winners) or "something else"
        yield f"no cut pays anywhere: do not split ({better} is better at every bandwidth)"


def _prominent(best: Candidate | None, standing: Standing) -> Iterable[Candidate]:
    """Of what is left out: whole inputs, what a constraint refuses, the cut that is nearest."""
    for candidate in standing.candidates:
        is_refused = bool(standing.breaches[candidate.id])
        is_best = best is not None and candidate.id == best.id
        if not candidate.kept and (is_refused or is_best or not _is_cut(candidate)):
            yield candidate


def _best_cut(standing: Standing) -> Candidate | None:
    """The feasible cut that is best over the widest ranges, or else comes nearest to the best."""
    race = standing.races[0]
    feasible = [c for c in standing.candidates if _is_cut(c) and c.id in race.curves]

    def worth(candidate: Candidate) -> tuple[float, float]:
        point = race.nearest(candidate.id)
        lag = 0.0 if point is None else point.cost / (point.rival_cost or 1.0)
        return sum(r.octaves(candidate.id) for r in standing.races), -lag

    return max(feasible, key=worth, default=None)


def _against_pictures(cut: Candidate, standing: Standing) -> Iterable[str]:
    """Whole pictures beside a cut, in bytes and in time, at a bandwidth that suits the cut."""
    bandwidth_bps = _home_bps(standing.races[0], cut.id)
    for candidate in standing.candidates:
        if _is_picture(candidate):
            yield _versus(candidate, cut, bandwidth_bps, standing.goals.rtt_ms)


def _home_bps(race: Race, name: str) -> float:
    """The middle of where a candidate is best, or else where it comes nearest to that."""
    spans = race.winners.get(name, ())
    if spans:
        return max(spans, key=lambda span: span.octaves).middle_bps
    point = race.nearest(name)
    return race.within.middle_bps if point is None else point.bandwidth_bps


def _versus(one: Candidate, other: Candidate, bandwidth_bps: float, rtt_ms: float) -> str:
    ratio = max(1, one.figures.payload_bytes) / max(1, other.figures.payload_bytes)
    more_ms = latency_curve(one.figures, rtt_ms).at(bandwidth_bps) - latency_curve(
        other.figures, rtt_ms
    ).at(bandwidth_bps)
    speed = f"{amount(abs(more_ms))} ms {'slower' if more_ms > 0 else 'faster'}"
    return (
        f"{_title(one)} is {_size(ratio)} {other.id} "
        f"{'and' if (ratio < 1) == (more_ms < 0) else 'but'} {speed} in all "
        f"at {rate_words(bandwidth_bps)}"
    )


def _size(ratio: float) -> str:
    if 1 / _LEAST_RATIO < ratio < _LEAST_RATIO:
        return "about as large as"
    return f"{_times(1 / ratio)} smaller than" if ratio < 1 else f"{_times(ratio)} larger than"


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x" if ratio < 100 else f"{ratio:.0f}x"


def _slow_int8(head_times: Iterable[HeadTimes]) -> Iterable[str]:
    """Heads that int8 slows down, the worst first."""
    slower = []
    for times in head_times:
        int8_ms, fp32_ms = times.int8_ms, times.fp32_ms
        if int8_ms and fp32_ms and int8_ms >= _LEAST_RATIO * fp32_ms:
            ratio = int8_ms / fp32_ms
            words = (
                f"the int8 head up to {_tensors(times.tensors)} is {_times(ratio)} slower than "
                f"fp32 on the device's CPU ({amount(int8_ms)} ms against {amount(fp32_ms)} ms)"
            )
            slower.append((ratio, words))
    slower.sort(key=lambda pair: -pair[0])
    yield from (words for _, words in slower[:_MOST_HEADS])
    if len(slower) > _MOST_HEADS:
        yield f"so are {len(slower) - _MOST_HEADS} more int8 heads, by less"


def _tensors(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_TENSORS
    return " + ".join(names[:_SHOWN_TENSORS]) + (f" + {more} more" if more > 0 else "")


def _title(candidate: Candidate) -> str:
    """The id, and for pictures what it is sent as."""
    for encoding in candidate.encodings:
        if isinstance(encoding, Picture):
            quality = "lossless" if encoding.quality is None else f"q{encoding.quality}"
            return f"{candidate.id} ({_FORMATS[encoding.format]} {quality})"
    return candidate.id


def _is_cut(candidate: Candidate) -> bool:
    return candidate.precision != "none" and not candidate.is_local


def _is_picture(candidate: Candidate) -> bool:
    return any(isinstance(encoding, Picture) for encoding in candidate.encodings)
