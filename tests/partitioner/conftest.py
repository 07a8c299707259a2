"""Tiny networks that were read, quantised and planned once for all tests of this room."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from tests.partitioner.networks import pictures, residual, saved

from isthmus_partitioner import (
    ModelCard,
    Network,
    PictureSets,
    Plan,
    PlanConfig,
    Quantised,
    Workbench,
    load_model,
    quantise,
)


def ignore(_line: str) -> None:
    """Nobody reads the progress."""


@dataclass(frozen=True)
class Planned:
    """A plan and the folder of its files."""

    plan: Plan
    parts: Path


@pytest.fixture(scope="session")
def sets() -> PictureSets:
    return PictureSets(pictures(12, seed=1), pictures(9, seed=2))


@pytest.fixture
def read(tmp_path: Path) -> Callable[[onnx.ModelProto], Network]:
    """Save a model and read it back as a network."""
    return lambda model: load_model(saved(model, tmp_path / "model.onnx"))


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """The residual network."""
    return load_model(saved(residual(), tmp_path_factory.mktemp("network") / "residual.onnx"))


@pytest.fixture(scope="session")
def quantised(
    network: Network, sets: PictureSets, tmp_path_factory: pytest.TempPathFactory
) -> Quantised:
    config = PlanConfig(fp32_layers=(0, 1))
    return quantise(network, sets, config, tmp_path_factory.mktemp("quantised"), ignore)


@pytest.fixture(scope="session")
def planned(
    network: Network, sets: PictureSets, tmp_path_factory: pytest.TempPathFactory
) -> Planned:
    """A plan of the residual network for a slow device, with whatever agreement."""
    work = tmp_path_factory.mktemp("planned")
    bench = Workbench(
        network.path,
        sets,
        config=PlanConfig(agreement_floor=0.0, edge_network_ms=500, fp32_layers=(0, 1)),
        work=work,
        card=ModelCard("residual", ("ant", "bee", "cat", "dog", "eel")),
        progress=ignore,
    )
    return Planned(bench.plan(), work / "parts")
