"""Small graphs with the traps of other people's exporters, written in ONNX's own notation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from isthmus_partitioner import Network
from isthmus_partitioner.runtime import open_session, run_one

Array = NDArray[Any]


class Read(Protocol):
    """Saves a model and loads it as a network."""

    def __call__(self, model: onnx.ModelProto, sizes: Mapping[str, int] | None = None) -> Network:
        """`sizes` as those of load_model."""
        ...


def parsed(body: str, /, opset: int = 17, **constants: Array) -> onnx.ModelProto:
    """`g (inputs) => (outputs) { nodes }`, with the constants as initialisers."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
    model = parser.parse_model(header + body)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def weights(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Seeded noise, small enough not to saturate anything."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(noise * shape[0] ** -0.5, np.float32)


def answers(model: onnx.ModelProto | Path, feed: dict[str, Array], names: list[str]) -> list[Array]:
    """The named outputs."""
    return run_one(open_session(model, threads=1), feed, names)


def ops(network: Network) -> list[str]:
    """Kinds of the nodes, in order."""
    return [node.op_type for node in network.model.graph.node]


def notes(network: Network) -> str:
    """All notes as one text."""
    return "\n".join(network.notes)
