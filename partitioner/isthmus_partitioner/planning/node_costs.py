"""What each node costs on the plan's device and in its cloud; they only *propose* cuts.

Node times come from a profile. What was built here and timed here as a whole is carried over to
the device by the ratio in which the profile of the device has the same nodes to the profile of this
machine: of the whole where only a factor is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALL_INT8", "FloatArray", "NodeCosts", "cost_key"]

FloatArray = NDArray[np.float64]

ALL_INT8 = "all-int8"  # a chain: the network in int8 throughout, where heads are a mix


def cost_key(chain: str, precision: str) -> str:
    """What `NodeCosts` calls the network that a chain divides."""
    return ALL_INT8 if chain == ALL_INT8 else precision


@dataclass(frozen=True, slots=True, eq=False)
class NodeCosts:
    """Times in ms by node of the network; `here` and `device` by precision of the head.

    `ALL_INT8` stands beside the precisions: a network and a runtime of its own. `cloud` is the fp32
    network with all threads of the cloud. `memory_bytes` is what the whole network takes on the
    device, by precision, `memory_here_bytes` what the same takes here. `paces` compares the two on
    one runtime, by precision.
    """

    here: Mapping[str, FloatArray]
    device: Mapping[str, FloatArray]
    cloud: FloatArray
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    memory_here_bytes: Mapping[str, int] = field(default_factory=dict)
    paces: Mapping[str, float] = field(default_factory=dict)

    def pace(self, precision: str) -> float:
        """How many times longer the device takes than this machine for the same work.

        `factor` is of two runtimes where the device runs its heads on another one than ours.
        """
        return self.paces.get(precision, self.factor(precision))

    def factor(self, precision: str, head: frozenset[int] | None = None) -> float:
        """How many times longer the device takes than this machine, for a head or for all."""
        nodes = slice(None) if head is None else sorted(head)
        here, device = self.here[precision][nodes].sum(), self.device[precision][nodes].sum()
        return float(device / here) if here > 0 else 1.0

    def memory_factor(self, precision: str) -> float:
        """How many times the memory it takes here a network takes on the device; 1: not known."""
        here = self.memory_here_bytes.get(precision, 0)
        there = self.memory_bytes.get(precision, 0)
        return there / here if here and there else 1.0

    def device_ms(self, precision: str, head: frozenset[int]) -> float:
        """The predicted time of a head on the device."""
        return float(self.device[precision][sorted(head)].sum())

    def cloud_ms(self, head: frozenset[int]) -> float:
        """The predicted time of what is behind a head in the cloud."""
        return float(np.delete(self.cloud, sorted(head)).sum())
