"""The measurements of the link's bench, each on a link of its own."""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from statistics import fmean, median, pstdev

from isthmus_bench.link.kernel import KernelLink
from isthmus_bench.link.rig import Rig, direct_pair
from isthmus_bench.link.rows import AskedMeasured, HalfOpenRow, JitterRow, StallRow, TraceRow
from isthmus_bench.link.streaming import (
    Arrival,
    Pair,
    gaps_s,
    mbit_by_second,
    rate_mbps,
    stream,
)
from isthmus_bench.relay import LinkShape
from isthmus_bench.relay.delay import Delay
from isthmus_bench.relay.rates import TraceRate
from isthmus_bench.traces import Trace

__all__ = [
    "half_open_row",
    "jitter_row",
    "kernel_rates",
    "outage_row",
    "relay_rates",
    "rtt_rows",
    "stall_row",
    "trace_rows",
]

_SETTLE_S = 0.3
_OUTAGE_MBPS = 5.0
_OUTAGE_AT_S = 0.3
_MESSAGE = bytes(1000)
_SILENCE_S = 0.5
_REFUSED_S = 5.0  # a refusal comes at once, but for a machine that stands still
_REFUSE_TRIES = 10
_TICK_S = 0.004


def relay_rates(
    rig: Rig, asked_mbps: Sequence[float], runs: int, seconds: float
) -> list[AskedMeasured]:
    """The relay's payload rates, uplink, with a sender that never runs dry."""
    rows = []
    for mbps in asked_mbps:
        rig.begin(LinkShape.symmetric(mbps))
        measured = [_streamed_mbps(rig.join, seconds) for _ in range(runs)]
        rows.append(AskedMeasured(mbps, tuple(measured)))
    return rows


def kernel_rates(
    asked_mbps: Sequence[float], runs: int, seconds: float, congestion: str
) -> list[AskedMeasured]:
    """The same over `tc tbf`. Raises `LinkError` where this machine cannot have it."""
    rows = []
    with KernelLink(100.0, 100.0, congestion=congestion) as link, link.listen() as listener:

        def join() -> Pair:
            edge = link.connect(listener.getsockname()[1])
            return Pair(edge, listener.accept()[0])

        for mbps in asked_mbps:
            link.shape(mbps, mbps)
            measured = [_streamed_mbps(join, seconds) for _ in range(runs)]
            rows.append(AskedMeasured(mbps, tuple(measured)))
    return rows


def _streamed_mbps(join: Callable[[], Pair], seconds: float) -> float:
    with closing(join()) as pair:
        from_s = time.monotonic() + _SETTLE_S
        (arrivals,) = stream([pair], from_s + seconds)
    return rate_mbps(arrivals, from_s)


def rtt_rows(
    rig: Rig, asked_ms: Sequence[float], runs: int, pings: int
) -> tuple[float, list[AskedMeasured]]:
    """The median round trip of plain loopback, and what the relay adds to it; in ms."""
    with closing(direct_pair()) as pair:
        direct_ms = median(_round_trips_ms(pair, 10 * pings))
    rows = []
    for rtt_ms in asked_ms:
        rig.begin(LinkShape(rtt_ms=rtt_ms))
        with closing(rig.join()) as pair:
            medians = [median(_round_trips_ms(pair, pings)) for _ in range(runs)]
        rows.append(AskedMeasured(rtt_ms, tuple(value - direct_ms for value in medians)))
    return direct_ms, rows


def jitter_row(rig: Rig, jitter_ms: float, rtt_ms: float, pings: int) -> JitterRow:
    """Round trips with jitter, less the median of those without.

    What was asked is known for each of them, because the draws have a seed.
    """
    shape = LinkShape(rtt_ms=rtt_ms, jitter_ms=jitter_ms)
    rig.begin(LinkShape(rtt_ms=rtt_ms))
    with closing(rig.join()) as pair:
        still_ms = median(_round_trips_ms(pair, pings // 3))
        rig.relay.shape(shape)
        more_ms = [value - still_ms for value in _round_trips_ms(pair, pings)]
    asked_ms = _drawn_ms(shape, pings)
    errors_ms = [abs(b - a) for a, b in zip(asked_ms, more_ms, strict=True)]
    return JitterRow(
        jitter_ms=jitter_ms,
        pings=pings,
        asked_mean_ms=fmean(asked_ms),
        mean_ms=fmean(more_ms),
        asked_deviation_ms=pstdev(asked_ms),
        deviation_ms=pstdev(more_ms),
        error_ms=median(errors_ms),
    )


def _drawn_ms(shape: LinkShape, pings: int) -> list[float]:
    """What jitter adds to each round trip of one small message each way."""
    ways = [Delay(shape, direction, 0.0) for direction in range(2)]
    far_apart_s = [float(number) for number in range(pings)]
    trips_s = [sum(way.due_s(at_s) - at_s for way in ways) for at_s in far_apart_s]
    return [1e3 * trip_s - shape.rtt_ms for trip_s in trips_s]


def _round_trips_ms(pair: Pair, pings: int) -> list[float]:
    trips_ms = []
    for _ in range(pings):
        begin_s = time.monotonic()
        pair.edge.sendall(b"?")
        pair.cloud.recv(1)
        pair.cloud.sendall(b"!")
        pair.edge.recv(1)
        trips_ms.append(1e3 * (time.monotonic() - begin_s))
    return trips_ms


def outage_row(rig: Rig, asked_s: float, runs: int) -> AskedMeasured:
    """The longest gap in a stream that a script interrupts."""
    dead = {"uplink_mbps": 0, "downlink_mbps": 0}
    alive = {"uplink_mbps": _OUTAGE_MBPS, "downlink_mbps": _OUTAGE_MBPS}
    measured = []
    rig.begin(LinkShape.symmetric(_OUTAGE_MBPS))
    for _ in range(runs):
        with closing(rig.join()) as pair:
            began_s = rig.relay.run_script([(_OUTAGE_AT_S, dead), (_OUTAGE_AT_S + asked_s, alive)])
            (arrivals,) = stream([pair], began_s + asked_s + 3 * _OUTAGE_AT_S)
        measured.append(max(gaps_s(arrivals), default=0.0))
    return AskedMeasured(asked_s, tuple(measured))


def stall_row(rig: Rig, stalls_per_s: float, stall_ms: float, seconds: float) -> StallRow:
    """Gaps of half a stall or more among small messages that leave every 4 ms."""
    rig.begin(LinkShape())
    with closing(rig.join()) as pair:
        rig.relay.shape(LinkShape(stalls_per_s=stalls_per_s, stall_ms=stall_ms))
        arrivals = _ticked(pair, seconds)
    lengths_ms = [1e3 * gap_s for gap_s in gaps_s(arrivals) if 1e3 * gap_s >= stall_ms / 2]
    return StallRow(
        seconds=seconds,
        asked_count=seconds / (1 / stalls_per_s + stall_ms / 1e3),
        count=len(lengths_ms),
        length_ms=AskedMeasured(stall_ms, tuple(lengths_ms) or (0.0,)),
    )


def _ticked(pair: Pair, seconds: float) -> list[Arrival]:
    arrivals = []
    pair.cloud.settimeout(_TICK_S)
    end_s = time.monotonic() + seconds
    next_s = 0.0
    while (now_s := time.monotonic()) < end_s:
        if now_s >= next_s:
            pair.edge.sendall(b".")
            next_s = now_s + _TICK_S
        try:
            size_bytes = len(pair.cloud.recv(4096))
        except TimeoutError:
            continue
        arrivals.append(Arrival(time.monotonic(), size_bytes))
    return arrivals


def half_open_row(rig: Rig) -> HalfOpenRow:
    """Bytes both ways on an old connection and up on a new one, while nothing may pass."""
    rig.begin(LinkShape())
    with closing(rig.join()) as old:
        _round_trips_ms(old, 1)
        rig.relay.half_open()
        with rig.dial() as new:
            for end in (old.edge, old.cloud, new):
                end.sendall(_MESSAGE)
            passed_bytes = sum(_heard(end) for end in (old.edge, old.cloud, new))
    rig.relay.half_open(False)
    with closing(rig.join()) as pair:
        pair.edge.sendall(_MESSAGE)
        after_bytes = _heard(pair.cloud)
    rig.relay.refuse()
    refused = sum(_is_refused(rig) for _ in range(_REFUSE_TRIES))
    rig.relay.refuse(False)
    return HalfOpenRow(
        sent_bytes=3 * len(_MESSAGE),
        passed_bytes=passed_bytes,
        after_sent_bytes=len(_MESSAGE),
        after_bytes=after_bytes,
        refuse_tries=_REFUSE_TRIES,
        refused=refused,
    )


def _heard(end: socket.socket) -> int:
    """How many bytes come until there is silence."""
    end.settimeout(_SILENCE_S)
    size_bytes = 0
    try:
        while data := end.recv(65536):
            size_bytes += len(data)
    except TimeoutError:
        pass
    return size_bytes


def _is_refused(rig: Rig) -> bool:
    try:
        with rig.dial() as edge:
            edge.settimeout(_REFUSED_S)
            return edge.recv(1) == b"never"
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def trace_rows(traces: Sequence[Trace], seconds: int) -> list[TraceRow]:
    """The middle `seconds` of each trace, all at once, each over a relay of its own."""
    parts = [trace.excerpt(max(0.0, (trace.duration_s - seconds) / 2), seconds) for trace in traces]
    with ExitStack() as stack:
        rigs = [stack.enter_context(Rig()) for _ in parts]
        pairs = [stack.enter_context(closing(rig.join())) for rig in rigs]
        for rig in rigs:
            rig.relay.shape(LinkShape.symmetric(0.0))
        began_s = [rig.relay.play(part, rtt_ms=0.0) for rig, part in zip(rigs, parts, strict=True)]
        arrivals = stream(pairs, max(began_s) + seconds)
    rows = []
    for trace, part, at_s, came in zip(traces, parts, began_s, arrivals, strict=True):
        rate = TraceRate(part, 0.0)
        asked = [1e-6 * rate.bits_between(second, second + 1) for second in range(seconds)]
        delivered = mbit_by_second(came, at_s, seconds)
        rows.append(
            TraceRow(name=trace.name, asked_mbit=tuple(asked), delivered_mbit=tuple(delivered))
        )
    return rows
