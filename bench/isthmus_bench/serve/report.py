"""What the serving bench shows: tables for people."""

from collections.abc import Iterator

from isthmus_bench.cells import number, spread, table
from isthmus_bench.serve.contestants import BARE
from isthmus_bench.serve.figures import AT_SLO, FULL, MANY, ONE, Row, ServeBenchResult
from isthmus_bench.serve.scores import Scores, misses, overhead_ms, scores_of
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED
from isthmus_bench.starvation import caution

__all__ = ["serve_lines"]

_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
_REPORTED = ("queue_ms", "decode_ms", "run_ms", "server_cpu_ms")
_CLOSED = (("p50_ms", 1), ("p95_ms", 1), ("batch", 1), ("server_cpu_ms", 2), ("engine_ms", 2))
_PROTOCOLS = {"split": "split stream", "bare": "raw bytes", "oip": "OIP"}


def serve_lines(result: ServeBenchResult) -> Iterator[str]:
    """The report, line by line."""
    config, scores = result.config, scores_of(result)
    yield f"Measured on {result.machine}; every figure below is of this run."
    yield from caution(result.stolen_share)
    yield (
        f"{result.model}. Servers take turns, {config.rounds} rounds: medians, ± is largest - "
        "smallest. Server, devices and this bench share the machine's cores."
    )
    yield from (f"note: {note}" for note in result.notes)
    yield from ("", "a. What devices send")
    yield from _sent(result)
    yield from ("", f"b. The engine alone, {result.threads} threads, ms for one frame of a batch")
    yield from _engine(result)
    yield from ("", "c. One device, one frame at a time")
    yield from _one(result, scores)
    yield from ("", f"d. {config.devices} devices in a closed loop, windows of 1 and {config.many}")
    yield from _closed(result)
    yield from (
        "",
        f"e. The most devices at {config.fps:g} frames/s of which 95 % of the frames are answered "
        f"within {config.slo_ms:g} ms",
    )
    yield from _at_slo(result)
    yield from ("", "f. Other servers of the whole model")
    yield from _peers(result, scores)
    yield from ("", "g. Idle devices")
    yield from _idle(result)
    yield from ("", "h. All frames that our service was sent")
    yield (
        f"   accepted {scores.accepted}, answered {scores.answered}, refused or failed with an "
        f"error {scores.errors}, lost {scores.lost}, answered with another's answer {scores.wrong}"
    )
    yield from _not_run(result)
    missed = [f"   {line}" for line in misses(result, scores)]
    yield from ("", "What misses its aim:", *(missed or ["   nothing that was measured"]))


def _sent(result: ServeBenchResult) -> Iterator[str]:
    cells = [
        (name, sent.candidate, f"{sent.macs_share:.0%}", f"{sent.payload_bytes:.0f}")
        for name, group in result.sent.items()
        for sent in group
    ]
    yield from table(("", "candidate", "of the work before it", "bytes"), cells, left=2)
    if not result.batched:
        yield "   This bundle's tails take one frame at a time: nothing can be batched."


def _engine(result: ServeBenchResult) -> Iterator[str]:
    sizes = next(iter(result.engine.values())).sizes
    cells = []
    for sends, times in result.engine.items():
        for name, of in (("parts", times.parts_ms), ("one graph", times.whole_ms)):
            figures = [f"{of(size).median / size:.2f}" for size in sizes]
            cells.append((sends, name, *figures))
    headers = ("", "tail as", *(f"batch {size}" for size in sizes))
    yield from table(headers, cells, left=2)


def _one(result: ServeBenchResult, scores: Scores) -> Iterator[str]:
    cells = []
    for sends in (DEEPEST, FORTIETH, INPUT):
        bare = result.row(BARE, sends)
        base = None if bare is None else overhead_ms(result, bare)
        for row in _rows(result, sends):
            own = overhead_ms(result, row)
            figures = [_spread(row, ONE, name, 2) for name in _PERCENTILES]
            figures.append(number(own, 2))
            figures.append(number(own / base if own is not None and base else None, 2))
            figures += [_spread(row, ONE, name, 2) for name in _REPORTED]
            cells.append((*_named(row), *figures))
    headers = ("", "server", "by", "p50 ms", "p95", "p99", "over the engine", "/ bare",
               "queue", "decode", "run", "server CPU ms")  # fmt: skip
    yield from table(headers, cells, left=3)
    yield (
        "   over the engine: p50 less what the tail takes as one graph in a tight loop; / bare: to "
        "the bare loop's."
    )
    if scores.overhead_ms_p50 is not None:
        yield (
            f"   {len(result.pairs)} turns of {result.ours}, bare loop and engine right after each "
            f"other, {DEEPEST}: {scores.overhead_ms_p50:.2f} ms over the engine, "
            f"{number(scores.overhead_vs_bare_p50, 2)} of the bare loop's; latency "
            f"{number(scores.latency_vs_bare_p50, 2)} of the bare loop's"
        )


def _closed(result: ServeBenchResult) -> Iterator[str]:
    cells = []
    for sends in (DEEPEST, FORTIETH, INPUT, MIXED):
        for row in _rows(result, sends):
            figures: list[str] = []
            for kind in (FULL, MANY):
                figures.append(_rate(row, kind))
                figures += [_spread(row, kind, name, digits) for name, digits in _CLOSED]
            cells.append((*_named(row), *figures))
    once = ("answers/s", "p50 ms", "p95", "batch", "CPU ms", "engine ms")
    yield from table(("", "server", "by", *once, *once), cells, left=3)
    yield (
        "   CPU ms: processor time of the server's processes for an answer; engine ms: what the "
        "service reports, a batch's time divided by its frames."
    )


def _at_slo(result: ServeBenchResult) -> Iterator[str]:
    cells = []
    for sends in (DEEPEST, FORTIETH, INPUT, MIXED):
        for row in _rows(result, sends):
            devices = row.devices
            figures = [spread(devices, 0), _rate(row, AT_SLO)]
            figures += [_spread(row, AT_SLO, name, 1) for name in (*_PERCENTILES, "batch")]
            figures += [
                _spread(row, AT_SLO, name, 2) for name in ("server_cpu_ms", "client_cpu_ms")
            ]
            cells.append((*_named(row), *figures))
    headers = ("", "server", "by", "devices", "answers/s", "p50 ms", "p95", "p99", "batch",
               "CPU ms", "generator CPU ms")  # fmt: skip
    yield from table(headers, cells, left=3)


def _peers(result: ServeBenchResult, scores: Scores) -> Iterator[str]:
    cells = [
        (
            peer.name,
            peer.version,
            _PROTOCOLS[peer.ours_by],
            *(number(v, 2) for v in (peer.throughput_ratio, peer.closed_ratio, peer.p95_ratio)),
        )
        for peer in scores.peers
    ]
    headers = ("peer", "version", "ours by", "answers/s at the SLO, ours / theirs",
               "in a closed loop", "p95, ours / theirs")  # fmt: skip
    yield from table(headers, cells, left=3)
    if not cells:
        yield "   none was measured"
    elif any(peer.ours_by != "oip" for peer in scores.peers):
        yield (
            "   Same raw tensors up, same raw outputs down; ours on one stream for each device, "
            "theirs one ModelInfer call for each frame."
        )


def _idle(result: ServeBenchResult) -> Iterator[str]:
    for idle in result.idle:
        yield (
            f"   {idle.devices} devices, {idle.connected} connected to the end: "
            f"{idle.before_bytes / 1e6:.1f} MB before, {idle.after_bytes / 1e6:.1f} MB with them, "
            f"{idle.device_kb:.1f} KB each; {idle.cpu_share:.0%} of a core for their heartbeats"
        )
    before, after = result.open_files
    yield f"   The limit of open files was raised from {before} to {after} for this run."


def _not_run(result: ServeBenchResult) -> Iterator[str]:
    if result.not_run:
        yield from ("", "Not run:")
        yield from (f"   {name}: {why}" for name, why in result.not_run.items())


def _rows(result: ServeBenchResult, sends: str) -> list[Row]:
    return [row for row in result.rows if row.sends == sends]


def _named(row: Row) -> tuple[str, str, str]:
    return row.sends, row.server, _PROTOCOLS[row.protocol]


def _rate(row: Row, kind: str) -> str:
    return spread(row.answers_per_s(kind), 0)


def _spread(row: Row, kind: str, name: str, digits: int) -> str:
    return spread(row.figure(kind, name), digits)
