"""How much an integer group harms the answer: measured at the output, one group at a time."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus.agreement.closeness import Closeness, Metric
from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.precision.bases import Base
from isthmus_partitioner.precision.groups import Group
from isthmus_partitioner.runtime import (
    AnyArray,
    Session,
    all_cores,
    open_session,
    run_items,
)
from isthmus_partitioner.samples import Samples

__all__ = ["Judge", "damages", "law"]

_ENOUGH_S = 10.0  # for all groups; fewer items are looked at where a network is slow
_LEAST_ITEMS = 3
_LINES = 4  # of progress


class Judge:
    """Compares mixes with the fp32 network on held-back items.

    `item_s` is how many seconds the fp32 network takes for one item on all cores.
    """

    def __init__(self, network: Network, samples: Samples, metric: Metric) -> None:
        self._network, self._samples, self._metric = network, samples, metric
        session = open_session(network.model, threads=all_cores())
        start = perf_counter()
        self._reference = self._answers(session, len(samples))
        self.item_s = (perf_counter() - start) / len(samples)

    def closeness(self, model: onnx.ModelProto, items: int | None = None) -> Closeness:
        """Of a network's answers to the first `items`, or to all."""
        count = len(self._samples) if items is None else min(items, len(self._samples))
        answers = self._answers(open_session(model, threads=all_cores()), count)
        reference = {name: array[:count] for name, array in self._reference.items()}
        return self._metric.closeness(reference, answers, self._samples.sources[:count])

    def _answers(self, session: Session, count: int) -> dict[str, AnyArray]:
        feeds = self._samples[:count].feeds(self._network.inputs)
        return run_items(session, feeds, self._network.outputs)


def damages(
    judge: Judge, base: Base, groups: Sequence[Group], progress: Progress
) -> NDArray[np.float64]:
    """What each group harms, so that the sum over groups grows with the divergence of all.

    That is the divergence of the network in which only this group is in int8, raised to the power
    that `law` finds. Infinity for a group of which nothing can be int8.
    """
    tried = [index for index, group in enumerate(groups) if group.nodes & base.int8_nodes]
    items = max(int(_ENOUGH_S / max(len(tried) * judge.item_s, 1e-6)), _LEAST_ITEMS)
    everything = frozenset(node for group in groups for node in group.nodes)
    alone = []
    for count, index in enumerate(tried):
        if count % -(-len(tried) // _LINES) == 0:
            progress(f"what int8 harms: group {count + 1} of {len(tried)}")
        only = base.mix(everything - groups[index].nodes)
        alone.append(judge.closeness(only, items).divergence)
    divergences = np.maximum(np.array(alone), 0.0)
    together = judge.closeness(base.mix(), items).divergence
    found = np.full(len(groups), np.inf)
    found[tried] = divergences ** law(divergences, together)
    return found


def law(alone: NDArray[np.float64], together: float) -> float:
    """The power p, 1 to 2, with which sum(alone**p) comes nearest to together**p.

    Errors of groups are nearly independent: their squares add up. A divergence that is a square
    itself (Kullback and Leibler's, a share of energy) adds up as it is, p = 1; one that is linear
    in the errors, as the moved weight of detections, adds up in squares, p = 2.
    """
    powers = np.linspace(1, 2, 21)
    norms = [float((alone**power).sum() ** (1 / power)) for power in powers]
    return float(powers[int(np.abs(np.array(norms) - together).argmin())])
