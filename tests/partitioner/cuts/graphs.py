"""Small random DAGs with whole costs, and every cut of them, one by one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.cuts.dag import Costs, Dag, DagTensor, Numbers

Random = np.random.Generator


def random_dag(random: Random, nodes: int, reach: int = 5) -> Dag:
    """One to three inputs, nodes of up to three inputs and two outputs, some without any.

    A fifth of the tensors may not cross; some are read by nobody, some by several.
    """
    makers = [-1] * int(random.integers(1, 4))
    readers: list[set[int]] = [set() for _ in makers]
    for node in range(nodes):
        count = min(int(random.integers(0, 4)), len(makers))
        recent = range(max(0, len(makers) - reach), len(makers))
        for tensor in random.permutation(recent)[:count]:
            readers[tensor].add(node)
        for _ in range(int(random.integers(1, 3))):
            makers.append(node)
            readers.append(set())
    return Dag(
        nodes,
        tuple(
            DagTensor(f"t{n}", maker, tuple(sorted(read)), bool(random.random() < 0.8), not read)
            for n, (maker, read) in enumerate(zip(makers, readers, strict=True))
        ),
    )


def random_costs(random: Random, dag: Dag, *, whole: bool = True) -> Costs:
    """Small numbers, many of them 0, the edge often the faster side."""

    def draw(count: int, end: int) -> Numbers:
        values = random.integers(0, end, count).astype(np.float64)
        return values if whole else values * random.lognormal(size=count)

    tensors = len(dag.tensors)
    return Costs(
        edge_ms=draw(dag.node_count, int(random.choice([3, 12]))),
        cloud_ms=draw(dag.node_count, int(random.choice([2, 6]))),
        wire_bytes=draw(tensors, 8),
        wire_ms=draw(tensors, int(random.choice([1, 3]))),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A cut as its head and its cost over ms per byte: fixed_ms + wire_bytes * that."""

    head: frozenset[int]
    fixed_ms: float
    wire_bytes: float


@dataclass(frozen=True, slots=True, eq=False)
class EveryCut:
    """All cuts of a DAG of at most a dozen nodes."""

    heads: NDArray[np.bool_]
    fixed_ms: Numbers
    wire_bytes: Numbers

    @classmethod
    def of(cls, dag: Dag, costs: Costs) -> "EveryCut":
        numbers = np.arange(2**dag.node_count)[:, None]
        heads = (numbers >> np.arange(dag.node_count) & 1).astype(np.bool_)
        fixed_ms = heads @ costs.edge_ms + ~heads @ costs.cloud_ms
        wire_bytes = np.zeros(len(heads))
        for number, tensor in enumerate(dag.tensors):
            if tensor.consumers:
                readers = heads[:, list(tensor.consumers)]
                is_made = tensor.producer < 0 or heads[:, tensor.producer]
                crosses = is_made & ~readers.all(axis=1)
                flows_back = ~np.asarray(is_made) & readers.any(axis=1)
                forbidden = flows_back if tensor.is_cuttable else flows_back | crosses
                fixed_ms = np.where(forbidden, np.inf, fixed_ms)
                fixed_ms = fixed_ms + crosses * costs.wire_ms[number]
                wire_bytes = wire_bytes + crosses * costs.wire_bytes[number]
        allowed = np.isfinite(fixed_ms)
        return cls(heads[allowed], fixed_ms[allowed], wire_bytes[allowed])

    def best(self, ms_per_byte: float) -> Line:
        """The cheapest, then the fewest bytes, then the fewest nodes on the edge."""
        cost_ms = self.fixed_ms + self.wire_bytes * ms_per_byte
        return self._first(np.flatnonzero(cost_ms == cost_ms.min()))

    def envelope(self, lowest: float, highest: float) -> tuple[list[Line], list[float]]:
        """The best from one time per byte to another, and where they change."""
        lines = [self.best(lowest)]
        changes: list[float] = []
        while True:
            last = lines[-1]
            lighter = np.flatnonzero(self.wire_bytes < last.wire_bytes)
            if not lighter.size:
                return lines, changes
            gains = (self.fixed_ms[lighter] - last.fixed_ms) / (
                last.wire_bytes - self.wire_bytes[lighter]
            )
            if gains.min() > highest:
                return lines, changes
            changes.append(float(gains.min()))
            lines.append(self._first(lighter[gains == gains.min()]))

    def _first(self, among: NDArray[np.intp]) -> Line:
        order = np.lexsort((self.heads[among].sum(axis=1), self.wire_bytes[among]))
        chosen = among[order[0]]
        head = frozenset(np.flatnonzero(self.heads[chosen]).tolist())
        return Line(head, float(self.fixed_ms[chosen]), float(self.wire_bytes[chosen]))
