"""Head runtimes: ONNX Runtime, LiteRT and tflite-runtime behind one seam."""

from isthmus_edge.runtimes.choice import (
    RuntimeChoice,
    Runtimes,
    departures,
    refusals,
    without_chains,
)
from isthmus_edge.runtimes.installed import EXTRAS, PACKAGES, FoundRuntime, found_runtimes
from isthmus_edge.runtimes.seam import (
    RUNTIME_NAMES,
    AnyArray,
    CallOffLike,
    Graph,
    GraphFiles,
    Runtime,
    RuntimeName,
)

__all__ = [
    "EXTRAS",
    "PACKAGES",
    "RUNTIME_NAMES",
    "AnyArray",
    "CallOffLike",
    "FoundRuntime",
    "Graph",
    "GraphFiles",
    "Runtime",
    "RuntimeChoice",
    "RuntimeName",
    "Runtimes",
    "departures",
    "found_runtimes",
    "refusals",
    "without_chains",
]
