"""`isthmus bench serve`: rate, latency, processor time and memory of a service of many devices.

The service, the bare loop and other servers are processes of their own, and so are the devices: one
generator with all of them, over the loopback. All take turns, round after round: each server by
itself in closed loops, then all that are sent the same side by side, for the greatest load that
each bears. Figures are medians over rounds.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import msgspec

from isthmus import LinkError, describe_machine
from isthmus_bench.awake import Awake
from isthmus_bench.processes import EdgeProcess
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import BARE, Ask, Contestant, Field, contestants
from isthmus_bench.serve.figures import (
    EngineTimes,
    Idle,
    Pair,
    PeerInfo,
    Row,
    Sent,
    ServeBenchResult,
)
from isthmus_bench.serve.measuring import LOADER, Hand, Measurer, idle_of
from isthmus_bench.serve.open_files import allow_open_files, open_files_limit
from isthmus_bench.serve.orders import Times, TimesOrder
from isthmus_bench.serve.races import Runner, race
from isthmus_bench.serve.services import Server, is_model_ready
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED, Subject, make_subject
from isthmus_bench.starvation import StolenTime

Say = Callable[[str], None]
ENGINE = "isthmus_bench.serve.engine"
SIZES = (1, 2, 4, 8, 16)
_RUNS = 64  # of a batch of one
_BUSY_S = 60.0
_SPARE_FILES = 256  # that a process has open beside its devices

__all__ = ["run_serve_bench"]


def run_serve_bench(
    config: ServeBenchConfig,
    say: Say,
    field_of: Callable[[ServeBenchConfig, Subject, int, Say], Field] = contestants,
    hand: Callable[[str], AbstractContextManager[Hand]] = lambda module: EdgeProcess({}, module),
) -> ServeBenchResult:
    """Measure everything; `say` gets a line for each step.

    `field_of` says who takes part, `hand` starts the processes that load and that time. Leaves no
    processes behind; bundle, frames and environments stay in the work folder. ConfigError or
    BundleError if there is nothing to serve, LinkError if our own service fails.
    """
    config = replace(config, work=config.work.absolute())  # other servers run elsewhere
    stolen = StolenTime()
    before = open_files_limit()
    allowed = allow_open_files()
    subject = make_subject(config, say)
    threads = os.cpu_count() or 1
    taking_part = field_of(config, subject, threads, say)
    run = _Run(config, subject, taking_part, threads, say)
    with ExitStack() as stack:
        engine, generator = (stack.enter_context(hand(module)) for module in (ENGINE, LOADER))
        stack.enter_context(Awake() if config.awake else nullcontext())
        run.all_rounds(engine, generator, allowed)
    return run.result(stolen.share(), (before, allowed))


@dataclass(slots=True)
class _Run:
    """What is measured, and what was found so far."""

    config: ServeBenchConfig
    subject: Subject
    taking_part: Field
    threads: int
    say: Say
    rows: dict[tuple[str, Ask], Row] = field(default_factory=dict)
    engine: dict[str, list[Times]] = field(default_factory=lambda: defaultdict(list))
    pairs: list[Pair] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)

    def all_rounds(self, engine: Hand, generator: Hand, open_files: int) -> None:
        """Round after round; each begins with another server."""
        self.not_run |= self.taking_part.not_run
        measurer = Measurer(self.config, self.subject, generator)
        for number in range(self.config.rounds):
            self._time_engine(engine, number)
            for each in _rotated(self.taking_part.contestants, number, self.config.rounds):
                self._contest(each, measurer, number)
            for sends in (DEEPEST, FORTIETH, INPUT, MIXED):
                self._race(sends, measurer, number)
            self._pair(engine, measurer, number)
            self._measure_idle(number, open_files)

    def result(self, stolen_share: float, open_files: tuple[int, int]) -> ServeBenchResult:
        """Everything that was found."""
        subject, found = self.subject, self.taking_part
        return ServeBenchResult(
            machine=describe_machine(),
            stolen_share=stolen_share,
            config=self.config,
            model=subject.manifest.model_name,
            batched=subject.manifest.batched,
            sent={
                name: tuple(Sent(s.candidate, s.macs_share, s.payload_bytes) for s in served)
                for name, served in subject.served.items()
            },
            ours=found.ours,
            threads=self.threads,
            engine={name: EngineTimes(tuple(times)) for name, times in self.engine.items()},
            rows=tuple(self.rows.values()),
            pairs=tuple(self.pairs),
            idle=tuple(self.idle),
            peers=tuple(PeerInfo(peer.name, peer.version) for peer in found.peers),
            not_run=self.not_run,
            open_files=open_files,
            notes=subject.notes,
        )

    def _time_engine(self, engine: Hand, number: int) -> None:
        self._tell(number, "the engine alone")
        sizes = SIZES if self.subject.manifest.batched else SIZES[:1]
        for sends in (DEEPEST, FORTIETH, INPUT):
            self.engine[sends].append(self._times(engine, sends, sizes))

    def _times(self, engine: Hand, sends: str, sizes: tuple[int, ...]) -> Times:
        (served,) = self.subject.served[sends]
        order = TimesOrder(
            spec=str(served.spec),
            case=str(served.case),
            sizes=sizes,
            threads=self.threads,
            runs=_RUNS,
        )
        fields = msgspec.to_builtins(order)
        reply = engine.do(fields.pop("do"), busy_s=_BUSY_S, **fields)
        return msgspec.convert(reply, Times, strict=False)

    def _pair(self, engine: Hand, measurer: Measurer, number: int) -> None:
        """Ours, the bare loop and the engine in short turns: machines drift, these do together."""
        self._tell(number, "ours, the bare loop and the engine in short turns")
        split, raw = Ask(DEEPEST, "split"), Ask(DEEPEST, "bare")
        ours, bare = self.rows[self._ours.name, split], self.rows[BARE, raw]
        (bare_loop,) = (each for each in self.taking_part.contestants if raw in each.asks)
        with bare_loop.start() as loop, self._ours.start() as service:
            for _ in range(self.config.pairs):
                ours_ms = measurer.one_ms(ours, split, service)
                bare_ms = measurer.one_ms(bare, raw, loop)
                engine_ms = self._times(engine, DEEPEST, (1,)).whole_ms[1]
                if ours_ms is not None and bare_ms is not None:
                    self.pairs.append(Pair(ours_ms, bare_ms, engine_ms))

    def _contest(self, contestant: Contestant, measurer: Measurer, number: int) -> None:
        """One server in all its closed loops."""
        if contestant.name in self.not_run:
            return
        with self._forgiven(contestant), contestant.start() as server:
            for ask in self._answered(contestant, server):
                key = (contestant.name, ask)
                self._tell(number, f"{contestant.name}: {ask.sends} by {ask.protocol}")
                if key not in self.rows:
                    self.rows[key] = Row(
                        contestant.name, ask.sends, ask.protocol, contestant.is_ours
                    )
                measurer.measure(self.rows[key], ask, server, number)

    def _race(self, sends: str, measurer: Measurer, number: int) -> None:
        """The greatest loads of all who are sent this; all of them are up."""
        with ExitStack() as stack:
            runners = []
            for each in self.taking_part.contestants:
                asks = [ask for ask in each.asks if (each.name, ask) in self.rows]
                asks = [ask for ask in asks if ask.sends == sends]
                if not asks:
                    continue
                with self._forgiven(each):
                    server = stack.enter_context(each.start())
                    runners += [
                        Runner.of(self.rows[each.name, ask], ask, server, self.config)
                        for ask in asks
                    ]
            title = f"{sends}, the most devices"
            race(
                measurer,
                runners,
                number,
                lambda what: self._tell(number, f"{title}: {what}"),
                lambda runner, error: self._failed(runner.row.server, error),
            )

    @contextmanager
    def _forgiven(self, contestant: Contestant) -> Iterator[None]:
        try:
            yield
        except LinkError as error:
            self._failed(contestant.name, error)

    def _failed(self, name: str, error: LinkError) -> None:
        """A peer that fails takes no part from then on; our own service ends the run."""
        if name not in {peer.name for peer in self.taking_part.peers}:
            raise error
        self.not_run[name] = str(error)
        self.rows = {key: row for key, row in self.rows.items() if key[0] != name}

    def _answered(self, contestant: Contestant, server: Server) -> Iterator[Ask]:
        """What the server has a face for."""
        for ask in contestant.asks:
            speaks = ask.protocol != "oip" or is_model_ready(server.address, ask.model)
            if speaks:
                yield ask
            else:
                self.not_run[f"{contestant.name}, by the Open Inference Protocol"] = (
                    f"this service does not answer for {ask.model!r} by it"
                )

    def _measure_idle(self, number: int, open_files: int) -> None:
        devices, name = self.config.idle_devices, "idle devices"
        if not devices or name in self.not_run:
            return
        if open_files < devices + _SPARE_FILES:
            self.not_run[name] = f"this system allows a process {open_files} open files"
            return
        self._tell(number, f"{devices} {name}")
        with self._ours.start() as server:
            self.idle.append(idle_of(server, self.subject.bundle.fingerprint, devices))

    @property
    def _ours(self) -> Contestant:
        found = self.taking_part
        return next(each for each in found.contestants if each.name == found.ours)

    def _tell(self, number: int, what: str) -> None:
        self.say(f"round {number + 1}/{self.config.rounds}: {what}")


def _rotated(everybody: Sequence[Contestant], number: int, rounds: int) -> Sequence[Contestant]:
    first = number * len(everybody) // rounds
    return (*everybody[first:], *everybody[:first])
