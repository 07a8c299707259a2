"""What a plan may strive for: four costs of an answer as curves over bandwidth.

Each is the greatest of a few lines in 1/bandwidth, so that the exact envelope holds for all four.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from isthmus_partitioner.planning.envelope import (
    Curve,
    Line,
    Stages,
    latency_curve,
    period_curve,
)
from isthmus_partitioner.planning.prices import Prices

__all__ = ["OBJECTIVES", "Measure", "Objective", "cloud_cost", "edge_energy"]

Objective = Literal["latency", "throughput", "edge-energy", "cloud-cost"]

_MS_PER_HOUR = 3.6e6
_ANSWERS = 1e3  # money is told for this many


@dataclass(frozen=True, slots=True)
class Measure:
    """One objective: `unit` is that of its cost, `most` says in words what has the least of it."""

    objective: Objective
    most: str
    unit: str
    curve: Callable[[Stages, float, Prices], Curve]

    def cost(self, stages: Stages, bandwidth_bps: float, rtt_ms: float, prices: Prices) -> float:
        """What one answer costs (for cloud-cost: a thousand), in `unit`."""
        return self.curve(stages, rtt_ms, prices).at(bandwidth_bps)


def edge_energy(stages: Stages, rtt_ms: float, prices: Prices) -> Curve:
    """Millijoules of the device for an answer: computing, sending, waiting, receiving."""
    power = prices.device
    waiting_ms = stages.cloud_ms + (rtt_ms if stages.payload_bytes else 0.0)
    fixed_mj = (
        power.active_w * stages.device_ms
        + power.idle_w * waiting_ms
        + power.radio_j_per_mb * stages.payload_bytes / 1e3
        + power.radio_answer_j_per_mb * stages.answer_bytes / 1e3
    )
    on_the_link = (stages.payload_bytes + stages.answer_bytes) * 8e3
    return Curve((Line(fixed_mj, (power.idle_w + power.radio_w) * on_the_link),))


def cloud_cost(stages: Stages, _: float, prices: Prices) -> Curve:
    """Hardware + software + network for 1,000 answers, in the currency of the prices.

    Machine and software are paid for the time that they work on the answer.
    """
    hours = stages.cloud_ms * _ANSWERS / _MS_PER_HOUR
    hardware, software = (
        price * hours for price in (prices.cloud.machine_per_hour, prices.cloud.software_per_hour)
    )
    network = (
        prices.cloud.network_per_gb * stages.payload_bytes
        + prices.cloud.answers_per_gb * stages.answer_bytes
    ) * (_ANSWERS / 1e9)
    return Curve((Line(hardware + software + network, 0.0),))


def _latency(stages: Stages, rtt_ms: float, _: Prices) -> Curve:
    return latency_curve(stages, rtt_ms)


def _period(stages: Stages, _: float, __: Prices) -> Curve:
    return period_curve(stages)


OBJECTIVES: Mapping[Objective, Measure] = {
    measure.objective: measure
    for measure in (
        Measure("latency", "least latency", "ms", _latency),
        Measure("throughput", "most frames/s", "ms a frame", _period),
        Measure("edge-energy", "least energy on the device", "mJ", edge_energy),
        Measure("cloud-cost", "least cost in the cloud", "per 1,000 answers", cloud_cost),
    )
}
assert set(OBJECTIVES) == set(get_args(Objective))
