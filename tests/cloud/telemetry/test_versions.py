"""Versions that are served have series, and those that are not have none."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

from tests.cloud.telemetry.records import done

from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.telemetry.metrics import PrometheusObserver

GUARD_S = 30


class Version:
    """As much of a deployment as its coming and going needs."""

    def __init__(self, version: str) -> None:
        self.name, self.version, self.fingerprint = "lite0", version, version
        self.answerer = SimpleNamespace(candidates=("cut-16",), takes_items=False)
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()

    @property
    def deployment(self) -> Deployment:
        return cast("Deployment", self)


def versions_of(metrics: PrometheusObserver, family: str) -> dict[str, float]:
    """The value of each version's series, by version."""
    (found,) = (each for each in metrics.registry.collect() if each.name == f"isthmus_{family}")
    samples: list[Any] = [each for each in found.samples if not each.name.endswith("_created")]
    return {each.labels["version"]: each.value for each in samples}


async def test_series_come_with_a_version_and_go_with_its_last_device() -> None:
    metrics = PrometheusObserver()
    deployments = Deployments(metrics, retire_s=0.0)
    old, new = Version("v1"), Version("v2")
    deployments.activate(old.deployment)
    deployments.take(old.deployment)
    metrics.note(done())
    deployments.activate(new.deployment)
    assert versions_of(metrics, "active") == {"v1": 0, "v2": 1}
    assert versions_of(metrics, "frames") == {"v1": 1, "v2": 0}
    deployments.give_back(old.deployment)
    assert await asyncio.to_thread(old.closed.wait, GUARD_S)
    assert versions_of(metrics, "active") == {"v2": 1}
    assert versions_of(metrics, "frames") == {"v2": 0}
    await deployments.close()
