"""What `isthmus bench adapt` shows: a table for each trace, the sums, the moments, and JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

from tabulate import tabulate

from isthmus_bench.adapt.bench import AdaptResult
from isthmus_bench.adapt.crowd import CROWDED
from isthmus_bench.adapt.gaps import switch_gaps_ms
from isthmus_bench.adapt.moments import DeadLink, Moments
from isthmus_bench.adapt.origin import Origin, origin_of, origins_of
from isthmus_bench.adapt.runs import OURS, Policy, Run
from isthmus_bench.adapt.scores import (
    Cell,
    Figures,
    Verdict,
    figures_of,
    latencies_ms,
    oracle_ms,
    p95,
    spread_of,
    verdict_of,
)
from isthmus_bench.awake import AWAKE, Awake
from isthmus_bench.starvation import STARVED

__all__ = ["adapt_json", "adapt_lines"]

_HEADERS = (
    "", "mean ms", "p95 ms", "late", "no answer", "KB sent", "switches", "board CPU s", "",
)  # fmt: skip
_ABOUT = {
    "vs_best_static_mean": "mean latency of ours / that of the pinned candidate that was best on "
    "each trace in hindsight; all frames of all traces, each in units of its model's edge-only "
    "latency. Pinned are the candidates that the plan keeps and the baselines, each at the "
    "coarsest rung that meets the agreement floor",
    "measured_uplinks": "the same over the traces that were measured as uplinks alone; null: there "
    "are none, or no others",
    "vs_best_static_p95": "95th percentile of ours / that of the same fixed candidate",
    "vs_least_static_p95": "the same against the fixed candidate of least 95th percentile, seldom "
    "one that is good in the mean",
    "vs_one_static_mean": "the same against one fixed candidate for all traces of a model",
    "regret_vs_oracle_mean": "mean latency of ours / that of an oracle - 1, which takes the fixed "
    "candidate of least mean latency in each second, as measured",
    "vs_ewma_mean": "ours / our policy with an EWMA estimator that knows no uncertainty",
    "lost": "frames accepted and never ended, and answers beyond the first, in all runs",
    "detect_dead_s": "longest time until a dead link was no longer called up, with any of the "
    "models; null: never",
    "first_local_answer_ms": "longest time from a link's death to the device's first answer, with "
    "any of the models",
    "cold_start_answer_ms": "longest time from opening an agent without a network to its first "
    "answer",
    "switch_gap_ms_max": "longest gap in the answers that a forced switch caused on a steady link",
    "switch_gap_on_traces_ms": "gaps around the policy's own switches, whose link changes, too",
    "pipeline_speedup_rtt50": "frames/s pipelined / send-then-wait at 50 ms round trip; null: the "
    "plan keeps nothing for it",
    "spread": "of each repeat alone: median, least, most",
    "missed": "share of frames late or without an answer",
    "device_s": "the board's CPU-seconds of a run: with sent_bytes, the energy proxy",
    "sent_bytes": "all that the link carried from the device to the cloud in a run: also probes, "
    "heartbeats and frames that got no answer",
    "payload_bytes": "of these, what was sent for frames that were answered",
    "kept_runs": "counted runs that --resume kept from before: of the same bundle, trace, camera, "
    "deadline, lanes, machine and code",
    "origin": "of a trace, by its name: …_up and …_dl are measured, synthetic_… is made up",
    "stolen_share": "of this machine's processor time, all the while, by its neighbours",
    "starved_runs": f"counted runs of which they took more than {STARVED:.0%}; --resume runs those "
    "again",
    "unplanned_share": "of the board's time, spent on work whose time the plan does not know",
}


def adapt_lines(result: AdaptResult) -> Iterator[str]:
    """The report, line by line."""
    runs = _runs(result)
    yield _first_line(result, len(runs))
    starved = [run.stolen_share for run in runs if run.stolen_share > STARVED]
    if starved:
        yield (
            f"CAUTION: during {len(starved)} of {len(runs)} runs this machine lost more than "
            f"{STARVED:.0%} of its processor time (steal; {max(starved):.0%} at worst); "
            "--resume runs those again."
        )
    if result.crowded_share > CROWDED:
        yield (
            f"CAUTION: other programs took {result.crowded_share:.0%} of the processors: what "
            "waits for one of them is late for that alone; run it again on a quiet machine."
        )
    yield from _setting(result)
    origins = _origins(result)
    for cell in result.cells:
        yield ""
        yield from _cell_lines(cell, origins[cell.trace])
    yield ""
    yield from _sums(result)
    yield ""
    yield from _moment_lines(result.moments)
    yield from _gap_lines(result)
    yield from _loss_lines(result)


def adapt_json(result: AdaptResult) -> dict[str, Any]:
    """All figures; fractions and ratios, `about` says of what."""
    config, moments = result.config, result.moments
    origins, pipelining = _origins(result), moments.pipelining
    uplinks = _measured_uplinks(result)
    return {
        "about": _ABOUT,
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "starved_runs": sum(run.stolen_share > STARVED for run in _runs(result)),
        "kept_runs": result.kept_runs,
        "crowded_share": result.crowded_share,
        "unplanned_share": _unplanned(result),
        "lanes": config.lanes,
        "repeats": config.repeats,
        **asdict(verdict_of(result.cells)),
        "measured_uplinks": asdict(verdict_of(uplinks)) if uplinks else None,
        "spread": {
            name: asdict(spread) for name, spread in spread_of(result.cells, config.repeats).items()
        },
        "lost": _lost(result),
        "detect_dead_s": moments.detect_dead_s,
        "first_local_answer_ms": moments.first_local_answer_ms,
        "cold_start_answer_ms": moments.cold_start_answer_ms,
        "switch_gap_ms_max": max(moments.switches.gaps_ms, default=None),
        "switch_gap_on_traces_ms": _described(_gaps_on_traces(result)),
        "pipeline_speedup_rtt50": None if pipelining is None else pipelining.speedup,
        "moments": asdict(moments),
        "models": [
            {"model": each.model, "edge_factor": each.edge_factor, **asdict(each.scene)}
            | asdict(verdict_of(each.cells))
            for each in result.models
        ],
        "traces": [_cell_json(cell, origins[cell.trace]) for cell in result.cells],
    }


def _first_line(result: AdaptResult, runs: int) -> str:
    """What was kept is not called measured now; with `resume` the plan may be from before, too."""
    if not result.config.resume:
        return f"Measured on {result.machine}; every figure below is of this run."
    return (
        f"Measured on {result.machine}; {result.kept_runs} of {runs} runs were kept from before, "
        "by the same code on the same machine, traces and lanes, and so may be the plan; every "
        "other figure below is of this run."
    )


def _setting(result: AdaptResult) -> Iterator[str]:
    config = result.config
    for each in result.models:
        scene = each.scene
        yield (
            f"{each.model}: a board {each.edge_factor:.3g} times slower than this machine, "
            f"edge-only {scene.local_ms:.0f} ms; a camera of {scene.fps:g} frames/s for "
            f"{scene.seconds:g} s; late after {scene.late_after_ms:.0f} ms, of which agents "
            f"{'are' if scene.tell_deadline else 'are not'} told."
        )
    yield (
        f"{config.repeats} repeat(s), {config.lanes} lane(s). Each piece of work takes the board "
        f"what the plan measured for it, {_unplanned(result):.1%} of its time excepted."
    )
    if config.awake and Awake.is_possible():
        yield AWAKE
    yield (
        "Latency counts from the camera's tick; a frame without an answer counts until the next "
        "newer answer. Pinned are the candidates that the plan keeps and the baselines, each at "
        "the coarsest rung that meets the agreement floor. They keep our stream and our local "
        "finish when the link dies, which makes them stronger than static splits elsewhere. Traces "
        "hold in both directions. The oracle takes the best pinned candidate of each second, as "
        "measured."
    )


def _cell_lines(cell: Cell, origin: Origin) -> Iterator[str]:
    best, tail = cell.best_static(fmean), cell.best_static(p95)
    rows = [
        _row(policy, figures_of(cell.runs[policy.name], cell.scene.late_after_ms), best, tail)
        for policy in cell.policies
    ]
    oracle = oracle_ms(cell)
    rows.append(("oracle of each second", f"{fmean(oracle):.0f}", f"{p95(oracle):.0f}"))
    verdict = verdict_of([cell])
    yield f"{cell.title} ({origin.words})"
    yield from tabulate(rows, _HEADERS, disable_numparse=True).splitlines()
    yield (
        f"ours / best static: mean {verdict.vs_best_static_mean:.2f}, p95 "
        f"{verdict.vs_best_static_p95:.2f} (least static p95: {verdict.vs_least_static_p95:.2f}); "
        f"regret {verdict.regret_vs_oracle_mean:+.1%}"
    )


def _row(policy: Policy, figures: Figures, best: str, tail: str) -> tuple[str, ...]:
    notes = [] if policy.counts else ["misses the agreement floor, never best"]
    notes += ["best static by mean"] if policy.name == best else []
    notes += ["best static by p95"] if policy.name == tail else []
    return (
        policy.title,
        f"{figures.mean_ms:.0f}",
        f"{figures.p95_ms:.0f}",
        f"{figures.missed:.1%}",
        f"{figures.unanswered:.3g}",
        f"{figures.sent_bytes / 1e3:.0f}",
        f"{figures.switches:.3g}",
        f"{figures.device_s:.1f}",
        ", ".join(notes),
    )


def _sums(result: AdaptResult) -> Iterator[str]:
    named = [(each.model, each.cells) for each in result.models]
    if len(named) > 1:
        named.append(("all", result.cells))
    if uplinks := _measured_uplinks(result):
        named.append(("measured uplinks alone", uplinks))
    for name, cells in named:
        verdict = verdict_of(cells)
        yield f"{name}, over {len(cells)} traces: {_in_words(verdict)}"
    if result.config.repeats > 1:
        spreads = spread_of(result.cells, result.config.repeats).items()
        yield "Of the repeats alone, median (least to most): " + ", ".join(
            f"{name} {s.median:.3f} ({s.least:.3f} to {s.most:.3f})" for name, s in spreads
        )


def _in_words(verdict: Verdict) -> str:
    return (
        f"ours takes {verdict.vs_best_static_mean:.3f} of the mean latency of the best static "
        f"candidate of each trace and {verdict.vs_best_static_p95:.3f} of its p95 "
        f"({verdict.vs_least_static_p95:.3f} of the least p95 of any); "
        f"{verdict.vs_one_static_mean:.3f} of the mean of one static candidate for all; regret to "
        f"the oracle {verdict.regret_vs_oracle_mean:+.1%}; {verdict.vs_ewma_mean:.3f} of the mean "
        f"and {verdict.vs_ewma_p95:.3f} of the p95 with an EWMA estimator; late "
        f"{verdict.missed:.1%} (best static {verdict.best_static_missed:.1%})."
    )


def _moment_lines(moments: Moments) -> Iterator[str]:
    yield f"Moments, measured with {moments.model} unless another is named:"
    yield from map(_dead_link_line, moments.dead_links)
    for start in moments.cold_starts:
        yield (
            f"  cold start, cloud {start.kind}: open after {start.open_ms:.0f} ms, first answer "
            f"after {start.answer_ms:.0f} ms"
        )
    switches = moments.switches
    if switches.gaps_ms:
        yield (
            f"  {len(switches.gaps_ms)} forced switches among {len(switches.candidates)} "
            f"candidates at {switches.fps:g} frames/s, {switches.mbps:g} Mbit/s, "
            f"{switches.rtt_ms:g} ms: gaps of {median(switches.gaps_ms):.0f} ms in the median, "
            f"{max(switches.gaps_ms):.0f} ms at most"
        )
    else:
        yield "  no forced switches: the plan does not keep two candidates to switch between"
    pipe = moments.pipelining
    if pipe is None:
        yield "  no pipelining: the plan keeps no candidate that the cloud has a part in"
        return
    yield (
        f"  pipelining {pipe.title} at {pipe.mbps:g} Mbit/s and {pipe.rtt_ms:g} ms, board slowed "
        f"{pipe.edge_factor:g} times: {pipe.pipelined_fps:.1f} frames/s, send-then-wait "
        f"{pipe.alone_fps:.1f} ({pipe.speedup:.2f} times)"
    )


def _dead_link_line(link: DeadLink) -> str:
    known = "was not noticed" if link.detect_s is None else f"known after {link.detect_s:.2f} s"
    local = link.local_answer_ms
    answer = "no answer by the device" if local is None else f"its first answer {local:.0f} ms"
    remote = "" if link.was_remote else " (the device answered already)"
    under = link.candidate or "nothing"
    return f"  {link.kind} with {link.model} under {under}: {known}, {answer}{remote}"


def _gap_lines(result: AdaptResult) -> Iterator[str]:
    gaps = _gaps_on_traces(result)
    if gaps:
        yield (
            f"Around {len(gaps)} switches of the policy on traces, where the link changes too, "
            f"gaps are {median(gaps):.0f} ms in the median, {p95(gaps):.0f} ms at the 95th "
            f"percentile, {max(gaps):.0f} ms at most."
        )


def _loss_lines(result: AdaptResult) -> Iterator[str]:
    runs = _runs(result)
    accepted = sum(run.accepted for run in runs)
    yield f"Lost or doubled: {_lost(result)} of {accepted} accepted frames."
    for cell in result.cells:
        for policy in cell.policies:
            errors = [f.error for r in cell.runs[policy.name] for f in r.frames if f.error]
            if errors:
                yield (
                    f"{cell.title}: {policy.title}: {len(errors)} frames without an answer, "
                    f"for instance {errors[0]}"
                )


def _origins(result: AdaptResult) -> Mapping[str, Origin]:
    """By the names of the traces."""
    known = origins_of(result.excerpts, result.config.seconds)
    return {cell.trace: known.get(cell.trace, origin_of(cell.trace)) for cell in result.cells}


def _measured_uplinks(result: AdaptResult) -> tuple[Cell, ...]:
    """Nothing if they are all there is."""
    origins = _origins(result)
    uplinks = tuple(cell for cell in result.cells if origins[cell.trace].is_measured_uplink)
    return uplinks if len(uplinks) < len(result.cells) else ()


def _unplanned(result: AdaptResult) -> float:
    runs = _runs(result)
    return sum(run.unplanned_s for run in runs) / sum(run.device_s for run in runs)


def _lost(result: AdaptResult) -> int:
    return sum(run.lost + run.doubled for run in _runs(result))


def _runs(result: AdaptResult) -> list[Run]:
    return [run for cell in result.cells for runs in cell.runs.values() for run in runs]


def _gaps_on_traces(result: AdaptResult) -> list[float]:
    return [
        gap
        for cell in result.cells
        for run in cell.runs[OURS]
        for gap in switch_gaps_ms(run.frames, cell.scene.period_ms)
    ]


def _described(gaps: Sequence[float]) -> dict[str, float] | None:
    if not gaps:
        return None
    return {"count": len(gaps), "median": median(gaps), "p95": p95(gaps), "max": max(gaps)}


def _cell_json(cell: Cell, origin: Origin) -> dict[str, Any]:
    return {
        "model": cell.model,
        "trace": cell.trace,
        "origin": asdict(origin),
        "best_static_by_mean": cell.best_static(fmean),
        "best_static_by_p95": cell.best_static(p95),
        "oracle_mean_ms": fmean(oracle_ms(cell)),
        **asdict(verdict_of([cell])),
        "policies": [_policy_json(cell, policy) for policy in cell.policies],
    }


def _policy_json(cell: Cell, policy: Policy) -> dict[str, Any]:
    runs = cell.runs[policy.name]
    means = [fmean(latencies_ms(run.frames)) for run in runs]
    return {
        "policy": policy.name,
        "title": policy.title,
        "meets_floor": policy.counts,
        **asdict(figures_of(runs, cell.scene.late_after_ms)),
        "mean_ms_of_repeats": means,
        "lost": sum(run.lost + run.doubled for run in runs),
    }
