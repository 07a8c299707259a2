"""Made-up items, for a network that nobody gave inputs for: good for times, for nothing else.

Ranges that are fitted to them, and agreement on them, say nothing about real inputs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from isthmus import ModelError, TensorSpec
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples, SampleSets, split_by_source

__all__ = ["MADE_UP", "made_up", "made_up_sets", "table_sizes"]

MADE_UP = (
    "the inputs are made up: times and bytes of whole tensors hold, but int8 ranges, entropy-coded "
    "sizes and agreement are worthless until you give real inputs (--inputs FILE.npz)"
)
ITEMS = 40
MOST_IDS = (1000, 256, 2, 1)  # in turn, until the network takes them
RATE_HZ = 16_000
_LONG = 400  # a row of so many floats is taken for sound
_SMOOTHNESS = 8  # samples
_FLAG_NAME = re.compile("type|segment|flag", re.IGNORECASE)
_RATE_NAME = re.compile(r"(^|_)(sr|rate|fs)($|_)|sampl(e|ing)_?rate", re.IGNORECASE)


def made_up_sets(network: Network, count: int = ITEMS) -> SampleSets:
    """Items that this network takes, with a note on their worth.

    ModelError if it takes none of those that were tried.
    """
    session = open_session(network.model, threads=all_cores())
    tables = table_sizes(network.model.graph)
    for most in MOST_IDS:
        limits = {
            spec.name: min(most, tables.get(spec.name, most))
            for spec in network.inputs
            if "int" in spec.data_type
        }
        samples = made_up(network.inputs, count, limits=limits)
        try:
            run_items(session, samples[:1].feeds(network.inputs), network.outputs)
            break
        except ModelError:
            if most == MOST_IDS[-1]:
                raise
    return replace(split_by_source(samples), notes=(MADE_UP,), are_real=False)


def made_up(
    inputs: Sequence[TensorSpec],
    count: int,
    *,
    sources: int = 8,
    limits: Mapping[str, int] | None = None,
) -> Samples:
    """`count` items from as many random generators as there are sources; the same each time.

    Floats are normal, or smooth noise where they look like sound; integers lie from 0 up to 1,000,
    or to below their input's limit; masks are true, flags 0 or 1, sampling rates 16,000.
    """
    known = limits or {}
    owners = [row % sources for row in range(count)]
    randoms = [np.random.default_rng(source) for source in range(sources)]
    arrays = {
        spec.name: np.stack([_row(spec, known, randoms[owner]) for owner in owners])
        for spec in inputs
    }
    return Samples(arrays, tuple(f"seed {owner}" for owner in owners))


def table_sizes(graph: onnx.GraphProto) -> dict[str, int]:
    """For inputs that a Gather looks up in a constant: how many rows it has."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    sizes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in shapes:
            axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
            size = shapes[node.input[0]][axis]
            sizes[node.input[1]] = min(size, sizes.get(node.input[1], size))
    return sizes


def _row(spec: TensorSpec, limits: Mapping[str, int], random: np.random.Generator) -> AnyArray:
    if "mask" in spec.name.lower():
        return np.ones(spec.shape, spec.data_type)
    if spec.data_type == "bool":
        return random.random(spec.shape) < 0.5
    if spec.data_type.startswith("float"):
        values = _sound(spec, random) if _is_sound(spec) else random.standard_normal(spec.shape)
        return np.asarray(values).astype(spec.data_type)
    if spec.size == 1 and _RATE_NAME.search(spec.name):
        return np.full(spec.shape, RATE_HZ, spec.data_type)
    highest = 2 if _FLAG_NAME.search(spec.name) else MOST_IDS[0]
    limit = min(np.iinfo(spec.data_type).max + 1, limits.get(spec.name, highest), highest)
    return np.asarray(random.integers(0, limit, spec.shape)).astype(spec.data_type)


def _is_sound(spec: TensorSpec) -> bool:
    return max(spec.shape, default=0) == spec.size >= _LONG


def _sound(spec: TensorSpec, random: np.random.Generator) -> AnyArray:
    """Noise without its highest frequencies, about as loud as speech."""
    noise = random.standard_normal(spec.size + _SMOOTHNESS - 1)
    smooth = np.convolve(noise, np.full(_SMOOTHNESS, _SMOOTHNESS**-0.5), "valid")
    return 0.1 * smooth.reshape(spec.shape)
