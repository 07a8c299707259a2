"""Tiny networks of all kinds for the precision room, and how their mixes are run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from tests.partitioner.graph.graphs import parsed, weights
from tests.partitioner.networks import saved

from isthmus.agreement.closeness import Answers, Closeness, closeness_of
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.precision.qdq import QdqGraph, quantised_graph, tensors_to_range
from isthmus_partitioner.precision.ranges import collect_ranges
from isthmus_partitioner.precision.splice import Splicer
from isthmus_partitioner.runtime import open_session, run_items
from isthmus_partitioner.samples import Samples, SampleSets


def ignore(_line: str) -> None:
    """Nobody reads the progress."""


class Energy:
    """The share of error in the answers' energy; equal answers agree."""

    name = "equal"

    def closeness(
        self, reference: Answers, answers: Answers, sources: Sequence[str] = ()
    ) -> Closeness:
        """Of answers to the same n items."""
        (name,) = reference
        wanted, got = (
            np.float64(each[name]).reshape(len(each[name]), -1) for each in (reference, answers)
        )
        error = np.square(got - wanted).sum(axis=1) / np.square(wanted).sum(axis=1)
        return closeness_of((error == 0).astype(np.float64), error, sources)


def network_of(model: onnx.ModelProto, folder: Path) -> Network:
    return load_model(saved(model, folder / "model.onnx"))


def with_skip() -> onnx.ModelProto:
    """Two layers with activations, a skip connection, a pool, and an answer that a layer makes."""
    return parsed(
        """g (float[N,3,8,8] x) => (float[N,4,1,1] y) {
            a = Conv <pads = [1,1,1,1]> (x, wa, ba)
            ra = Relu (a)
            b = Conv <pads = [1,1,1,1]> (ra, wb, bb)
            s = Add (b, ra)
            rs = Relu (s)
            p = GlobalAveragePool (rs)
            y = Conv (p, wy)
        }""",
        wa=weights(6, 3, 3, 3, seed=1), ba=weights(6, seed=2), wb=weights(6, 6, 3, 3, seed=3),
        bb=weights(6, seed=4), wy=weights(4, 6, 1, 1, seed=5),
    )  # fmt: skip


def two_inputs() -> onnx.ModelProto:
    """A picture-like input and a vector, each through layers of its own."""
    return parsed(
        """g (float[N,16] x, float[N,8] z) => (float[N,4] y) {
            a = Gemm (x, wa, ba)
            ra = Relu (a)
            b = MatMul (z, wb)
            both = Concat <axis = 1> (ra, b)
            y = Gemm (both, wy, by)
        }""",
        wa=weights(16, 12, seed=1), ba=weights(12, seed=2), wb=weights(8, 6, seed=3),
        wy=weights(18, 4, seed=4), by=weights(4, seed=5),
    )  # fmt: skip


def noise(network: Network, count: int, seed: int, source: str = "noise") -> Samples:
    """Seeded noise for every float input."""
    random = np.random.default_rng(seed)
    arrays = {
        spec.name: random.standard_normal((count, *spec.shape)).astype(np.float32)
        for spec in network.inputs
    }
    return Samples(arrays, (source,) * count)


def noise_sets(network: Network) -> SampleSets:
    return SampleSets(
        fitted=noise(network, 6, 0, "one"),
        held_back=noise(network, 6, 1, "two"),
        evaluation=noise(network, 6, 2, "three"),
    )


def quantised(network: Network) -> QdqGraph:
    samples = noise(network, 6, 0)
    ranges = collect_ranges(network, samples, tensors_to_range(network))
    return quantised_graph(network, ranges["minmax"])


def splicer_of(network: Network) -> Splicer:
    return Splicer(network.model, quantised(network))


def answers(model: onnx.ModelProto, network: Network) -> NDArray[np.float64]:
    """The answers `y` to the same noise, one thread."""
    feeds = noise(network, 4, 9).feeds(network.inputs)
    return run_items(open_session(model, threads=1), feeds, network.outputs)["y"].astype(np.float64)


def node_of(network: Network, output: str) -> int:
    """The index of the node that makes a tensor."""
    nodes = network.model.graph.node
    return next(index for index, node in enumerate(nodes) if output in node.output)
