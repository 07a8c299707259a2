"""Tiny networks that were read, quantised and planned once for all tests of this room."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest
from tests.partitioner.networks import pictures, residual, saved
from tests.partitioner.serving import Bundle

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

    @property
    def bundle(self) -> Bundle:
        """What device and cloud know of it."""
        return Bundle(self.plan.manifest, self.parts)


# Half the ladder and one picture format: a plan of a tiny network in less than a second.
QUICK = PlanConfig(
    agreement_floor=0.0,
    edge_network_ms=500,
    steps=(1 / 4, 1 / 2, 1),
    pictures=("jpeg",),
    qualities=(95, 85),
    bottleneck=False,
    fp32_layers=(0, 1),
)
LABELS = ("ant", "bee", "cat", "dog", "eel")


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
    return quantise(network, sets, QUICK, tmp_path_factory.mktemp("quantised"), ignore)


@pytest.fixture(scope="session")
def planned(
    network: Network, sets: PictureSets, tmp_path_factory: pytest.TempPathFactory
) -> Planned:
    """A plan of the residual network for a slow device, with whatever agreement."""
    work = tmp_path_factory.mktemp("planned")
    bench = Workbench(
        network,
        sets,
        config=replace(QUICK, pictures=("jpeg", "webp"), lossless_pictures=True, bottleneck=True),
        work=work,
        card=ModelCard("residual", LABELS),
        progress=ignore,
    )
    return Planned(bench.plan(), work / "parts")
