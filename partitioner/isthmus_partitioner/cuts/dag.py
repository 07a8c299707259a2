"""The pure numbers of a cut: a DAG of nodes and tensors, what they cost, and what a cut costs.

No ONNX here: `dag_of_network` makes a `Dag` of a graph.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from isthmus import ConfigError, ModelError

__all__ = ["MODEL_INPUT", "Costs", "Dag", "DagTensor", "FoundCut", "Numbers"]

Numbers = NDArray[np.float64]
MODEL_INPUT = -1  # the "producer" of a tensor that the device holds from the beginning


@dataclass(frozen=True, slots=True)
class DagTensor:
    """A tensor, the index of the node that makes it, and those of the nodes that read it.

    `producer` is MODEL_INPUT for an input of the model. `consumers` are in ascending order.
    """

    name: str
    producer: int
    consumers: tuple[int, ...]
    is_cuttable: bool = True
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class Dag:
    """Nodes 0 … node_count - 1 in topological order, and the tensors between them.

    ModelError, which names the tensor, if a tensor is read by what runs before it is made.
    """

    node_count: int
    tensors: tuple[DagTensor, ...]

    def __post_init__(self) -> None:
        if self.node_count < 0:
            raise ModelError(f"a DAG of {self.node_count} nodes; allowed: 0 or more")
        for tensor in self.tensors:
            order = (tensor.producer, *tensor.consumers)
            if order[0] < MODEL_INPUT or not _ascends_below(self.node_count, order):
                raise ModelError(
                    f"tensor {tensor.name!r} is made by node {tensor.producer} and read by "
                    f"{tensor.consumers}; needed: node numbers below {self.node_count} in "
                    "ascending order, from -1 (an input of the model)"
                )


def _ascends_below(end: int, numbers: tuple[int, ...]) -> bool:
    return numbers[-1] < end and all(a < b for a, b in pairwise(numbers))


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """Costs by node (`edge_ms`, `cloud_ms`) and by tensor (`wire_bytes`, `wire_ms`).

    `wire_ms` is the time to encode and decode. All are finite and not negative; ConfigError names
    the first that is not, or the array whose length does not fit.
    """

    edge_ms: Numbers
    cloud_ms: Numbers
    wire_bytes: Numbers
    wire_ms: Numbers

    def __post_init__(self) -> None:
        for name in ("edge_ms", "cloud_ms", "wire_bytes", "wire_ms"):
            values = np.asarray(getattr(self, name), np.float64)
            bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
            if bad.size:
                raise ConfigError(f"{name}[{bad[0]}] is {values[bad[0]]}; allowed: 0 or more")
            object.__setattr__(self, name, values)

    def require_fit(self, dag: Dag) -> None:
        """ConfigError if these are not costs of `dag`."""
        nodes, tensors = (dag.node_count,), (len(dag.tensors),)
        shapes = {"edge_ms": nodes, "cloud_ms": nodes, "wire_bytes": tensors, "wire_ms": tensors}
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ConfigError(f"{name} has the shape {found}; the DAG needs {shape}")


@dataclass(frozen=True, slots=True)
class FoundCut:
    """A cut that is optimal for bandwidths from `from_bps` to `to_bps`, both included.

    `head` are the nodes on the edge, `tensors` the numbers of those that cross, each once.
    `edge_ms`, `cloud_ms`, `wire_ms` and `wire_bytes` are sums over what runs there and crosses.
    """

    head: frozenset[int]
    tensors: tuple[int, ...]
    edge_ms: float
    cloud_ms: float
    wire_ms: float
    wire_bytes: float
    from_bps: float
    to_bps: float

    def cost_ms(self, bandwidth_bps: float) -> float:
        """Time on the edge, in the codec, on the link without its round trip, and in the cloud."""
        transfer_ms = self.wire_bytes * 8e3 / bandwidth_bps
        return self.edge_ms + self.cloud_ms + self.wire_ms + transfer_ms
