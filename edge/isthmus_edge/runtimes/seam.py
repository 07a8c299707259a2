"""The seam behind which the device's networks run: a runtime loads graphs, a graph runs.

A graph goes by the names, types and layout of the manifest, whatever its runtime has inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from isthmus import RuntimeName, Segment, TensorSpec, TfliteForm

AnyArray = NDArray[np.generic]
RUNTIME_NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)

__all__ = [
    "RUNTIME_NAMES",
    "AnyArray",
    "CallOffLike",
    "Graph",
    "GraphFiles",
    "Runtime",
    "RuntimeName",
]


class CallOffLike(Protocol):
    """What tells a run that nobody waits for it any more."""

    def stops(self, stop: "Stop") -> None:
        """Have `stop` called when that happens; at once, if it has happened."""
        ...


class Stop(Protocol):
    """Stops a run; called from any thread."""

    def __call__(self) -> None:
        """Stop it."""
        ...


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """One graph on disk in the forms that there are, below `folder`.

    `inputs` and `outputs` are as the manifest has them, in the order of the files' own; no outputs:
    nobody reads them, it is run to be timed.
    """

    folder: Path
    onnx: str
    tflite: TfliteForm | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, folder: Path, segment: Segment) -> "GraphFiles":
        """Those of a segment of a bundle in `folder`."""
        return cls(folder, segment.file, segment.tflite, segment.inputs, segment.outputs)

    def refused_by(self, runtime: RuntimeName) -> str | None:
        """Why a runtime cannot take it, as far as that can be said without loading it."""
        if runtime == "onnxruntime" or self.tflite is not None:
            return None
        return f"{self.onnx} has no TFLite form"


class Graph(Protocol):
    """A graph that is loaded. One thread runs it at a time."""

    @property
    def file(self) -> str:
        """The file that it was loaded from."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What it holds: the growth of the process while it was loaded, at least its file."""
        ...

    def run(
        self,
        feeds: Mapping[str, AnyArray],
        wanted: Sequence[str],
        call_off: CallOffLike | None = None,
    ) -> tuple[AnyArray, ...]:
        """The `wanted` outputs for all inputs, each of its `TensorSpec.graph_shape`.

        ModelError if the runtime fails, or stops because it was called off.
        """
        ...


class Runtime(Protocol):
    """One runtime that is installed here."""

    @property
    def name(self) -> RuntimeName:
        """As an explicit choice names it."""
        ...

    @property
    def version(self) -> str:
        """That of the package."""
        ...

    def refusal(self, files: GraphFiles) -> str | None:
        """Why it cannot take a graph, as far as that can be said without loading it."""
        ...

    def load(self, files: GraphFiles, threads: int) -> Graph:
        """Ready to run; ModelError with the way out if this runtime cannot load it."""
        ...

    def describe(self) -> str:
        """Name and version, and how it computes, for people."""
        ...
