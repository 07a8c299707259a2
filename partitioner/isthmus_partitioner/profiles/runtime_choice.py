"""Which runtime a network's heads run on: the fastest of those measured that answers well."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import onnx

from isthmus import RuntimeName
from isthmus.profiles import DeviceProfile, NetworkTimes
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.profiles.twins import twin_agreement
from isthmus_partitioner.runtime import all_cores, open_session, run_items
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

    def _original(self, model: onnx.ModelProto) -> float:
        feeds = list(self.items.feeds(self.network.inputs))
        answers = [
            run_items(open_session(each, threads=all_cores()), feeds, self.network.outputs)
            for each in (self.network.model, model)
        ]
        return self.metric.closeness(answers[0], answers[1], self.items.sources).agreement


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


def _chosen(
    name: str,
    model: onnx.ModelProto,
    times: tuple[NetworkTimes, ...],
    rival: Rival,
    where: str,
) -> RuntimeNote:
    """The fastest whose answers will do; if none will, the fastest of all."""
    is_twin_faster = times[0].runtime != "onnxruntime"
    problem = rival.shortfall(model) if is_twin_faster else None
    will_do = [t for t in times if t.runtime == "onnxruntime" or problem is None]
    chosen = (will_do or times)[0]
    return RuntimeNote(
        network=name,
        runtime=chosen.runtime,
        times=tuple(RuntimeTime(runtime=time.runtime, ms=time.ms) for time in times),
        reason=f"{where} {_compared(NETWORKS[name], chosen, times)}{_but(problem, chosen, times)}",
    )


def _compared(what: str, chosen: NetworkTimes, times: tuple[NetworkTimes, ...]) -> str:
    """Beside those that it is faster than."""
    mine = f"{TITLES[chosen.runtime]} runs {what}"
    slower = [t for t in times if t.runtime != chosen.runtime and t.ms >= chosen.ms > 0]
    beside = " and ".join(
        f"{_times_as_fast(time.ms / chosen.ms)} as {TITLES[time.runtime]}" for time in slower
    )
    alone = "" if len(times) > 1 else "; no other runtime was measured"
    return " ".join(filter(None, (mine, beside, f"({chosen.ms:.2f} ms in all){alone}")))


def _but(problem: str | None, chosen: NetworkTimes, times: tuple[NetworkTimes, ...]) -> str:
    """What is faster and must not answer, or answers all the same."""
    if problem is None:
        return ""
    if chosen.runtime != "onnxruntime":
        return f", although {problem}: ONNX Runtime was not measured there"
    faster = [time for time in times if time.ms < chosen.ms]
    ratios = " and ".join(
        f"{TITLES[time.runtime]} is {_times_as_fast(chosen.ms / time.ms)}" for time in faster
    )
    return f"; {ratios}, but is not used: {problem}"


def _times_as_fast(ratio: float) -> str:
    return f"{ratio:.1f} times as fast" if ratio >= _LEAST_RATIO else "as fast"
