"""Which runtime a network's heads run on: the fastest of those measured that answers well.

Answers are judged here, where LiteRT runs a network's .tflite form on inputs that calibration has
not seen. tflite-runtime takes the same file and rounds otherwise: for it, the device's own profile
has to say besides that its answers were no further from ONNX Runtime's than rounding explains.
All that a device measured is judged, not only what is fastest: another device may have only that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil

import msgspec
import numpy as np
import onnx

from isthmus import ConfigError, RuntimeName
from isthmus.profiles import DeviceProfile, NetworkTimes
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.profiles.twins import MOST_RELATIVE, twin_agreement
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.tflite import NotLoweredError

TITLES: Mapping[RuntimeName, str] = {
    "onnxruntime": "ONNX Runtime",
    "litert": "LiteRT",
    "tflite-runtime": "tflite-runtime",
}
TFLITE: tuple[RuntimeName, ...] = ("litert", "tflite-runtime")  # what runs .tflite files
NETWORKS: Mapping[str, str] = {
    "fp32": "the fp32 heads",
    "head": "the int8 heads",
    "int8": "the network in int8 throughout",
}
_NOTHING_LOST = 1e-9
_LEAST_RATIO = 1.05  # less is no difference

__all__ = [
    "NETWORKS",
    "TFLITE",
    "TITLES",
    "Choice",
    "Rival",
    "RuntimeNote",
    "RuntimeTime",
    "choose_runtimes",
]


class RuntimeTime(msgspec.Struct, frozen=True, kw_only=True):
    """A whole network on one runtime of the plan's device, in ms."""

    runtime: RuntimeName
    ms: float


class RuntimeNote(msgspec.Struct, frozen=True, kw_only=True):
    """The choice for one network ("fp32", "head": the mix of precisions, "int8"), and why.

    `unfit` are those whose answers will not do, as far as that is known: measured, or running the
    same file as one that was.
    """

    network: str
    runtime: RuntimeName
    times: tuple[RuntimeTime, ...]
    reason: str
    unfit: tuple[RuntimeName, ...] = ()


_Times = Sequence[NetworkTimes] | Sequence[RuntimeTime]


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """What judges whether a runtime's answers will do: inputs that calibration has not seen."""

    network: Network
    items: Samples
    metric: Metric
    floor: float

    def shortfall(self, model: onnx.ModelProto) -> str | None:
        """Why the TFLite twin of a network must not answer; None if it may.

        It meets the agreement floor, or is no worse than the network on ONNX Runtime.
        """
        try:
            agreement = twin_agreement(self.network, model, self.items, self.metric)
        except NotLoweredError as error:
            return str(error)
        if agreement >= self.floor or agreement >= self._original(model) - _NOTHING_LOST:
            return None
        return f"its agreement is {agreement:.3f}, the floor {self.floor:.3f}"

    def most_error(self, model: onnx.ModelProto) -> float:
        """How far a runtime's answers may be from ONNX Runtime's on the same network.

        As far as int8 moves them, and at least `MOST_RELATIVE`: of EfficientNet-Lite0, a residual
        network and MiniLM, roundings cost up to 0.7 of what quantisation had cost.
        """
        whole, answers = self._answers(model)
        return max(MOST_RELATIVE, *(_moved(answers[name], whole[name]) for name in whole))

    def _original(self, model: onnx.ModelProto) -> float:
        whole, answers = self._answers(model)
        return self.metric.closeness(whole, answers, self.items.sources).agreement

    def _answers(self, model: onnx.ModelProto) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
        """Of the unsplit fp32 network, and of `model`, both in ONNX Runtime."""
        feeds = list(self.items.feeds(self.network.inputs))
        whole, answers = (
            run_items(open_session(each, threads=all_cores()), feeds, self.network.outputs)
            for each in (self.network.model, model)
        )
        return whole, answers


@dataclass(frozen=True, slots=True)
class Choice:
    """What a device runs each network on; `refused` says why it runs some of them on nothing.

    `where` says in words what the device is.
    """

    where: str
    notes: Mapping[str, RuntimeNote] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def without_twin(self, network: str, problem: str) -> "Choice":
        """The next choice for a network whose chains have no TFLite form after all.

        ConfigError where the fp32 network then runs on nothing.
        """
        notes = dict(self.notes)
        times = notes.pop(network).times
        rest = Choice(self.where, notes, self.refused)
        return rest.with_network(network, times, dict.fromkeys(TFLITE, problem))

    def with_network(
        self, network: str, times: _Times, unfit: Mapping[RuntimeName, str]
    ) -> "Choice":
        """And one more, on the fastest whose answers will do; `times` are the fastest first.

        ConfigError where there is none for the fp32 network: no plan does without it.
        """
        chosen = next((time for time in times if time.runtime not in unfit), None)
        if chosen is not None:
            note = _note(network, chosen, times, unfit, self.where)
            return replace(self, notes={**self.notes, network: note})
        problem = _none_fit(network, times, unfit, self.where)
        if network == "fp32":
            raise ConfigError(problem)
        return replace(self, refused={**self.refused, network: problem})


def choose_runtimes(
    device: DeviceProfile,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    where: str = "on the device",
) -> Choice:
    """For each of the networks `models` that was measured on `device`, its runtime.

    `where` says in words what `device` is. ConfigError if nothing that was measured answers well
    for the fp32 network.
    """
    choice = Choice(where)
    for name, model in models.items():
        times = device.on_runtimes(name)
        if times:
            unfit = _Judge(rival, model, where).unfit(times)
            choice = choice.with_network(name, times, unfit)
    return choice


@dataclass(frozen=True, eq=False)
class _Judge:
    """Says of one network on each runtime whether it may answer; what is costly is done once."""

    rival: Rival
    model: onnx.ModelProto
    where: str

    def unfit(self, times: Sequence[NetworkTimes]) -> dict[RuntimeName, str]:
        """Those that must not answer, and why; all that run .tflite files, where it is the file."""
        errors = {time.runtime: time.error for time in times if time.runtime in TFLITE}
        if not errors:
            return {}
        shortfall = self.rival.shortfall(self.model)
        if shortfall is not None:
            return dict.fromkeys(TFLITE, shortfall)
        error = errors.get("tflite-runtime", 0.0)
        if error <= MOST_RELATIVE or error <= self._most_error:
            return {}
        problem = (
            f"{self.where} its answers were {error:.1%} off ONNX Runtime's, rounding explains "
            f"{self._most_error:.1%}"
        )
        return {"tflite-runtime": problem}

    @cached_property
    def _most_error(self) -> float:
        return self.rival.most_error(self.model)


def _note(
    name: str,
    chosen: NetworkTimes | RuntimeTime,
    times: _Times,
    unfit: Mapping[RuntimeName, str],
    where: str,
) -> RuntimeNote:
    return RuntimeNote(
        network=name,
        runtime=chosen.runtime,
        times=tuple(RuntimeTime(runtime=time.runtime, ms=time.ms) for time in times),
        reason=f"{where} {_compared(NETWORKS[name], chosen, times)}"
        f"{_judged(chosen, where)}{_but(unfit, chosen, times)}",
        unfit=tuple(unfit),
    )


def _none_fit(name: str, times: _Times, unfit: Mapping[RuntimeName, str], where: str) -> str:
    problems = "; ".join(f"{TITLES[time.runtime]}: {unfit[time.runtime]}" for time in times)
    return (
        f"no runtime that was measured {where} may answer for {NETWORKS[name]} ({problems}); "
        "install ONNX Runtime there (pip install 'isthmus[edge]') and measure again; where "
        "agreement is what falls short, a lower --min-agreement will do, too"
    )


def _judged(chosen: NetworkTimes | RuntimeTime, where: str) -> str:
    """What its agreement rests on where that could not be tried here."""
    if chosen.runtime != "tflite-runtime" or not isinstance(chosen, NetworkTimes):
        return ""
    most = max(1, ceil(chosen.error * 1e3)) / 1e3
    return (
        f"; the agreement of its .tflite form is LiteRT's here, {where} its answers were within "
        f"{most:.1%} of ONNX Runtime's"
    )


def _compared(what: str, chosen: NetworkTimes | RuntimeTime, times: _Times) -> str:
    """Beside those that it is faster than."""
    mine = f"{TITLES[chosen.runtime]} runs {what}"
    slower = [t for t in times if t.runtime != chosen.runtime and t.ms >= chosen.ms > 0]
    beside = " and ".join(
        f"{_times_as_fast(time.ms, chosen.ms)} as {TITLES[time.runtime]}" for time in slower
    )
    return " ".join(filter(None, (mine, beside, f"({chosen.ms:.2f} ms in all)")))


def _but(
    unfit: Mapping[RuntimeName, str], chosen: NetworkTimes | RuntimeTime, times: _Times
) -> str:
    """What was measured, too, and must not answer."""
    if len(times) == 1:
        return "; no other runtime was measured"
    problems = dict.fromkeys(unfit[time.runtime] for time in times if time.runtime in unfit)
    return "".join(f"; {_unused(problem, unfit, chosen, times)}: {problem}" for problem in problems)


def _unused(
    problem: str,
    unfit: Mapping[RuntimeName, str],
    chosen: NetworkTimes | RuntimeTime,
    times: _Times,
) -> str:
    """Those with this problem; where some are faster, these alone."""
    those = [time for time in times if unfit.get(time.runtime) == problem]
    faster = " and ".join(
        f"{TITLES[time.runtime]} is {_times_as_fast(chosen.ms, time.ms)}"
        for time in those
        if time.ms <= chosen.ms
    )
    if faster:
        return f"{faster}, but is not used"
    return f"{' and '.join(TITLES[time.runtime] for time in those)} must not answer"


def _times_as_fast(slow_ms: float, fast_ms: float) -> str:
    """A runtime may have taken no time that the clock could tell."""
    if fast_ms <= 0:
        return "faster" if slow_ms > 0 else "as fast"
    ratio = slow_ms / fast_ms
    return f"{ratio:.1f} times as fast" if ratio >= _LEAST_RATIO else "as fast"


def _moved(ours: AnyArray, wanted: AnyArray) -> float:
    """``norm(ours - wanted) / norm(wanted)``; 0 where one of them is no number."""
    a, b = ours.astype(np.float64), wanted.astype(np.float64)
    size, moved = float(np.linalg.norm(b)), float(np.linalg.norm(a - b))
    return moved / size if size > 0 and np.isfinite(moved + size) else 0.0
