"""`isthmus bench edge`: what a device holds, loads, computes and installs, runtime by runtime.

Memory and times are of fresh processes that take turns; ratios stand within this run.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus import RuntimeName, describe_machine
from isthmus_bench.edge.comparing import REFERENCE, Answered, Comparison
from isthmus_bench.edge.config import EdgeBenchConfig, checkout
from isthmus_bench.edge.devices import Ask, Device, ask, find_devices
from isthmus_bench.edge.figures import (
    CutDifference,
    EdgeBenchResult,
    ModelResult,
    NetworkTimes,
    RuntimeRow,
)
from isthmus_bench.edge.install import EXTRAS, Install, InstallError, import_ms, installs
from isthmus_bench.edge.measuring import Times, memory_rows, times_of
from isthmus_bench.edge.subject import Built, Precision, Subject, make_subject
from isthmus_bench.starvation import StolenTime
from isthmus_models import Model, get_model

__all__ = ["run_edge_bench"]

Say = Callable[[str], None]


def run_edge_bench(config: EdgeBenchConfig, say: Say, ask: Ask = ask) -> EdgeBenchResult:
    """Measure everything; `say` gets a line for each step.

    `ask` starts the processes. ConfigError if a package of a model is not installed.
    """
    stolen = StolenTime()
    say("looking for runtimes")
    devices = find_devices(config, ask)
    ready = [device for device in devices if device.problem is None]
    models = tuple(_Bench(config, ready, say, ask).model(get_model(name)) for name in config.models)
    say("timing imports")
    imports = {device.runtime: _import_ms(device, config.imports) for device in ready}
    installed, missing = _installs(config, say)
    return EdgeBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        config=config,
        devices=devices,
        import_ms=imports,
        models=models,
        installs=tuple(installed),
        not_installed=missing,
    )


@dataclass(frozen=True, slots=True)
class _Bench:
    """Measures one model after the other on the same devices."""

    config: EdgeBenchConfig
    devices: Sequence[Device]
    say: Say
    ask: Ask

    def model(self, model: Model) -> ModelResult:
        """All of one; its files live as long."""
        with tempfile.TemporaryDirectory(prefix="isthmus-edge-") as folder:
            return self._measured(make_subject(model, self.config, Path(folder), self.say))

    def _measured(self, subject: Subject) -> ModelResult:
        config, name = self.config, subject.name
        self.say(f"{name}: weighing what {len(self.devices)} runtimes hold")
        memory = memory_rows(subject, self.devices, config.weighings, self.ask)
        self.say(f"{name}: timing networks and chains in {config.processes} processes each")
        times = times_of(subject, self.devices, (config.processes, config.turns), self.ask)
        self.say(f"{name}: comparing answers to {len(subject.evaluation)} evaluation items")
        judge = _Judge(subject, self.devices, self.ask)
        return ModelResult(
            model=name,
            metric=subject.metric.name,
            shares=subject.shares,
            memory=memory,
            runtimes=tuple(judge.row(d.runtime, times[d.runtime]) for d in self.devices),
            yardstick=judge.yardstick(),
            notes=(*subject.notes, *(note for built in subject.built for note in built.notes)),
        )


class _Judge:
    """Puts what runtimes answer beside what they take."""

    def __init__(self, subject: Subject, devices: Sequence[Device], ask: Ask) -> None:
        self._comparison = Comparison(subject, ask)
        self._answers = {each.runtime: self._comparison.answered(each) for each in devices}
        self._reference = self._answers.get(REFERENCE, Answered({}))
        self._built: dict[Precision, Built] = {each.precision: each for each in subject.built}

    def row(self, runtime: RuntimeName, times: Times) -> RuntimeRow:
        """All figures of one runtime."""
        answered = self._answers[runtime]
        compare, int8 = self._comparison, self._built.get("int8")
        agreements = {name: compare.agreement(each, answered) for name, each in self._built.items()}
        return RuntimeRow(
            runtime=runtime,
            fp32=_network_times(self._built["fp32"], times),
            int8=None if int8 is None else _network_times(int8, times),
            fp32_agreement=agreements["fp32"],
            int8_agreement=agreements.get("int8"),
            cuts=() if int8 is None else compare.differences(int8, answered, self._reference),
            problems=tuple(dict.fromkeys((*times.problems, *answered.problems))),
        )

    def yardstick(self) -> tuple[CutDifference, ...]:
        """ONNX Runtime without its optimisations beside itself with them."""
        int8 = self._built.get("int8")
        if int8 is None or REFERENCE not in self._answers:
            return ()
        plain = self._comparison.unoptimised(int8)
        return self._comparison.differences(int8, plain, self._reference)


def _network_times(built: Built, times: Times) -> NetworkTimes:
    nets = {"whole": built.whole, "chain": built.chain, "inside": built.inside}
    return NetworkTimes(**{name: times.ms.get(net.name) for name, net in nets.items()})


def _import_ms(device: Device, repeats: int) -> float:
    module = next(extra.module for extra in EXTRAS if extra.runtime == device.runtime)
    return import_ms(device.python, ["isthmus_edge", module], repeats)


def _installs(config: EdgeBenchConfig, say: Say) -> tuple[list[Install], dict[str, str]]:
    """What was installed, and by runtime why others were not."""
    if not config.install:
        return [], {extra.runtime: "left out (--skip-install)" for extra in EXTRAS}
    sources = checkout()
    if sources is None:
        return [], {extra.runtime: "needs the sources; run it in a checkout" for extra in EXTRAS}
    found: list[Install] = []
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="isthmus-install-") as folder:
        for extra in EXTRAS:
            say(f"installing isthmus[{extra.name}] into a fresh environment")
            try:
                made = installs(sources, Path(folder), repeats=config.imports, extras=(extra,))
            except InstallError as error:
                missing[extra.runtime] = str(error)
                continue
            found += made
            if not made:
                missing[extra.runtime] = "it has no wheels for this version of Python"
    return found, missing
