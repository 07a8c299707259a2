"""How coarse a cut's wire may be before answers suffer: asked of a few items, before building.

Forecasts at a fixed step flatter early cuts, whose tensors need finer steps than late ones. A probe
quantises the fp32 network's tensors and runs the fp32 tail, on items that nothing was fitted to.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus import (
    Encoding,
    Lossless,
    ModelError,
    Symbols,
    left_to_answer,
    quantised,
)
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.parts.boundary import ChainCut
from isthmus_partitioner.parts.segments import tail_model
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.wire.feeds import tail_feeds
from isthmus_partitioner.wire.ladder import step_encodings

__all__ = ["PROBED_STEPS", "Probe"]

PROBED_STEPS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # standard deviations
_ITEMS = 6


class Probe:
    """Asks cuts of one network for the coarsest step within a divergence.

    `refused` says, by the title of the cut, why the runtime does not take its head or its tail.
    """

    def __init__(self, network: Network, held_back: Samples, metric: Metric, most: float) -> None:
        self._network, self._items = network, held_back[:_ITEMS]
        self._metric, self._most = metric, most
        self.refused: dict[str, str] = {}
        whole = open_session(network.model, threads=all_cores())
        feeds = self._items.feeds(network.inputs)
        self._reference = run_items(whole, feeds, network.outputs)

    def step(self, cut: ChainCut) -> float | None:
        """The coarsest of `PROBED_STEPS` that keeps the divergence; the finest if none does.

        `cut` is one of the fp32 network; None for one that cannot be run in two parts.
        """
        try:
            return self._step(cut)
        except ModelError as error:
            self.refused[cut.cut.title] = first_line(error)
            return None

    def _step(self, cut: ChainCut) -> float:
        specs = [boundary.tensor for boundary in cut.boundaries]
        values = activations(self._network, specs, self._items)
        rungs = self._rungs(cut, values)
        tail = open_session(tail_model(self._network, cut), threads=all_cores())
        outputs = left_to_answer(self._network.outputs, cut.cut.answers)
        for step, rung in zip(reversed(PROBED_STEPS), reversed(rungs), strict=True):
            sent = [
                quantised(values[spec.name].view(np.float32), encoding)
                if isinstance(encoding, Symbols)
                else values[spec.name]
                for spec, encoding in zip(specs, rung, strict=True)
            ]
            arrived = run_items(tail, tail_feeds(cut.boundaries, sent, rung), outputs)
            answers = {**self._reference, **arrived}  # what the head has answered stays
            if self._metric.closeness(self._reference, answers).divergence <= self._most:
                return step
        return PROBED_STEPS[0]

    def _rungs(
        self, cut: ChainCut, values: Mapping[str, AnyArray]
    ) -> Sequence[tuple[Encoding, ...]]:
        columns: list[Sequence[Encoding]] = [
            step_encodings(values[boundary.tensor.name].view(np.float32), PROBED_STEPS, None)
            if boundary.is_quantised
            else (Lossless(),) * len(PROBED_STEPS)
            for boundary in cut.boundaries
        ]
        return tuple(zip(*columns, strict=True))
