"""What the link's bench shows: tables for people, and the same figures as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from isthmus_bench.awake import AWAKE, Awake
from isthmus_bench.cells import table
from isthmus_bench.link.bench import LinkBenchResult
from isthmus_bench.link.rows import AskedMeasured, TraceRow
from isthmus_bench.starvation import caution

__all__ = ["link_json", "link_lines"]


def link_lines(result: LinkBenchResult) -> list[str]:
    """The report, line by line."""
    return list(_lines(result))


def _lines(result: LinkBenchResult) -> Iterator[str]:
    yield f"Measured on {result.machine}; every figure below is of this run."
    yield from caution(result.stolen_share, "figures")
    if Awake.is_possible():
        yield AWAKE
    yield f"Medians of {result.runs} runs; spread: largest - smallest."
    yield from ("", "a. Payload rate of a stream over the relay, Mbit/s")
    yield from table(("asked", "measured", "spread", "error"), _rate_cells(result.rates))
    yield from ("", "b. The same over tc tbf, the kernel's own rate")
    if result.kernel_missing is not None:
        yield f"   not run: {result.kernel_missing}"
    else:
        yield f"   TCP congestion control of both ends: {result.congestion}"
        cells = _rate_cells(result.kernel_rates)
        yield from table(("asked", "measured", "spread", "error"), cells)
    yield from ("", f"c. Round trip over the relay, ms more than loopback's {result.direct_ms:.3f}")
    cells = [(f"{r.asked:g}", f"{r.median:.2f}", f"{r.spread:.2f}") for r in result.rtts]
    yield from table(("asked", "measured", "spread"), cells)
    yield from ("", "d. What interrupts and delays")
    yield from _interruptions(result)
    yield from ("", "e. Traces played, a stream in front: Mbit delivered in each second")
    headers = ("trace", "seconds", "asked Mbit", "delivered", "error", "mean error/s", "worst")
    yield from table(headers, [_trace_cells(row) for row in result.traces])
    yield "   Errors of a second are shares of the trace's mean rate; these traces are made up."


def _interruptions(result: LinkBenchResult) -> Iterator[str]:
    for row in result.outages:
        yield (
            f"   outage of {row.asked:g} s: {row.median:.3f} s without a byte"
            f" (spread {row.spread:.3f})"
        )
    jitter, stalls, silent = result.jitter, result.stalls, result.half_open
    yield (
        f"   jitter of {jitter.jitter_ms:g} ms: {jitter.asked_mean_ms:.2f} ms more in the mean"
        f" asked, {jitter.mean_ms:.2f} measured; standard deviation {jitter.asked_deviation_ms:.2f}"
        f" asked, {jitter.deviation_ms:.2f} measured; single round trips {jitter.error_ms:.2f} ms"
        f" from what was drawn for them (median of {jitter.pings})"
    )
    yield (
        f"   stalls of {stalls.length_ms.asked:g} ms: {stalls.length_ms.median:.1f} ms measured"
        f" (spread {stalls.length_ms.spread:.1f}), {stalls.count} in {stalls.seconds:g} s where"
        f" {stalls.asked_count:.1f} come in the mean"
    )
    yield (
        f"   half-open: {silent.passed_bytes} of {silent.sent_bytes} bytes passed;"
        f" {silent.after_bytes} of {silent.after_sent_bytes} on a new connection once it was off"
    )
    yield f"   refused: {silent.refused} of {silent.refuse_tries} connections"


def link_json(result: LinkBenchResult) -> dict[str, Any]:
    """The figures; errors are shares.

    `worst_trace_mean_error` is the largest of the traces' mean errors of a second; each trace has
    the error of its worst second as `worst_error`.
    """
    return {
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "runs": result.runs,
        "worst_rate_error": result.worst_rate_error,
        "worst_trace_mean_error": max((row.mean_error for row in result.traces), default=None),
        "half_open_passed_bytes": result.half_open.passed_bytes,
        "rates_mbps": [_row_json(row) for row in result.rates],
        "kernel_rates_mbps": [_row_json(row) for row in result.kernel_rates],
        "kernel_missing": result.kernel_missing,
        "congestion": result.congestion,
        "direct_ms": result.direct_ms,
        "rtts_ms": [_row_json(row) for row in result.rtts],
        "jitter": asdict(result.jitter),
        "stalls": asdict(result.stalls),
        "outages_s": [_row_json(row) for row in result.outages],
        "half_open": asdict(result.half_open),
        "traces": [
            asdict(row)
            | {"mean_error": row.mean_error, "worst_error": row.worst_error}
            | {"total_error": row.total_error}
            for row in result.traces
        ],
    }


def _row_json(row: AskedMeasured) -> dict[str, Any]:
    return asdict(row) | {"median": row.median, "spread": row.spread}


def _rate_cells(rows: Sequence[AskedMeasured]) -> list[tuple[str, ...]]:
    return [(f"{r.asked:g}", f"{r.median:.3f}", f"{r.spread:.3f}", f"{r.error:+.2%}") for r in rows]


def _trace_cells(row: TraceRow) -> tuple[str, ...]:
    return (
        row.name,
        f"{len(row.asked_mbit)}",
        f"{sum(row.asked_mbit):.1f}",
        f"{sum(row.delivered_mbit):.1f}",
        f"{row.total_error:+.2%}",
        f"{row.mean_error:.2%}",
        f"{row.worst_error:.2%}",
    )
