"""The door to Ray: where nobody asks for replicas, nothing of it is imported."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from isthmus import ConfigError
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.replicas.settings import MAX_CALL_BYTES, RaySettings

if TYPE_CHECKING:
    from isthmus_cloud.replicas.cluster import Cluster

# Ray reads these when it is imported, and what it starts inherits them. Whoever has set one, or has
# started the cluster otherwise, is not overruled.
ENVIRONMENT: Mapping[str, str] = {
    "RAY_AUTH_MODE": "token",  # to join a cluster with one; a local Ray has it anyway
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    "RAY_worker_niceness": "0",  # 15: replicas would give way to everything else
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",  # 10: replicas would come late
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MAX_CALL_BYTES),
}

__all__ = ["ENVIRONMENT", "front_end", "open_cluster"]


@asynccontextmanager
async def front_end(
    config: ServiceConfig, announce: Callable[[str], None]
) -> "AsyncIterator[Cluster | None]":
    """The cluster that the service has its tails run on, None where it runs them itself."""
    if config.ray is None:
        yield None
        return
    opened = open_cluster(config.ray, announce)
    cluster = await asyncio.to_thread(opened.__enter__)
    try:
        yield cluster
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


def open_cluster(
    settings: RaySettings, announce: Callable[[str], None]
) -> "AbstractContextManager[Cluster]":
    """See `cluster.cluster_joined`; ConfigError where Ray is not installed."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from isthmus_cloud.replicas.cluster import cluster_joined  # noqa: PLC0415 - see the module
    except ImportError as error:
        raise ConfigError(
            f"engine 'ray' needs Ray Serve ({error}): install isthmus[ray], on every machine of "
            "the cluster"
        ) from error
    return cluster_joined(settings, announce)
