"""Tiny networks that were read, quantised and planned once for all tests of this room."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from tests.partitioner.networks import pictures, residual, saved
from tests.partitioner.serving import Bundle

from isthmus_edge.profiling import ProfilingConfig, profile_kit
from isthmus_partitioner import (
    Devices,
    Goals,
    ModelCard,
    Network,
    Plan,
    PlanConfig,
    Samples,
    SampleSets,
    Workbench,
    load_model,
)
from isthmus_partitioner.agreement.metrics import Metric, metric_for
from isthmus_partitioner.parts import timing
from isthmus_partitioner.precision.search import Precision, search
from isthmus_partitioner.wire import through


def ignore(_line: str) -> None:
    """Nobody reads the progress."""


def samples_of(count: int, seed: int, source: str) -> Samples:
    """Pictures that all tiny networks take."""
    return Samples({"picture": pictures(count, seed=seed)}, (source,) * count)


@dataclass(frozen=True)
class Planned:
    """A plan and the folder of its files."""

    plan: Plan
    parts: Path

    @property
    def bundle(self) -> Bundle:
        """What device and cloud make of it."""
        return Bundle(self.plan.manifest, self.parts)


# Half the ladder and one picture format: a plan of a tiny network in a second.
QUICK = PlanConfig(
    goals=Goals(min_agreement=0.0),
    edge_network_ms=500,
    steps=(1 / 4, 1 / 2, 1),
    pictures=("jpeg",),
    qualities=(95, 85),
    bottleneck=False,
    max_cuts=2,
)
HERE = Devices(measure=partial(profile_kit, config=ProfilingConfig(rounds=3, kernel_runs=1)))
LABELS = ("ant", "bee", "cat", "dog", "eel")


@pytest.fixture(scope="session")
def sets() -> SampleSets:
    return SampleSets(
        fitted=samples_of(8, 1, "one"),
        held_back=samples_of(4, 3, "two"),
        evaluation=samples_of(9, 2, "three"),
    )


@pytest.fixture
def read(tmp_path: Path) -> Callable[[onnx.ModelProto], Network]:
    """Save a model and read it back as a network."""
    return lambda model: load_model(saved(model, tmp_path / "model.onnx"))


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """The residual network."""
    return load_model(saved(residual(), tmp_path_factory.mktemp("network") / "residual.onnx"))


@pytest.fixture(scope="session")
def metric(network: Network) -> Metric:
    return metric_for("classify", network.outputs)


@pytest.fixture
def steady_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding takes no time, and a tail takes its own, not that for which the cores were busy
    otherwise: what a plan keeps does not hang on how fast it was here."""
    free = SimpleNamespace(thread_time=lambda: 0.0, sleep=time.sleep)
    monkeypatch.setattr(through, "time", free)
    clock = time.thread_time
    own = SimpleNamespace(thread_time=clock, perf_counter=clock, sleep=time.sleep)
    monkeypatch.setattr(timing, "time", own)


@pytest.fixture(scope="session")
def quantised(network: Network, sets: SampleSets, metric: Metric) -> Precision:
    """The residual network's front, int8 graph and chosen head."""
    return search(network, sets, metric, ignore, budget=QUICK.divergence_budget)


@pytest.fixture(scope="session")
def planned(
    network: Network, sets: SampleSets, metric: Metric, tmp_path_factory: pytest.TempPathFactory
) -> Planned:
    """A plan of the residual network for a slow device, with whatever agreement."""
    work = tmp_path_factory.mktemp("planned")
    bench = Workbench(
        network,
        sets,
        metric,
        devices=HERE,
        config=replace(QUICK, pictures=("jpeg", "webp"), lossless_pictures=True, bottleneck=True),
        work=work,
        card=ModelCard("residual", LABELS),
        progress=ignore,
    )
    return Planned(bench.plan(), work / "parts")
