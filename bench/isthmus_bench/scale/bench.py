"""`isthmus bench scale`: what replicas and front ends gain, measured here, and simulated beyond.

Real fleets take turns, round after round: plain processes side by side, and front ends of a Ray
cluster of one node. Their tails sleep for as long as they would compute, stretched, so that two
cores can hold several replicas; answers are checked. What was measured there runs in a simulation:
first the same loads, for its error, then fleets of any size.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace

from isthmus import ConfigError, describe_machine
from isthmus_bench.awake import Awake
from isthmus_bench.processes import EdgeProcess
from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import FleetRow, HopRow, Kills, ScaleResult, TransportRow
from isthmus_bench.scale.fleets import (
    IN_PROCESS,
    KINDS,
    RAY_ONE,
    RAY_TWO,
    RAY_TWO_FRONT_ENDS,
    Fleet,
    Kind,
    Place,
    RayCluster,
    why_no_ray,
)
from isthmus_bench.scale.hops import hops_of
from isthmus_bench.scale.kills import kill_replicas
from isthmus_bench.scale.real import COMPUTING_SHARE, LOADER, Measurer
from isthmus_bench.scale.simulation.uplink import Road
from isthmus_bench.scale.sizing import sized
from isthmus_bench.scale.subject import Subject, make_subject
from isthmus_bench.scale.transport import TRANSPORT, TransportOrder, transports_of
from isthmus_bench.scale.validation import costs_of, validated
from isthmus_bench.serve.measuring import Hand
from isthmus_bench.starvation import StolenTime
from isthmus_bench.traces import Trace, builtin_traces, shared_traces

Say = Callable[[str], None]
GiveHand = Callable[[str], AbstractContextManager[Hand]]

__all__ = ["run_scale_bench"]


def run_scale_bench(
    config: ScaleConfig,
    say: Say,
    kinds: Sequence[Kind] = KINDS,
    hand: GiveHand = lambda module: EdgeProcess({}, module),
) -> ScaleResult:
    """Measure and simulate everything; `say` gets a line for each step.

    `kinds` are the fleets, `hand` starts the process with the devices. Leaves no processes behind;
    bundle and frames stay in the work folder. ConfigError or BundleError if there is nothing to
    serve, LinkError if a fleet fails.
    """
    config = replace(config, work=config.work.absolute())
    links, stolen, no_ray = _links(config), StolenTime(), why_no_ray(wanted=config.ray)
    subject = make_subject(config, say)
    place = Place(subject.path, config.work / "logs", subject.tables_path)
    with ExitStack() as stack:
        generator = stack.enter_context(hand(LOADER))
        stack.enter_context(Awake() if config.awake else nullcontext())
        if no_ray is None:
            say("starting a Ray cluster of this machine")
            cluster = RayCluster.up(stack, place.logs, place.table, say)
            place = replace(place, cluster=cluster)
        left_out = () if config.whole else (RAY_TWO_FRONT_ENDS,)
        taking_part = [
            kind for kind in kinds if not (kind.ray and no_ray) and kind.name not in left_out
        ]
        run = _Run(config, subject, place, Measurer(config, generator, subject), say)
        run.all_rounds(taking_part)
        run.calls_alone(hand)
    return run.result(links, stolen.share(), {"Ray": no_ray} if no_ray else {})


@dataclass(slots=True)
class _Run:
    """What is measured, and what was found so far."""

    config: ScaleConfig
    subject: Subject
    place: Place
    measurer: Measurer
    say: Say
    fleets: list[FleetRow] = field(default_factory=list)
    real: list[FleetRow] = field(default_factory=list)
    hops: list[HopRow] = field(default_factory=list)
    transports: list[TransportRow] = field(default_factory=list)
    kills: Kills | None = None

    def all_rounds(self, kinds: Sequence[Kind]) -> None:
        """Fleets whose tails sleep, round after round, each round begins with another; then those
        that compute."""
        short, usual = self.subject.short, self.subject.sleeping
        self.fleets = [FleetRow(kind, short if kind.short else usual) for kind in kinds]
        for number in range(self.config.rounds):
            first = number * len(kinds) // self.config.rounds
            for row in (*self.fleets[first:], *self.fleets[:first]):
                self._round(row, number)
        self._compute({kind.name: kind for kind in kinds})

    def calls_alone(self, hand: GiveHand) -> None:
        """Calls of a replica without a front end, by either transport."""
        if self.place.cluster is None:
            return
        self.say("calls of a replica by gRPC and by the object store")
        order = TransportOrder(
            address=self.place.cluster.address,
            bundle=str(self.subject.path),
            turns=self.config.pairs,
        )
        with hand(TRANSPORT) as front_end:
            self.transports += transports_of(front_end, order)

    def result(
        self, links: Sequence[Trace], stolen_share: float, not_run: dict[str, str]
    ) -> ScaleResult:
        """What was measured, and what is simulated from it."""
        config, subject = self.config, self.subject
        self.say("simulating the same loads")
        cases = validated(self.fleets, self.real, config)
        costs, ray = costs_of(self.fleets, self.real), self.place.cluster is not None
        return ScaleResult(
            machine=describe_machine(),
            stolen_share=stolen_share,
            config=config,
            model=subject.model,
            slept=subject.slept,
            factor=subject.tables.usual.factor,
            sleeping=subject.sleeping,
            short=subject.short,
            tails=subject.tails,
            fleets=tuple(self.fleets),
            real=tuple(self.real),
            hops=tuple(self.hops),
            transports=tuple(self.transports),
            kills=self.kills,
            cases=tuple(cases),
            costs=costs,
            sizing=tuple(sized(subject.tails, costs, links, config, self.say, ray=ray)),
            ray=ray,
            links=tuple(trace.name for trace in links),
            not_run=not_run,
            notes=subject.notes,
        )

    def _round(self, row: FleetRow, number: int) -> None:
        self.say(f"round {number + 1}/{self.config.rounds}: {row.kind.name}")
        is_last = number == self.config.rounds - 1
        with self.place.start(row.kind, sleeps=True) as fleet:
            row.one.append(self.measurer.one(fleet, self.config.seconds))
            self.measurer.closed(row, fleet)
            self.measurer.open_loads(row, fleet, self.config.loads, number)
            if is_last and row.kind.name == RAY_TWO and self.config.kills:
                order = self.measurer.closed_order(fleet)  # or many kills would hit idle replicas
                generator = self.measurer.generator
                self.kills = kill_replicas(fleet, generator, order, self.config.kills, self.say)

    def _compute(self, kinds: Mapping[str, Kind]) -> None:
        """The tail as it is: in a closed loop, where the processor is the limit, with cameras, and
        for the hop, in-process and on Ray side by side."""
        with ExitStack() as stack:
            fleets = {
                name: stack.enter_context(self.place.start(kinds[name], sleeps=False))
                for name in (IN_PROCESS, RAY_ONE)
                if name in kinds
            }
            for fleet in fleets.values():
                self._closed(fleet)
            if len(fleets) == 2:
                self.say("in-process and Ray in short turns, with tails that compute")
                sent = self.subject.sent.items()
                self.hops += hops_of(self.measurer, fleets[IN_PROCESS], fleets[RAY_ONE], sent)
        if self.config.whole and RAY_TWO in kinds:
            with self.place.start(kinds[RAY_TWO], sleeps=False) as fleet:
                self._closed(fleet)

    def _closed(self, fleet: Fleet) -> None:
        self.say(f"{fleet.kind.name}, with tails that compute")
        self.real.append(FleetRow(fleet.kind))
        self.measurer.closed(self.real[-1], fleet)
        self.measurer.open_loads(self.real[-1], fleet, [COMPUTING_SHARE])


def _links(config: ScaleConfig) -> tuple[Trace, ...]:
    """ConfigError if the folder has none, or one on which nothing passes."""
    if config.traces is None:
        return builtin_traces()
    if not config.traces.is_dir():
        raise ConfigError(f"{config.traces}: there is no such folder of link traces")
    found = shared_traces(config.traces)
    if not found:
        raise ConfigError(f"{config.traces}: no index.json names a trace there")
    for trace in found:
        Road(trace)
    return found
