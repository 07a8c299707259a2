"""What the scale bench shows: tables for people."""

from collections.abc import Iterator, Sequence
from statistics import median

from isthmus_bench.cells import NONE, number, spread, table
from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.figures import P99_FRAMES, Counts, FleetRow, ScaleResult, SizingRow
from isthmus_bench.scale.real import COMPUTING_SHARE
from isthmus_bench.scale.scores import Scores, case_name, misses, scores_of
from isthmus_bench.scale.sizing import FRONT_END_SHARE, JITTER_MS, usual
from isthmus_bench.starvation import caution
from isthmus_cloud.replicas.settings import LARGE_CALL_BYTES

__all__ = ["scale_lines"]


def scale_lines(result: ScaleResult) -> Iterator[str]:
    """The report, line by line."""
    config, scores = result.config, scores_of(result)
    yield from _head(result)
    yield from ("", "a. The tails on one core, ms for a batch")
    yield from _tails(result)
    yield from ("", "b. Fleets whose tails sleep")
    yield from _fleets(result, scores)
    yield from ("", "c. The same with tails that compute: the cores are the limit")
    yield from _computing(result)
    yield from ("", "d. What a frame takes longer on Ray, one at a time, tails that compute")
    yield from _hops(result)
    yield from _transports(result)
    yield from ("", "e. Replicas that are killed")
    yield from _kills(result)
    yield from ("", "f. The simulation beside the real fleets, same devices, same phases")
    yield from _cases(result, scores)
    yield from (
        "",
        f"g. Simulated: replicas for a p99 of the cloud's part within {config.slo_ms:g} ms, "
        f"devices of {config.fps:g} frames/s",
    )
    yield from _sizing(result)
    yield from ("", "h. All frames of real fleets")
    yield (
        f"   accepted {scores.accepted}, answered {scores.answered}, refused with an error "
        f"{scores.refused}, lost {scores.lost}, answered twice {scores.doubled}, answered with "
        f"another's answer {scores.wrong}, late {scores.late}; due and never sent {scores.unsent}"
    )
    if result.not_run:
        yield from ("", "Not run:", *(f"   {what}: {why}" for what, why in result.not_run.items()))
    missed = [f"   {line}" for line in misses(scores)]
    yield from ("", "What misses its aim:", *(missed or ["   nothing that was measured"]))


def _head(result: ScaleResult) -> Iterator[str]:
    yield f"Measured on {result.machine}; every figure below is of this run."
    yield from caution(result.stolen_share)
    yield (
        f"{result.model}. Fleets take turns, {result.config.rounds} rounds: medians, ± is largest "
        "- smallest. Fleets, devices and this bench share the machine's cores."
    )
    yield from (f"note: {note}" for note in result.notes)


def _tails(result: ScaleResult) -> Iterator[str]:
    sizes = sorted({size for tail in result.tails for size in tail.took_ms})
    cells = [
        (
            tail.cut,
            f"{tail.macs_share:.0%}",
            str(tail.payload_bytes),
            str(tail.knee),
            *(number(tail.took_ms.get(size), 1) for size in sizes),
        )
        for tail in result.tails
    ]
    headers = ("cut", "work before it", "bytes", "pays up to", *(f"of {size}" for size in sizes))
    yield from table(headers, cells, left=1)
    slept = ", ".join(
        f"{ms:.0f} of {size}"
        for size, ms in zip(result.sleeping.sizes, result.sleeping.took_ms, strict=True)
    )
    yield (
        f"   In b, e and f the tail of {result.slept.cut} sleeps {result.factor:.1f} times as "
        f"long, ms: {slept} (short ones {result.short.ms(1):.0f} of 1); answers are right all the "
        "same."
    )


def _fleets(result: ScaleResult, scores: Scores) -> Iterator[str]:
    config = result.config
    cells = []
    for row in result.fleets:
        opened = [
            text
            for share in config.loads
            for turns in ([turn for turn in row.opened if turn.share == share],)
            for text in (
                str(turns[0].devices) if turns else NONE,
                _over([turn.load.load.p50_ms for turn in turns], 0),
                _over([turn.load.load.p99_ms for turn in turns], 0),
            )
        ]
        cells.append((*_named(row), *opened, *_ends(row)))
    at = (f"at {share:.0%}: devices" for share in config.loads)
    opened_headers = [text for devices in at for text in (devices, "p50 ms", "p99")]
    headers = ("", "one at a time, p50 ms", "answers/s", *opened_headers, *_ENDS)
    yield from table(headers, cells, left=1)
    yield (
        f"   answers/s: {config.devices} devices with windows of {config.window}; then open loads "
        f"of {config.fps:g} frames/s a device, at shares of that."
    )
    if scores.scaling_2 is not None:
        yield f"   2 replicas on Ray answer {scores.scaling_2:.2f} times as much as 1"
    if scores.scaling_processes_2 is not None:
        yield f"   2 processes answer {scores.scaling_processes_2:.2f} times as much as 1"


def _computing(result: ScaleResult) -> Iterator[str]:
    cells = [
        (
            row.kind.name,
            spread(row.answers_per_s, 0),
            _over(row.closed_cpu_ms, 2),
            str(turn.devices),
            _over(row.open_cpu_ms, 2),
            number(turn.load.load.p50_ms, 1),
            number(turn.load.load.p99_ms, 1),
            *_ends(row),
        )
        for row in result.real
        for turn in row.opened
    ]
    at = f"at {COMPUTING_SHARE:.0%}: devices"
    headers = ("", "answers/s", "front ends' CPU ms each", at, "CPU ms each", "p50 ms", "p99",
               *_ENDS)  # fmt: skip
    yield from table(headers, cells, left=1)
    yield (
        "   Each tail computes on one thread; what devices and Ray itself use of the cores is not "
        "left. In-process the CPU is that of the tails, too."
    )


def _hops(result: ScaleResult) -> Iterator[str]:
    cells = [
        (
            row.sends,
            f"{row.payload_bytes:.0f}",
            f"{row.in_process_ms:.2f}",
            f"{row.ray_ms:.2f}",
            spread(row.hop_ms, 2),
        )
        for row in result.hops
    ]
    headers = ("", "bytes", "in-process p50 ms", "Ray p50 ms", "median of the differences")
    yield from table(headers, cells, left=1)
    if not cells:
        yield "   not measured"


def _transports(result: ScaleResult) -> Iterator[str]:
    """How calls of every size would cross; the service chooses by their size."""
    if not result.transports:
        return
    cells = [
        (
            str(row.call_bytes),
            spread(row.grpc_ms, 2),
            spread(row.store_ms, 2),
            spread(row.store_more_ms, 2),
        )
        for row in result.transports
    ]
    headers = ("bytes of a call", "gRPC p50 ms", "object store p50 ms", "difference")
    yield from table(headers, cells, left=1)
    yield (
        f"   A replica that answers at once. Calls of {LARGE_CALL_BYTES} bytes and more go through "
        "the object store."
    )


def _kills(result: ScaleResult) -> Iterator[str]:
    kills = result.kills
    if kills is None:
        yield "   not measured"
        return
    counts = Counts.of([kills.load])
    errors = ", ".join(f"{n} {kind}" for kind, n in kills.load.load.errors.items()) or "none"
    yield (
        f"   {kills.count} times `kill -9` under {kills.devices} devices: accepted "
        f"{counts.accepted}, answered {counts.answered}, refused {counts.refused} ({errors}), lost "
        f"{counts.lost}, answered twice {counts.doubled}, late {counts.late}; {kills.hurt} of the "
        "kills cost calls that were under way"
    )
    if kills.recovered_s:
        yield (
            f"   p50 {number(kills.load.load.p50_ms, 0)} ms, p99 "
            f"{number(kills.load.load.p99_ms, 0)} ms, at most {kills.load.gap_ms:.0f} ms without "
            f"an answer; a new process after {median(kills.recovered_s):.1f} s, which then loads"
        )


def _cases(result: ScaleResult, scores: Scores) -> Iterator[str]:
    cells = [
        (
            case_name(case),
            str(len(all_turns.real_ms)),
            *(
                number(value, 0)
                for share in (0.5, 0.99)
                for value in (all_turns.real(share), all_turns.simulated(share))
            ),
            NONE if case.p99_error is None else f"{case.p99_error:+.0%}",
            NONE if case.worst_turn is None else f"{case.worst_turn:+.0%}",
        )
        for case in result.cases
        for all_turns in (case.together,)
    ]
    headers = ("", "frames", "real p50 ms", "simulated", "real p99 ms", "simulated", "p99's error",
               "in the worst turn")  # fmt: skip
    yield from table(headers, cells, left=1)
    if scores.sim_vs_real_p99_error is not None:
        yield (
            f"   The greatest error is {scores.sim_vs_real_p99_error:.0%}, of all turns together "
            f"({P99_FRAMES} frames or more); each turn has other phases of devices. Nothing that "
            "is simulated here was measured in these loads."
        )


def _sizing(result: ScaleResult) -> Iterator[str]:
    config, costs = result.config, result.costs
    made_up = "made-up " if config.traces is None else ""
    headers = ("cut", "batches", "devices", "front ends", "replicas", "busy", "mean batch",
               "cloud p50 ms", "p99", "end p50 ms", "p99", "not sent", "up Mbit/s",
               "price of 1,000")  # fmt: skip
    yield from table(headers, [_size(row, ray=result.ray) for row in result.sizing], left=2)
    hop_ms = costs.overheads.hop_ms
    yield (
        f"   Counted with: {costs.front_end_ms:.2f} ms of a front end's processor for a frame, "
        f"{costs.replica_ms:.2f} ms of a replica beside the tail for a frame, "
        f"{median(costs.overheads.base_ms):.2f} ms more for a frame and "
        f"{median(hop_ms):.2f} ms for a call (medians of b and c; of {len(hop_ms)} calls the "
        f"slowest {len(hop_ms) - len(usual(hop_ms))}, of up to {max(hop_ms):.0f} ms, are left "
        "out). A replica runs one batch at a time on one core of this machine."
    )
    yield from _cells(result)
    yield (
        f"   Cloud: from a frame's arrival, frames within {JITTER_MS:g} ms of their time. End: "
        f"from when it was due, over the {made_up}links {', '.join(result.links)}, whose outages "
        "are in its p99. A head's time is not in it."
    )
    yield (
        f"   Prices are given: {config.replica_price:g} an hour for a replica, "
        f"{config.front_end_price:g} for a front end (--replica-price, --front-end-price)."
    )


def _cells(result: ScaleResult) -> Iterator[str]:
    config = result.config
    if result.ray:
        yield (
            f"   A front end gets at most {config.cell_devices} devices and {FRONT_END_SHARE:.0%} "
            "of its processor to do; larger fleets are so many equal cells of a front end and its "
            "replicas, which know nothing of each other: one of them is simulated."
        )
    else:
        yield (
            "   Without Ray: plain processes with tails of their own, which devices are spread "
            f"over evenly; a cell has {config.cell_devices} devices at most."
        )
    yield "   Just so many that the limit is kept: add what may fail, and what may come."


def _size(row: SizingRow, *, ray: bool) -> tuple[str, ...]:
    return (
        row.cut,
        "yes" if row.batching else "no",
        str(row.devices),
        str(row.cells) if ray else NONE,
        "none is enough" if row.replicas is None else str(row.replicas),
        f"{row.busy_share:.0%}",
        f"{row.mean_batch:.1f}",
        number(row.cloud_p50_ms, 0),
        number(row.cloud_p99_ms, 0),
        number(row.end_p50_ms, 0),
        number(row.end_p99_ms, 0),
        f"{row.unsent_share:.1%}",
        f"{row.uplink_mbps:.0f}",
        number(row.price_per_1000, 6),
    )


_ENDS = ("answered", "refused", "lost", "twice", "wrong")


def _ends(row: FleetRow) -> tuple[str, ...]:
    counts = Counts.of(row.loads)
    values = (counts.answered, counts.refused, counts.lost, counts.doubled, counts.wrong)
    return tuple(map(str, values))


def _named(row: FleetRow) -> tuple[str, str, str]:
    return row.kind.name, spread(row.one_ms, 1), spread(row.answers_per_s, 1)


def _over(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return spread(Spread.of(known), digits) if known and len(known) == len(values) else NONE
