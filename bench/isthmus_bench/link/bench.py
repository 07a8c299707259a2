"""`isthmus bench link`: how true the link emulator is to what it is asked for.

Every other figure of this project that names a link stands on these.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus import ConfigError, describe_machine
from isthmus.errors import LinkError
from isthmus_bench.awake import Awake
from isthmus_bench.link.kernel import why_not
from isthmus_bench.link.measuring import (
    half_open_row,
    jitter_row,
    kernel_rates,
    outage_row,
    relay_rates,
    rtt_rows,
    stall_row,
    trace_rows,
)
from isthmus_bench.link.rig import Rig
from isthmus_bench.link.rows import AskedMeasured, HalfOpenRow, JitterRow, StallRow, TraceRow
from isthmus_bench.starvation import StolenTime
from isthmus_bench.traces import Trace, builtin_traces

__all__ = ["LinkBenchConfig", "LinkBenchResult", "run_link_bench"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkBenchConfig:
    """What is asked of the emulator. Rates are measured for `rate_s`, `runs` times, and so on.

    `kernel` false leaves out the rates over `tc tbf`, whose senders use `congestion`.
    """

    rates_mbps: tuple[float, ...] = (0.2, 1.0, 5.0, 20.0, 50.0, 100.0)
    rtts_ms: tuple[float, ...] = (0.0, 20.0, 40.0, 120.0)
    outages_s: tuple[float, ...] = (0.5, 2.0)
    runs: int = 3
    rate_s: float = 1.0
    pings: int = 15
    jitter_ms: float = 20.0
    jitter_rtt_ms: float = 20.0
    jitter_pings: int = 120
    stalls_per_s: float = 2.0
    stall_ms: float = 200.0
    stall_s: float = 6.0
    traces: tuple[Trace, ...] = field(default_factory=builtin_traces)
    trace_s: int = 20
    kernel: bool = True
    congestion: str = "cubic"

    def __post_init__(self) -> None:
        if self.runs < 1 or self.pings < 3 or self.jitter_pings < 3 or self.trace_s < 1:
            raise ConfigError("needed: 1 run or more, 3 pings or more, and 1 s or more of a trace")
        wrong = [mbps for mbps in self.rates_mbps if not 0 < mbps <= 1000]
        if wrong:
            raise ConfigError(f"a rate of {wrong[0]} Mbit/s; give rates above 0 and up to 1000")

    @classmethod
    def quick(cls) -> "LinkBenchConfig":
        """Fewer rates and runs, and 6 s of each trace: half a minute."""
        return cls(
            rates_mbps=(1.0, 20.0, 100.0),
            rtts_ms=(0.0, 40.0),
            outages_s=(0.5,),
            runs=2,
            rate_s=0.6,
            pings=8,
            jitter_pings=40,
            stall_s=3.0,
            trace_s=6,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkBenchResult:
    """All of one run; `kernel_rates` is empty where `kernel_missing` says why.

    Rates in Mbit/s, round trips in ms, outages in s; `direct_ms` is a round trip without relay.
    """

    machine: str
    stolen_share: float
    runs: int
    rates: tuple[AskedMeasured, ...]
    direct_ms: float
    rtts: tuple[AskedMeasured, ...]
    jitter: JitterRow
    stalls: StallRow
    outages: tuple[AskedMeasured, ...]
    half_open: HalfOpenRow
    traces: tuple[TraceRow, ...]
    kernel_rates: tuple[AskedMeasured, ...]
    kernel_missing: str | None
    congestion: str

    @property
    def worst_rate_error(self) -> float:
        """The relay's largest error over all rates, as a share."""
        return max(abs(row.error) for row in self.rates)


def run_link_bench(config: LinkBenchConfig, say: Say) -> LinkBenchResult:
    """Measure everything, one after another; `say` gets a line for each part."""
    with Awake():
        return _measured(config, say)


def _measured(config: LinkBenchConfig, say: Say) -> LinkBenchResult:
    stolen = StolenTime()
    with Rig() as rig:
        say(f"relay: {len(config.rates_mbps)} rates")
        rates = relay_rates(rig, config.rates_mbps, config.runs, config.rate_s)
        say("relay: round trips, jitter, stalls")
        direct_ms, rtts = rtt_rows(rig, config.rtts_ms, config.runs, config.pings)
        jitter = jitter_row(rig, config.jitter_ms, config.jitter_rtt_ms, config.jitter_pings)
        stalls = stall_row(rig, config.stalls_per_s, config.stall_ms, config.stall_s)
        say("relay: outages, half-open, refused")
        outages = [outage_row(rig, seconds, config.runs) for seconds in config.outages_s]
        half_open = half_open_row(rig)
    say(f"relay: {config.trace_s} s of {len(config.traces)} traces")
    traces = trace_rows(config.traces, config.trace_s)
    kernel, missing = _kernel(config, say)
    return LinkBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        runs=config.runs,
        rates=tuple(rates),
        direct_ms=direct_ms,
        rtts=tuple(rtts),
        jitter=jitter,
        stalls=stalls,
        outages=tuple(outages),
        half_open=half_open,
        traces=tuple(traces),
        kernel_rates=tuple(kernel),
        kernel_missing=missing,
        congestion=config.congestion,
    )


def _kernel(config: LinkBenchConfig, say: Say) -> tuple[list[AskedMeasured], str | None]:
    """The rates over tc, or why there are none."""
    missing = why_not() if config.kernel else "it was left out"
    if missing is not None:
        return [], missing
    say(f"tc tbf: {len(config.rates_mbps)} rates")
    try:
        return kernel_rates(config.rates_mbps, config.runs, config.rate_s, config.congestion), None
    except LinkError as error:
        return [], str(error)
