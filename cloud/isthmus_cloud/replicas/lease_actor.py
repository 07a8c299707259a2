"""The lease book of a cluster, as an actor of it."""

from typing import Any

import ray

from isthmus_cloud.replicas.joining import NAMESPACE
from isthmus_cloud.replicas.leases import LeaseBook

BOOK = "isthmus-leases"

__all__ = ["lease_book"]


class _Book(LeaseBook):
    """Ray makes it anew, empty, if its process ends."""

    def __init__(self) -> None:
        super().__init__(is_new=not ray.get_runtime_context().was_current_actor_reconstructed)


def lease_book() -> Any:
    """The one of this cluster; made by whoever comes first, on the head, which outlives machines
    that come and go."""
    kept = ray.remote(_Book).options(
        name=BOOK,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=-1,  # what it is told twice is as if told once
        num_cpus=0,
        resources={"node:__internal_head__": 0.001},
    )
    return kept.remote()
