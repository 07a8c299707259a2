"""TFLite twins of ONNX graphs: which there are, and whether they answer as the originals do."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from isthmus import TfliteForm
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.tflite import Lowered, NotLoweredError, Twin, lower, verify

# Graphs that do the same sums round otherwise: an integer is off by a step now and then, and what
# follows carries it on. ONNX Runtime with and without its fusions differs as much from itself: by
# half a step in the mean behind the middle of EfficientNet-Lite0.
MOST_STEPS = 1.0  # mean difference of an output's integers
MOST_RELATIVE = 0.05  # of an output's floats, as integers before them may have rounded

__all__ = ["MOST_RELATIVE", "MOST_STEPS", "require_alike", "twin_agreement", "write_twin"]

Feeds = Sequence[Mapping[str, AnyArray]]


def write_twin(model: onnx.ModelProto, base: Path, path: Path, feeds: Feeds = ()) -> TfliteForm:
    """Write the twin of `model` to `path`; larger constants of the model may lie in `base`.

    `feeds` are items (graph inputs by name, a batch of one) on which both must be alike.
    NotLoweredError where TFLite does not cover the graph, or the twin answers otherwise.
    """
    lowered = lower(model, base)
    if feeds:
        require_alike(lowered, model, feeds)
    path.write_bytes(lowered.data)
    return TfliteForm(file=path.name, channels_last=lowered.channels_last)


def require_alike(lowered: Lowered, model: onnx.ModelProto, feeds: Feeds) -> None:
    """NotLoweredError unless a lowered graph answers as its original does, up to rounding."""
    found = verify(lowered, model, feeds)
    if found.mean_steps > MOST_STEPS or not found.relative <= MOST_RELATIVE:
        raise NotLoweredError(
            f"the lowered graph answers otherwise: integers differ by {found.mean_steps:.2f} steps "
            f"in the mean, floats by {found.relative:.1%}"
        )


def twin_agreement(
    network: Network, model: onnx.ModelProto, items: Samples, metric: Metric
) -> float:
    """The agreement (0-1) of a network's twin in LiteRT with the unsplit fp32 network.

    NotLoweredError where there is none.
    """
    feeds = list(items.feeds(network.inputs))
    whole = open_session(network.model, threads=all_cores())
    reference = run_items(whole, feeds, network.outputs)
    twin = Twin(lower(model, network.path.parent), model)
    names = [info.name for info in model.graph.output]
    rows = [dict(zip(names, twin.run(feed), strict=True)) for feed in feeds]
    answers = {
        spec.name: np.stack([row[spec.name].reshape(spec.shape) for row in rows])
        for spec in network.outputs
    }
    return metric.closeness(reference, answers, items.sources).agreement
