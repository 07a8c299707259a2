"""The best cut of one problem for one link, exactly: a minimum s-t cut by maximum flow.

A place on the edge is on the side of the source (place 0). An arc carries what is paid if it leads
from the edge to the cloud: place → sink the time that the edge takes longer, source → place the
time that it is faster, maker → reader the tensor's cost; a tensor of several readers has a vertex
of its own, which all of them are tied to, so that it is paid once. Reader → maker is without
limit: nothing flows back from the cloud.

The flow is scipy's (Dinic 1970: O(V²E) at worst, on graphs like these far less); it is kept, fast
and here already. networkx is pure Python and far slower, igraph and PyMaxflow are under the GPL,
OR-tools brings 30 MB.

**Rounding.** scipy's capacities are int32 and a float infinity gives wrong cuts. So costs are
scaled by a power of two such that the cheaper of "all on the edge" and "all in the cloud", which
bounds the flow, fits below 2^30, and what exceeds it is clipped to 2^30 - 1, which no minimum cut
contains. Whole costs that fit, and halves, are exact; others are rounded to about 2e-9 of that
bound each.

**Ties** go to fewer bytes, then to fewer places on the edge: all minimum cuts are the closed sets
of the residual graph (Picard & Queyranne 1980), among which a second, much smaller flow finds the
one of the fewest bytes. The minimum cut next to the source has the fewest places (Ford &
Fulkerson 1956).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from isthmus_partitioner.cuts.dag import Numbers
from isthmus_partitioner.cuts.problem import Indices, Mask, Problem

__all__ = ["cheapest_edge"]

_LIMIT = 2**30 - 1  # two of these, one for each direction, still fit in an int32


def cheapest_edge(problem: Problem, ms_per_byte: float) -> Mask:
    """The places on the edge in the best cut for one link; True for place 0, False for the last."""
    net = _Net.of(problem, ms_per_byte)
    edge, cloud, residual = net.sides()
    undecided = ~(edge | cloud)
    if undecided[: problem.last + 1].any():
        edge = edge | _fewest_bytes(problem, edge, undecided, residual)
    return edge[: problem.last + 1]


@dataclass(frozen=True, slots=True, eq=False)
class _Net:
    """Arcs with capacities, infinite ones included; no minimum cut costs more than `bound`."""

    vertices: int
    sink: int
    tail: Indices
    head: Indices
    capacity: Numbers
    bound: float

    @classmethod
    def of(cls, problem: Problem, ms_per_byte: float) -> "_Net":
        wire = problem.wire_at(ms_per_byte)
        extra = problem.extra_ms.copy()
        extra[[0, -1]] = 0.0
        slower, faster = np.flatnonzero(extra > 0), np.flatnonzero(extra < 0)
        vertex = _tensor_vertices(problem)
        own = np.flatnonzero(vertex > problem.last)
        many = np.flatnonzero(vertex[problem.read] > problem.last)
        free = np.flatnonzero(problem.maker[problem.read] > 0)
        arcs = (
            (slower, np.full_like(slower, problem.last), extra[slower]),
            (np.zeros_like(faster), faster, -extra[faster]),
            (problem.maker, vertex, wire),
            (vertex[problem.read[many]], problem.reader[many], np.full(len(many), np.inf)),
            (problem.reader[free], problem.maker[problem.read[free]], np.full(len(free), np.inf)),
        )
        tail, head, capacity = (np.concatenate(parts) for parts in zip(*arcs, strict=True))
        all_cloud = wire[problem.maker == 0].sum() - extra[faster].sum()
        bound = min(all_cloud, _all_on_edge(problem, wire) + extra[slower].sum())
        return cls(problem.last + 1 + len(own), problem.last, tail, head, capacity, float(bound))

    def sides(self) -> tuple[Mask, Mask, csr_array]:
        """What the source reaches, what reaches the sink, and the residual graph."""
        capacity = np.concatenate((_scaled(self.capacity, self.bound), np.zeros_like(self.tail)))
        where = np.concatenate((self.tail, self.head)), np.concatenate((self.head, self.tail))
        arcs = coo_array((capacity, where), shape=(self.vertices, self.vertices)).tocsr()
        arcs.data = np.minimum(arcs.data, _LIMIT).astype(np.int32)
        flow = maximum_flow(arcs, 0, self.sink).flow
        assert flow.nnz == arcs.nnz  # every arc has its reverse already: the same places
        residual = _only_positive(arcs, arcs.data - flow.data)
        return _reached(residual, 0), _reached(csr_array(residual.T), self.sink), residual


def _only_positive(like: csr_array, data: NDArray[np.int32]) -> csr_array:
    kept = data > 0
    ends = np.concatenate(([0], np.cumsum(kept)))[like.indptr]
    return csr_array((data[kept], like.indices[kept], ends), shape=like.shape)


def _tensor_vertices(problem: Problem) -> Indices:
    """Where each tensor's arc ends: at its only reader, or at a vertex of its own."""
    is_shared = np.bincount(problem.read, minlength=len(problem.maker)) > 1
    return np.where(is_shared, problem.last + np.cumsum(is_shared), problem.last_reader())


def _all_on_edge(problem: Problem, wire: Numbers) -> float:
    """What crosses where nothing but the last place is in the cloud, each tensor once."""
    return float(wire[problem.last_reader() == problem.last].sum())


def _scaled(capacity: Numbers, bound: float) -> NDArray[np.int64]:
    """Whole numbers, with room for the rounding of each; a power of two keeps what was whole."""
    if bound == 0.0:
        return (capacity > 0).astype(np.int64)
    scale = 2.0 ** np.floor(np.log2((_LIMIT - 1 - len(capacity)) / bound))
    whole: NDArray[np.int64] = np.rint(np.minimum(capacity * scale, _LIMIT)).astype(np.int64)
    return whole


def _reached(arcs: csr_array, start: int) -> Mask:
    found = np.zeros(arcs.shape[0], np.bool_)
    found[breadth_first_order(arcs, start, return_predecessors=False)] = True
    return found


def _fewest_bytes(problem: Problem, edge: Mask, undecided: Mask, residual: csr_array) -> Mask:
    """Which undecided vertices to have on the edge; what they reach by residual arcs comes along.

    Vertex 0 stands for the edge, the last one for the cloud.
    """
    inner = np.flatnonzero(undecided)
    sink = len(inner) + 1
    number = np.where(edge, 0, sink)
    number[inner] = np.arange(1, sink)
    tail, head = number[problem.maker], number[_tensor_vertices(problem)]
    pays = (tail < sink) & (head > 0) & (tail != head) & ~((tail == 0) & (head == sink))
    tail, head, size = tail[pays], head[pays], problem.wire_bytes[pays]
    tied = residual[inner][:, inner].tocoo()
    net = _Net(
        vertices=sink + 1,
        sink=sink,
        tail=np.concatenate((tail, tied.row + 1)),
        head=np.concatenate((head, tied.col + 1)),
        capacity=np.concatenate((size, np.full(tied.nnz, np.inf))),
        bound=float(min(size[tail == 0].sum(), size[head == sink].sum())),
    )
    chosen = np.zeros_like(edge)
    chosen[inner] = net.sides()[0][1:sink]
    return chosen
