"""All figures of one run: what was measured here, and what was simulated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from isthmus_bench.edge.spread import Spread
from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.fleets import Kind
from isthmus_bench.scale.orders import ScaleLoad
from isthmus_bench.serve.tally import percentile
from isthmus_cloud.engines.batch_times import BatchTimes

P99_FRAMES = 200  # of which two are above it

__all__ = [
    "P99_FRAMES",
    "Case",
    "CaseTurn",
    "Costs",
    "Counts",
    "FleetRow",
    "HopRow",
    "Kills",
    "OpenTurn",
    "Overheads",
    "ScaleResult",
    "SizingRow",
    "TailRow",
    "TransportRow",
]


@dataclass(frozen=True, slots=True)
class TailRow:
    """A cut of the bundle: what is sent for it, and what its tail takes on one core, in ms by batch
    size; of batches of up to `knee`, a greater one pays."""

    cut: str
    macs_share: float
    payload_bytes: int
    took_ms: Mapping[int, float]
    knee: int


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """One open load: so many devices, as a share of what the fleet can answer."""

    share: float
    devices: int
    seed: int
    load: ScaleLoad


@dataclass(slots=True)
class FleetRow:
    """One kind of fleet, whose batches sleep for what `tail` says, or compute if that is None;
    round by round: one frame at a time, devices in a closed loop, and open loads. `closed_cpu_ms`
    and `open_cpu_ms` are the processor time of all front ends' own processes for an answer under
    these."""

    kind: Kind
    tail: BatchTimes | None = None
    one: list[ScaleLoad] = field(default_factory=list)
    closed: list[ScaleLoad] = field(default_factory=list)
    opened: list[OpenTurn] = field(default_factory=list)
    closed_cpu_ms: list[float] = field(default_factory=list)
    open_cpu_ms: list[float] = field(default_factory=list)

    @property
    def answers_per_s(self) -> Spread | None:
        """In the closed loop; None if that was not measured."""
        rates = [each.rate_per_s for each in self.closed]
        return Spread.of(rates) if rates else None

    @property
    def one_ms(self) -> Spread | None:
        """The median latency of one frame at a time; None if that was not measured."""
        medians = [each.load.p50_ms for each in self.one if each.load.p50_ms is not None]
        return Spread.of(medians) if medians else None

    @property
    def loads(self) -> list[ScaleLoad]:
        """All that were put on it."""
        return [*self.one, *self.closed, *(turn.load for turn in self.opened)]


@dataclass(frozen=True, slots=True)
class HopRow:
    """What devices send, real tails: median latency of one frame at a time in-process and on Ray,
    in pairs of turns, and the median of their differences; `loads` are all turns."""

    sends: str
    payload_bytes: float
    in_process_ms: float
    ray_ms: float
    hop_ms: Spread
    loads: Sequence[ScaleLoad]


@dataclass(frozen=True, slots=True)
class TransportRow:
    """A call of so many bytes to a replica that computes nothing: median latency by Serve's gRPC
    transport and by Ray's object store, in pairs of calls, and the difference of the medians."""

    call_bytes: int
    grpc_ms: Spread
    store_ms: Spread
    store_more_ms: Spread


@dataclass(frozen=True, slots=True)
class Kills:
    """Replicas were killed so many times under the `load`; `hurt` of the kills cost calls that were
    under way. Of `recovered_s` each is the time until as many replicas' processes as before ran
    again; then they load their tails."""

    count: int
    hurt: int
    devices: int
    load: ScaleLoad
    recovered_s: Sequence[float]


@dataclass(frozen=True, slots=True)
class CaseTurn:
    """The same load, measured and simulated: latencies in ms, rising, infinite without answer."""

    real_ms: Sequence[float]
    sim_ms: Sequence[float]

    def real(self, share: float) -> float | None:
        """The percentile; None if it is infinite."""
        return percentile(self.real_ms, share)

    def simulated(self, share: float) -> float | None:
        """Likewise."""
        return percentile(self.sim_ms, share)

    @property
    def p99_error(self) -> float | None:
        """Of the simulated p99 as a share of the measured one; None without one of them."""
        real, sim = self.real(0.99), self.simulated(0.99)
        return None if real is None or sim is None else sim / real - 1


@dataclass(frozen=True, slots=True)
class Case:
    """One open load on one kind of fleet, turn by turn."""

    fleet: str
    share: float
    devices: int
    turns: Sequence[CaseTurn]

    @property
    def together(self) -> CaseTurn:
        """All turns as one: a turn of some hundred frames has no p99 to speak of."""
        real = sorted(chain(*(turn.real_ms for turn in self.turns)))
        return CaseTurn(real, sorted(chain(*(turn.sim_ms for turn in self.turns))))

    @property
    def p99_error(self) -> float | None:
        """Of all turns together; None of fewer than `P99_FRAMES`, or where it is not known."""
        together = self.together
        return together.p99_error if len(together.real_ms) >= P99_FRAMES else None

    @property
    def worst_turn(self) -> float | None:
        """The greatest error of a single turn, with its sign; None where one of them has none."""
        errors = [turn.p99_error for turn in self.turns]
        known = [error for error in errors if error is not None]
        return max(known, key=abs) if known and len(known) == len(errors) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingRow:
    """A fleet of `devices` that send for a cut, simulated: the fewest replicas, in `cells` of a
    front end each, whose p99 of the cloud's part is within the limit; None: no number is enough,
    and the figures are those of more than enough.

    The cloud's part is that of devices whose frames arrive as they are sent; the whole way (`end`)
    is over links, on which a share of the frames is not sent since others are still on their way.
    """

    cut: str
    batching: bool
    devices: int
    cells: int
    replicas: int | None
    cloud_p50_ms: float | None
    cloud_p99_ms: float | None
    end_p50_ms: float | None
    end_p99_ms: float | None
    busy_share: float
    mean_batch: float
    unsent_share: float
    uplink_mbps: float
    price_per_1000: float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the frames of all loads."""

    accepted: int
    answered: int
    refused: int
    unsent: int
    lost: int
    doubled: int
    wrong: int
    late: int

    @classmethod
    def of(cls, loads: Sequence[ScaleLoad]) -> "Counts":
        """All together."""
        return cls(
            accepted=sum(each.load.accepted for each in loads),
            answered=sum(each.load.answered for each in loads),
            refused=sum(sum(each.load.errors.values()) for each in loads),
            unsent=sum(each.load.unsent for each in loads),
            lost=sum(each.load.lost for each in loads),
            doubled=sum(each.doubled for each in loads),
            wrong=sum(each.load.wrong for each in loads),
            late=sum(each.late for each in loads),
        )


@dataclass(frozen=True, slots=True)
class Overheads:
    """What one frame takes beside its batch, one at a time: in-process, and on Ray above that (0
    where there was none). Each figure is one frame's, in ms."""

    base_ms: tuple[float, ...]
    hop_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a frame takes beside its tail: of a front end's processor, of a replica, and as
    `Overheads` says."""

    front_end_ms: float
    replica_ms: float
    overheads: Overheads


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleResult:
    """Everything; `not_run` says why something was not, by name. The tail of `slept` was stretched
    by `factor` for `fleets`, where its batches took `sleeping`; `real` fleets ran it as it is.
    Short tails took `short`. Sizing was simulated with `costs`, of a front end and replicas on
    `ray` or else of plain processes."""

    machine: str
    stolen_share: float
    config: ScaleConfig
    model: str
    slept: TailRow
    factor: float
    sleeping: BatchTimes
    short: BatchTimes
    tails: Sequence[TailRow]
    fleets: Sequence[FleetRow]
    real: Sequence[FleetRow]
    hops: Sequence[HopRow]
    transports: Sequence[TransportRow]
    kills: Kills | None
    cases: Sequence[Case]
    costs: Costs
    sizing: Sequence[SizingRow]
    ray: bool
    links: Sequence[str]
    not_run: Mapping[str, str]
    notes: Sequence[str] = ()

    def fleet(self, name: str) -> FleetRow | None:
        """The row of a kind, if it was measured."""
        return next((row for row in self.fleets if row.kind.name == name), None)
