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
from isthmus_bench.edge.importing import Import, Place, import_times
from isthmus_bench.edge.install import EXTRAS, Install, InstallError, installed, wheel_of
from isthmus_bench.edge.measuring import Times, memory_rows, times_of
from isthmus_bench.edge.subject import Built, Precision, Subject, make_subject
from isthmus_bench.starvation import StolenTime
from isthmus_models import Model, get_model

__all__ = ["run_edge_bench"]

Say = Callable[[str], None]
_FRESH, _HERE = "fresh", "here"  # environments: of their own, and those of the devices
_Imports = dict[RuntimeName, Import]
_MODULES = {extra.runtime: extra.module for extra in EXTRAS}


def run_edge_bench(config: EdgeBenchConfig, say: Say, ask: Ask = ask) -> EdgeBenchResult:
    """Measure everything; `say` gets a line for each step.

    `ask` starts the processes. ConfigError if a package of a model is not installed.
    """
    stolen = StolenTime()
    say("looking for runtimes")
    devices = find_devices(config, ask)
    ready = [device for device in devices if device.problem is None]
    models = tuple(_Bench(config, ready, say, ask).model(get_model(name)) for name in config.models)
    with tempfile.TemporaryDirectory(prefix="isthmus-install-") as folder:
        installs, missing = _installs(config, Path(folder), say)
        say("timing imports")
        fresh, here, problems = _imports(ready, installs, config.imports)
    return EdgeBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        config=config,
        devices=devices,
        models=models,
        imports=fresh,
        imports_here=here,
        installs=installs,
        not_installed=missing | problems,
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


def _imports(
    devices: Sequence[Device], installs: Sequence[Install], repeats: int
) -> tuple[_Imports, _Imports, dict[RuntimeName, str]]:
    """In the fresh environments, and where the devices are; and what cannot be imported."""
    fresh = {(_FRESH, i.extra.runtime): Place(i.python, i.extra.module) for i in installs}
    here = {(_HERE, d.runtime): Place(d.python, _MODULES[d.runtime]) for d in devices}
    times, problems = import_times(fresh | here, repeats)
    return (
        {name: times[where, name] for where, name in fresh if (where, name) in times},
        {name: times[where, name] for where, name in here if (where, name) in times},
        {name: why for (_, name), why in problems.items()},
    )


def _installs(
    config: EdgeBenchConfig, folder: Path, say: Say
) -> tuple[tuple[Install, ...], dict[RuntimeName, str]]:
    """What was installed below `folder`, and by runtime why others were not."""
    sources = checkout()
    if not config.install or sources is None:
        why = "needs the sources; run it in a checkout" if config.install else "--skip-install"
        return (), {extra.runtime: why for extra in EXTRAS}
    try:
        wheel = wheel_of(sources, folder)
    except InstallError as error:
        return (), {extra.runtime: str(error) for extra in EXTRAS}
    found: list[Install] = []
    missing: dict[RuntimeName, str] = {}
    for extra in EXTRAS:
        say(f"installing isthmus[{extra.name}] into a fresh environment")
        try:
            made = installed(extra, wheel, folder)
        except InstallError as error:
            missing[extra.runtime] = str(error)
            continue
        if made is None:
            missing[extra.runtime] = "it has no wheels for this version of Python"
        else:
            found.append(made)
    return tuple(found), missing
