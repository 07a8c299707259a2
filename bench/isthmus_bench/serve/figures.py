"""All figures of one run: what was served how, under which load, round by round."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus_bench.edge.spread import Spread
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.orders import Load, Times

ONE, FULL, MANY, AT_SLO = "one", "full", "many", "at_slo"
KINDS = (ONE, FULL, MANY, AT_SLO)

__all__ = [
    "AT_SLO",
    "FULL",
    "KINDS",
    "MANY",
    "ONE",
    "EngineTimes",
    "Idle",
    "Pair",
    "PeerInfo",
    "Row",
    "Sent",
    "ServeBenchResult",
]


@dataclass(frozen=True, slots=True)
class Sent:
    """One candidate that devices send."""

    candidate: str
    macs_share: float
    payload_bytes: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way to serve (`server`) what devices send (`sends`), asked by `protocol`; `is_ours`: by
    our service.

    `loads` by kind, one of each round: one device with one frame at a time; devices that keep a
    window of one, or of many, frames full; and the greatest open load that was borne, of
    `devices_at_slo` devices (0: not even one was; then there is no load of that round).
    `all_loads` are those and all others that were put on it.
    """

    server: str
    sends: str
    protocol: str
    is_ours: bool = False
    loads: Mapping[str, list[Load]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    devices_at_slo: list[int] = field(default_factory=list)
    all_loads: list[Load] = field(default_factory=list)

    def figure(self, kind: str, name: str) -> Spread | None:
        """The median over rounds of a field of `Load`; None where some round has none."""
        values: list[float | None] = [getattr(load, name) for load in self.loads[kind]]
        known = [value for value in values if value is not None]
        return Spread.of(known) if known and len(known) == len(values) else None

    def answers_per_s(self, kind: str) -> Spread | None:
        """The rate of answers; at the SLO, 0 where not even one device was borne."""
        found = [load.answers_per_s for load in self.loads[kind]]
        if kind == AT_SLO:
            found += [0.0] * (len(self.devices_at_slo) - len(found))
        return Spread.of(found) if found else None

    @property
    def devices(self) -> Spread | None:
        """The devices at the SLO."""
        return Spread.of(self.devices_at_slo) if self.devices_at_slo else None


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """The engine alone, round by round."""

    rounds: tuple[Times, ...]

    def parts_ms(self, size: int) -> Spread:
        """A batch of this size through all parts."""
        return Spread.of([times.parts_ms[size] for times in self.rounds])

    def whole_ms(self, size: int) -> Spread:
        """A batch of this size through the tail as one graph."""
        return Spread.of([times.whole_ms[size] for times in self.rounds])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that were timed."""
        return tuple(self.rounds[0].parts_ms)


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn right after the other, smallest tail: median latency of one device with one frame at
    a time, of ours and of the bare loop, and what the engine takes for the tail as one graph."""

    ours_ms: float
    bare_ms: float
    engine_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """A service before and after so many devices came, of which `connected` stayed to the end."""

    devices: int
    connected: int
    before_bytes: int
    after_bytes: int
    cpu_share: float

    @property
    def device_kb(self) -> float:
        """By how much it grew for each, in KB of 1000 bytes."""
        return (self.after_bytes - self.before_bytes) / self.devices / 1e3


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer that was served."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBenchResult:
    """Everything; `ours` is the server by which we stand beside others, `not_run` says why some
    were not, by name. `threads` are those of one run of a tail. `open_files`: the limits before
    and after it was raised."""

    machine: str
    stolen_share: float
    config: ServeBenchConfig
    model: str
    batched: bool
    sent: Mapping[str, tuple[Sent, ...]]
    ours: str
    threads: int
    engine: Mapping[str, EngineTimes]
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    idle: tuple[Idle, ...]
    peers: tuple[PeerInfo, ...]
    not_run: Mapping[str, str]
    open_files: tuple[int, int]
    notes: tuple[str, ...] = ()

    def row(self, server: str, sends: str, protocol: str = "") -> Row | None:
        """The row of a server, if it was measured."""
        for row in self.rows:
            if (row.server, row.sends) == (server, sends) and protocol in {"", row.protocol}:
                return row
        return None
