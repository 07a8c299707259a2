"""What the tails of a service are run by: this process, or the replicas of a Ray of its own."""

import gc
import importlib.util
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.cloud.held_engine import HELD

from isthmus_cloud.deployments.deployment import TailSource
from isthmus_cloud.deployments.loading import LocalTails
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.replicas.opening import open_cluster
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.telemetry import Happening

if TYPE_CHECKING:
    from isthmus_cloud.replicas.cluster import Cluster

MOST = 8  # of a batch
COMPUTING = ("onnxruntime", "ray")
# Ray Serve 2.60 writes its options down as Pydantic 1 had them, and Ray forgets its processes
# without waiting for their ends.
RAY_WARNINGS = [
    pytest.mark.filterwarnings(
        "ignore:Using extra keyword arguments on `Field` is deprecated:DeprecationWarning"
    ),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

__all__ = ["COMPUTING", "MOST", "RAY_WARNINGS", "beside", "computing", "need_ray", "ray_of_its_own"]


def need_ray() -> None:
    """Skip the test where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: isthmus[ray] has it")


@contextmanager
def computing(kind: str, note: Callable[[Happening], None]) -> Iterator[TailSource]:
    """Tails that a `FarGate` holds up, by one of `COMPUTING`; Ray has two replicas, and `note`
    hears of calls that are lost."""
    if kind == "onnxruntime":
        cores = Cores(1)
        yield LocalTails(
            open_engine=partial(open_engine, HELD, "auto", cores),
            cores=cores,
            max_batch=MOST,
            announce=_ignore,
        )
        return
    with ray_of_its_own(RaySettings(least=2, most=2, cpus=0.1, engine=HELD)) as cluster:
        from isthmus_cloud.replicas.tails import replica_tails  # noqa: PLC0415 - it needs Ray

        yield partial(replica_tails, cluster, MOST, _ignore, note)


@contextmanager
def ray_of_its_own(settings: RaySettings) -> "Iterator[Cluster]":
    """A Ray that ends with the context, of which nothing is left that later tests would meet."""
    need_ray()
    at_sigterm = signal.getsignal(signal.SIGTERM)  # which Ray takes for itself
    with open_cluster(settings, _ignore) as cluster:
        yield cluster
    signal.signal(signal.SIGTERM, at_sigterm)
    gc.collect()  # of its processes, while nobody minds (`RAY_WARNINGS`)


@contextmanager
def beside(source: TailSource, **settings: object) -> Iterator[TailSource]:
    """That of another front end of the same Ray, which has one replica wherever there are any,
    unless `settings` say otherwise."""
    from isthmus_cloud.replicas.cluster import Cluster  # noqa: PLC0415 - it needs Ray

    assert isinstance(source, partial)
    first, *rest = source.args
    with Cluster(replace(first.settings, **({"least": 1, "most": 1} | settings))) as other:
        yield partial(source.func, other, *rest)


def _ignore(_said: object) -> None:
    """Nobody hears of it."""
