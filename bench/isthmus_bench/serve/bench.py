"""`isthmus bench serve`: rate, latency, processor time and memory of a service of many devices.

The service, the bare loop and other servers are processes of their own, and so are the devices: one
generator with all of them, over the loopback. All take turns, round after round; figures are
medians over rounds.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

import msgspec

from isthmus import ConfigError, LinkError, describe_machine
from isthmus_bench.awake import Awake
from isthmus_bench.processes import EdgeProcess
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import Ask, Contestant, Field, contestants
from isthmus_bench.serve.figures import EngineTimes, Idle, PeerInfo, Row, Sent, ServeBenchResult
from isthmus_bench.serve.measuring import LOADER, Measurer, idle_of
from isthmus_bench.serve.open_files import allow_open_files, open_files_limit
from isthmus_bench.serve.orders import Times, TimesOrder
from isthmus_bench.serve.services import ServiceProcess, is_model_ready
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, Subject, make_subject
from isthmus_bench.starvation import StolenTime

Say = Callable[[str], None]
ENGINE = "isthmus_bench.serve.engine"
SIZES = (1, 2, 4, 8, 16)
_RUNS = 64  # of a batch of one
_BUSY_S = 60.0
_SPARE_FILES = 256  # that a process has open beside its devices

__all__ = ["run_serve_bench"]


def run_serve_bench(config: ServeBenchConfig, say: Say) -> ServeBenchResult:
    """Measure everything; `say` gets a line for each step.

    Leaves no processes behind; bundle, frames and environments stay in the work folder. ConfigError
    or BundleError if there is nothing to serve, LinkError if our own service fails.
    """
    stolen = StolenTime()
    before = open_files_limit()
    allowed = allow_open_files()
    try:
        config.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{config.work}: cannot be made ({error.strerror}); name another with --work"
        ) from error
    subject = make_subject(config, say)
    threads = os.cpu_count() or 1
    taking_part = contestants(config, subject, threads, say)
    run = _Run(config, subject, taking_part, threads, say)
    with Awake() if config.awake else nullcontext():
        run.all_rounds(allowed)
    return ServeBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        config=config,
        model=subject.manifest.model_name,
        batched=subject.manifest.batched,
        sent={
            name: tuple(Sent(s.candidate, s.macs_share, s.payload_bytes) for s in served)
            for name, served in subject.served.items()
        },
        ours=taking_part.ours,
        threads=threads,
        engine={name: EngineTimes(tuple(found)) for name, found in run.engine.items()},
        rows=tuple(run.rows.values()),
        idle=tuple(run.idle),
        peers=tuple(PeerInfo(peer.name, peer.version) for peer in taking_part.peers),
        not_run=run.not_run,
        open_files=(before, allowed),
        notes=subject.notes,
    )


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
    idle: list[Idle] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)

    def all_rounds(self, open_files: int) -> None:
        """Round after round; each begins with another server."""
        self.not_run |= self.taking_part.not_run
        with ExitStack() as stack:
            engine = stack.enter_context(EdgeProcess({}, module=ENGINE))
            generator = stack.enter_context(EdgeProcess({}, module=LOADER))
            measurer = Measurer(self.config, self.subject, generator)
            for number in range(self.config.rounds):
                self._time_engine(engine, number)
                for each in _rotated(self.taking_part.contestants, number, self.config.rounds):
                    self._contest(each, measurer, number)
                self._measure_idle(number, open_files)

    def _time_engine(self, engine: EdgeProcess, number: int) -> None:
        self._tell(number, "the engine alone")
        for sends in (DEEPEST, FORTIETH, INPUT):
            (served,) = self.subject.served[sends]
            order = TimesOrder(
                spec=str(served.spec),
                case=str(served.case),
                sizes=SIZES if self.subject.manifest.batched else SIZES[:1],
                threads=self.threads,
                runs=_RUNS,
            )
            fields = msgspec.to_builtins(order)
            reply = engine.do(fields.pop("do"), busy_s=_BUSY_S, **fields)
            self.engine[sends].append(msgspec.convert(reply, Times, strict=False))

    def _contest(self, contestant: Contestant, measurer: Measurer, number: int) -> None:
        """One server under all its loads; a peer that fails takes no part from then on."""
        if contestant.name in self.not_run:
            return
        try:
            with contestant.start() as server:
                for ask in self._answered(contestant, server):
                    key = (contestant.name, ask)
                    self._tell(number, f"{contestant.name}: {ask.sends} by {ask.protocol}")
                    if key not in self.rows:
                        self.rows[key] = Row(contestant.name, ask.sends, ask.protocol)
                    measurer.measure(self.rows[key], ask, server, number)
        except LinkError as error:
            if contestant.name not in {peer.name for peer in self.taking_part.peers}:
                raise
            self.not_run[contestant.name] = str(error)
            self.rows = {key: row for key, row in self.rows.items() if key[0] != contestant.name}

    def _answered(self, contestant: Contestant, server: ServiceProcess) -> Iterator[Ask]:
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
        (ours,) = (c for c in self.taking_part.contestants if c.name == self.taking_part.ours)
        with ours.start() as server:
            self.idle.append(idle_of(server, self.subject.bundle.fingerprint, devices))

    def _tell(self, number: int, what: str) -> None:
        self.say(f"round {number + 1}/{self.config.rounds}: {what}")


def _rotated(everybody: Sequence[Contestant], number: int, rounds: int) -> Sequence[Contestant]:
    first = number * len(everybody) // rounds
    return (*everybody[first:], *everybody[:first])
