"""Which runtime a network's heads run on: the fastest of those measured that answers well.

Answers are judged here, where LiteRT runs a network's .tflite form on inputs that calibration has
not seen. tflite-runtime takes the same file and rounds otherwise: for it, the device's own profile
has to say besides that its answers were no further from ONNX Runtime's than rounding explains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import msgspec
import numpy as np
import onnx

from isthmus import RuntimeName
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
NETWORKS: Mapping[str, str] = {
    "fp32": "the fp32 heads",
    "head": "the int8 heads",
    "int8": "the network in int8 throughout",
}
_NOTHING_LOST = 1e-9
_LEAST_RATIO = 1.05  # less is no difference

__all__ = ["NETWORKS", "TITLES", "Rival", "RuntimeNote", "RuntimeTime", "choose_runtimes"]


class RuntimeTime(msgspec.Struct, frozen=True, kw_only=True):
    """A whole network on one runtime of the plan's device, in ms."""

    runtime: RuntimeName
    ms: float


class RuntimeNote(msgspec.Struct, frozen=True, kw_only=True):
    """The choice for one network ("fp32", "head": the mix of precisions, "int8"), and why."""

    network: str
    runtime: RuntimeName
    times: tuple[RuntimeTime, ...]
    reason: str


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


def choose_runtimes(
    device: DeviceProfile,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    where: str = "on the device",
) -> dict[str, RuntimeNote]:
    """For each of the networks `models` that was measured on `device`, its runtime.

    `where` says in words what `device` is.
    """
    notes = {}
    for name, model in models.items():
        times = device.on_runtimes(name)
        if times:
            notes[name] = _chosen(name, model, times, rival, where)
    return notes


@dataclass(frozen=True, eq=False)
class _Judge:
    """Says of one network on each runtime whether it may answer; what is costly is done once."""

    rival: Rival
    model: onnx.ModelProto
    where: str

    def problem(self, time: NetworkTimes) -> str | None:
        """Why the answers of a runtime will not do; None where they will."""
        if time.runtime == "onnxruntime":
            return None
        if self._shortfall is not None or time.runtime == "litert":
            return self._shortfall
        if time.error <= MOST_RELATIVE or time.error <= self._most_error:
            return None
        return (
            f"{self.where} its answers were {time.error:.1%} off ONNX Runtime's, rounding explains "
            f"{self._most_error:.1%}"
        )

    @cached_property
    def _shortfall(self) -> str | None:
        return self.rival.shortfall(self.model)

    @cached_property
    def _most_error(self) -> float:
        return self.rival.most_error(self.model)


def _chosen(
    name: str,
    model: onnx.ModelProto,
    times: tuple[NetworkTimes, ...],
    rival: Rival,
    where: str,
) -> RuntimeNote:
    """The fastest whose answers will do; if none will, the fastest of all."""
    judge = _Judge(rival, model, where)
    unfit: dict[RuntimeName, str] = {}
    for time in times:
        problem = judge.problem(time)
        if problem is None:
            break
        unfit[time.runtime] = problem
    chosen = times[0] if len(unfit) == len(times) else times[len(unfit)]
    return RuntimeNote(
        network=name,
        runtime=chosen.runtime,
        times=tuple(RuntimeTime(runtime=time.runtime, ms=time.ms) for time in times),
        reason=f"{where} {_compared(NETWORKS[name], chosen, times)}"
        f"{_judged(chosen, where, unfit)}{_but(unfit, chosen, times)}",
    )


def _judged(chosen: NetworkTimes, where: str, unfit: Mapping[RuntimeName, str]) -> str:
    """What its agreement rests on where that could not be tried here."""
    if chosen.runtime in {"onnxruntime", "litert", *unfit}:
        return ""
    most = max(1, ceil(chosen.error * 1e3)) / 1e3
    return (
        f"; the agreement of its .tflite form is LiteRT's here, {where} its answers were within "
        f"{most:.1%} of ONNX Runtime's"
    )


def _compared(what: str, chosen: NetworkTimes, times: tuple[NetworkTimes, ...]) -> str:
    """Beside those that it is faster than."""
    mine = f"{TITLES[chosen.runtime]} runs {what}"
    slower = [t for t in times if t.runtime != chosen.runtime and t.ms >= chosen.ms > 0]
    beside = " and ".join(
        f"{_times_as_fast(time.ms / chosen.ms)} as {TITLES[time.runtime]}" for time in slower
    )
    return " ".join(filter(None, (mine, beside, f"({chosen.ms:.2f} ms in all)")))


def _but(
    unfit: Mapping[RuntimeName, str], chosen: NetworkTimes, times: tuple[NetworkTimes, ...]
) -> str:
    """What is faster and must not answer, or answers all the same."""
    if chosen.runtime in unfit:
        return f", although {unfit[chosen.runtime]}: ONNX Runtime was not measured there"
    if len(times) == 1:
        return "; no other runtime was measured"
    return "".join(
        f"; {_faster(problem, unfit, chosen, times)}, but is not used: {problem}"
        for problem in dict.fromkeys(unfit.values())
    )


def _faster(
    problem: str,
    unfit: Mapping[RuntimeName, str],
    chosen: NetworkTimes,
    times: tuple[NetworkTimes, ...],
) -> str:
    """Those with this problem."""
    return " and ".join(
        f"{TITLES[time.runtime]} is {_times_as_fast(chosen.ms / time.ms)}"
        for time in times
        if unfit.get(time.runtime) == problem
    )


def _times_as_fast(ratio: float) -> str:
    return f"{ratio:.1f} times as fast" if ratio >= _LEAST_RATIO else "as fast"


def _moved(ours: AnyArray, wanted: AnyArray) -> float:
    """``norm(ours - wanted) / norm(wanted)``; 0 where one of them is no number."""
    a, b = ours.astype(np.float64), wanted.astype(np.float64)
    size, moved = float(np.linalg.norm(b)), float(np.linalg.norm(a - b))
    return moved / size if size > 0 and np.isfinite(moved + size) else 0.0
