"""Made-up networks of any size, from easy to as hard as they come.

* residual: a chain with a skip connection over every four nodes, as in ResNets.
* long-skips: a chain down and up, where each third node down is read again at the same height up,
  as in U-Nets: no single tensor joins two parts.
* dense: every node reads the last three, as in DenseNets: no single tensor joins two parts.
* random: every node reads two of the last sixteen at random, and what is left over is read by the
  next; no real network looks like this.

Node times are log-normal and add up to half a second on the edge and about a tenth of that in the
cloud; tensors are log-normal around 50 kB and shrink with depth to a twentieth.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from isthmus_bench.cut.subject import CutSubject
from isthmus_partitioner.cuts.dag import MODEL_INPUT, Costs, Dag, DagTensor

__all__ = ["FAMILIES", "synthetic_subject"]

Random = np.random.Generator
Edges = Iterator[tuple[int, int]]  # from a node to another that reads it

_EDGE_MS = 500.0
_INPUT_BYTES = 150_000.0  # a picture of 224 by 224
_TENSOR_BYTES = 50_000.0
_CODEC_MS_PER_BYTE = 4e-6  # encode and decode, at 0.5 GB/s each


def _residual(nodes: int, _: Random) -> Edges:
    yield from ((node, node + 1) for node in range(nodes - 1))
    yield from ((node, node + 4) for node in range(0, nodes - 4, 4))


def _long_skips(nodes: int, _: Random) -> Edges:
    yield from ((node, node + 1) for node in range(nodes - 1))
    yield from ((node, nodes - 1 - node) for node in range(0, nodes // 2 - 1, 3))


def _dense(nodes: int, _: Random) -> Edges:
    for node in range(1, nodes):
        yield from ((before, node) for before in range(max(0, node - 3), node))


def _random(nodes: int, random: Random) -> Edges:
    unread = set(range(nodes - 1))
    for node in range(1, nodes):
        chosen = {int(before) for before in random.integers(max(0, node - 16), node, 2)}
        unread -= chosen
        yield from ((before, node) for before in chosen)
    yield from ((node, node + 1) for node in sorted(unread))


FAMILIES: Mapping[str, Callable[[int, Random], Edges]] = MappingProxyType(
    {"residual": _residual, "long-skips": _long_skips, "dense": _dense, "random": _random}
)


def synthetic_subject(family: str, nodes: int, seed: int = 0) -> CutSubject:
    """A network of one of the FAMILIES, the same for the same seed."""
    random = np.random.default_rng(seed)
    readers: list[set[int]] = [set() for _ in range(nodes)]
    for maker, reader in FAMILIES[family](nodes, random):
        readers[maker].add(reader)
    tensors = [DagTensor("input", MODEL_INPUT, (0,))]
    tensors += [
        DagTensor(f"t{node}", node, tuple(sorted(read)), is_output=not read)
        for node, read in enumerate(readers)
    ]
    work = random.lognormal(size=nodes)
    edge_ms = work * (_EDGE_MS / work.sum())
    sizes = _TENSOR_BYTES * random.lognormal(size=nodes) * 0.05 ** (np.arange(nodes) / nodes)
    wire_bytes = np.concatenate(([_INPUT_BYTES], sizes))
    costs = Costs(
        edge_ms=edge_ms,
        cloud_ms=edge_ms * random.uniform(0.05, 0.15, nodes),
        wire_bytes=wire_bytes,
        wire_ms=wire_bytes * _CODEC_MS_PER_BYTE,
    )
    return CutSubject(family, nodes, Dag(nodes, tuple(tensors)), costs)
