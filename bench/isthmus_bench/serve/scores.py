"""The figures of a run by their keys, and what misses its aim."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from isthmus_bench.edge.spread import Spread
from isthmus_bench.serve.figures import AT_SLO, FULL, MANY, ONE, Pair, Row, ServeBenchResult
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED
from isthmus_bench.serve.variants import (
    BATCHED,
    GPU_BATCHED,
    GPU_UNBATCHED,
    NO_JOINS,
    ONE_WORKER,
    UNBATCHED,
)

__all__ = ["PeerScore", "Scores", "misses", "overhead_ms", "scores_of"]

BATCH_AIM, GPU_BATCH_AIM = 1.3, 3.0  # at least
OVERHEAD_AIM = 1.2  # at most
FULL_MODEL_AIM = 0.65  # at most
IDLE_AIM_KB = 200.0  # at most
_LEAST_OVERHEAD_MS = 0.02  # below, a ratio of overheads says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerScore:
    """Ours over theirs, whole model and same tensors; None where one of the two bears no load.

    `ours_by` is the protocol that ours was asked by. `throughput_ratio` compares answers/s at the
    SLO, `closed_ratio` those of a closed loop with many frames under way, `p95_ratio` the 95th
    percentile of the closed loop with one frame each.
    """

    name: str
    version: str
    ours_by: str
    throughput_ratio: float | None
    closed_ratio: float | None
    p95_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Ratios of medians within one run; None where one side was not measured.

    `batch_speedup`: answers/s at the SLO, smallest tail, batched over unbatched; likewise at other
    cuts by name in `batch_speedups`, against one worker, and `joins_speedup` of
    devices at different cuts over the same without batches across cuts. `overhead_ms_p50`: median
    latency of one device with one frame at a time, smallest tail, less what the engine takes for
    it, all three of the turns that follow each other; `overhead_vs_bare_p50` that over the bare
    loop's; `latency_vs_bare_p50` the ratio of the latencies themselves. `devices_at_slo` is ours at
    the cut nearest to 40 %. `cpu_s_per_answer_vs_full_model`: processor seconds of the service for
    an answer at that cut over those for the whole network. `accepted` and what follows count all
    frames that our service was sent in this run.
    """

    batch_speedup: float | None
    batch_speedups: dict[str, float | None]
    batch_speedup_vs_one_worker: float | None
    joins_speedup: float | None
    gpu_batch_speedup: float | None
    overhead_ms_p50: float | None
    overhead_vs_bare_p50: float | None
    latency_vs_bare_p50: float | None
    peers: tuple[PeerScore, ...]
    devices_at_slo: int | None
    cpu_s_per_answer_vs_full_model: float | None
    rss_per_idle_device_kb: float | None
    accepted: int
    answered: int
    errors: int
    lost: int
    wrong: int


def scores_of(result: ServeBenchResult) -> Scores:
    """All of them."""
    ours = result.ours
    loads = [load for row in result.rows if row.is_ours for load in row.all_loads]
    at_cut = result.row(ours, FORTIETH)
    return Scores(
        batch_speedup=_speedup(result, (BATCHED, UNBATCHED), DEEPEST),
        batch_speedups={
            sends: _speedup(result, (BATCHED, UNBATCHED), sends)
            for sends in (DEEPEST, FORTIETH, INPUT, MIXED)
        },
        batch_speedup_vs_one_worker=_speedup(result, (BATCHED, ONE_WORKER), DEEPEST),
        joins_speedup=_speedup(result, (BATCHED, NO_JOINS), MIXED),
        gpu_batch_speedup=_speedup(result, (GPU_BATCHED, GPU_UNBATCHED), DEEPEST),
        overhead_ms_p50=_over(result.pairs, "ours_ms"),
        overhead_vs_bare_p50=_overhead_ratio(result.pairs),
        latency_vs_bare_p50=_ratio(
            _turns(result.pairs, "ours_ms"), _turns(result.pairs, "bare_ms")
        ),
        peers=tuple(_peers(result)),
        devices_at_slo=None if at_cut is None or not at_cut.devices else int(at_cut.devices.median),
        cpu_s_per_answer_vs_full_model=_ratio(_cpu(at_cut), _cpu(result.row(ours, INPUT, "split"))),
        rss_per_idle_device_kb=_idle_kb(result),
        accepted=sum(load.accepted for load in loads),
        answered=sum(load.answered for load in loads),
        errors=sum(sum(load.errors.values()) for load in loads),
        lost=sum(load.lost for load in loads),
        wrong=sum(load.wrong for load in loads),
    )


def overhead_ms(result: ServeBenchResult, row: Row | None) -> float | None:
    """What a row's median latency with one frame at a time has beyond the engine's one graph."""
    latency = _p50(row)
    if row is None or latency is None or row.sends not in result.engine:
        return None
    return latency - result.engine[row.sends].whole_ms(1).median


def misses(result: ServeBenchResult, scores: Scores) -> Iterator[str]:
    """What was measured and misses its aim, in words."""
    at_least = (("batch_speedup", BATCH_AIM), ("gpu_batch_speedup", GPU_BATCH_AIM))
    at_most = (
        ("overhead_vs_bare_p50", OVERHEAD_AIM),
        ("cpu_s_per_answer_vs_full_model", FULL_MODEL_AIM),
        ("rss_per_idle_device_kb", IDLE_AIM_KB),
    )
    for name, aim in at_least:
        value = getattr(scores, name)
        if value is not None and value < aim:
            yield f"{name} is {value:.2f}, aimed at {aim:g} or more"
    for name, aim in at_most:
        value = getattr(scores, name)
        if value is not None and value > aim:
            yield f"{name} is {value:.2f}, aimed at {aim:g} or less"
    for sends, speedup in scores.batch_speedups.items():
        if speedup is not None and speedup < 1:
            yield f"batching is slower at {sends}: {speedup:.2f} of the unbatched answers/s"
    yield from _behind_peers(scores)
    yield from _missing(result, scores)


def _behind_peers(scores: Scores) -> Iterator[str]:
    for peer in scores.peers:
        if peer.throughput_ratio is not None and peer.throughput_ratio < 1:
            yield f"{peer.name} answers more: we have {peer.throughput_ratio:.2f} of its answers/s"
        if peer.p95_ratio is not None and peer.p95_ratio > 1:
            yield f"{peer.name} is faster: our 95th percentile is {peer.p95_ratio:.2f} of its own"


def _missing(result: ServeBenchResult, scores: Scores) -> Iterator[str]:
    if scores.lost or scores.wrong:
        yield f"{scores.lost} frames lost, {scores.wrong} answered with another's answer"
    if scores.accepted != scores.answered + scores.errors + scores.lost:
        yield f"of {scores.accepted} frames some ended twice"
    for idle in result.idle:
        gone = idle.devices - idle.connected
        if gone:
            yield f"{gone} of {idle.devices} idle devices lost their stream"


def _speedup(result: ServeBenchResult, names: tuple[str, str], sends: str) -> float | None:
    one, other = (result.row(name, sends) for name in names)
    return _ratio(_rate(one, AT_SLO), _rate(other, AT_SLO))


def _overhead_ratio(pairs: Sequence[Pair]) -> float | None:
    ours, bare = _over(pairs, "ours_ms"), _over(pairs, "bare_ms")
    if ours is None or bare is None or bare < _LEAST_OVERHEAD_MS:
        return None
    return ours / bare


def _over(pairs: Sequence[Pair], name: str) -> float | None:
    latency, engine = _turns(pairs, name), _turns(pairs, "engine_ms")
    return None if latency is None or engine is None else latency - engine


def _turns(pairs: Sequence[Pair], name: str) -> float | None:
    return median(getattr(pair, name) for pair in pairs) if pairs else None


def _peers(result: ServeBenchResult) -> Iterator[PeerScore]:
    by_oip = result.row(result.ours, INPUT, "oip")
    ours = by_oip or result.row(result.ours, INPUT)
    for peer in result.peers:
        theirs = result.row(peer.name, INPUT)
        if ours is None or theirs is None:
            continue
        yield PeerScore(
            name=peer.name,
            version=peer.version,
            ours_by=ours.protocol,
            throughput_ratio=_ratio(_rate(ours, AT_SLO), _rate(theirs, AT_SLO)),
            closed_ratio=_ratio(_rate(ours, MANY), _rate(theirs, MANY)),
            p95_ratio=_ratio(_p95(ours), _p95(theirs)),
        )


def _p50(row: Row | None) -> float | None:
    return _median(None if row is None else row.figure(ONE, "p50_ms"))


def _p95(row: Row) -> float | None:
    return _median(row.figure(FULL, "p95_ms"))


def _cpu(row: Row | None) -> float | None:
    return _median(None if row is None else row.figure(MANY, "server_cpu_ms"))


def _rate(row: Row | None, kind: str) -> float | None:
    return _median(None if row is None else row.answers_per_s(kind))


def _idle_kb(result: ServeBenchResult) -> float | None:
    return Spread.of([idle.device_kb for idle in result.idle]).median if result.idle else None


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
