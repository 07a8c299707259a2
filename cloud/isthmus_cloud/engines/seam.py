"""The seam between the service and what computes: engines load graphs, programs run batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[np.generic]
# A tensor where the engine keeps it: an array of the host, or a handle of a device's memory.
Value: TypeAlias = object

_OTHER_NAMES = {"float32": "float", "float64": "double"}

__all__ = ["Engine", "Program", "Value", "type_name"]


class Program(Protocol):
    """One graph, ready to run; called from several worker threads at once."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """The graph's inputs in order: their type by name, as "tensor(uint8)"."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of its outputs, in its order."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that it takes, ascending: others are padded to the next; () for any."""

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """The outputs for a batch, in the graph's order; arrays of the host are values, too.

        Raises ModelError if it fails; the program can be run again then.
        """


class Engine(Protocol):
    """Loads graphs of one bundle."""

    @property
    def provider(self) -> str:
        """What computes, for people and for the Welcome ("CPUExecutionProvider")."""

    def load(self, path: Path) -> Program:
        """Ready to run; ModelError if the file cannot be run here, with the way out."""

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Batches of one tensor as one batch, in order, along its batch axis."""

    def to_host(self, value: Value) -> AnyArray:
        """The tensor as an array."""

    def close(self) -> None:
        """Let go of everything; no program runs any more."""


def type_name(data_type: str) -> str:
    """ONNX Runtime's name of a type that numpy calls so: "tensor(float)" for "float32"."""
    return f"tensor({_OTHER_NAMES.get(data_type, data_type)})"
