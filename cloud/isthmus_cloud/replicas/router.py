"""Which replica a call goes to. Ray Serve makes one of these in each process that has a handle.

A call for one replica (`session_id` is its id) goes there, or where it is gone to any. Any other
goes to the one of two by lot that has less to do; where replicas hold several models, to those that
have its model.
"""

import random
from collections.abc import Sequence

from ray.serve.request_router import (
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

from isthmus_cloud.replicas.known import known

__all__ = ["PinningRouter"]


class PinningRouter(MultiplexMixin, RequestRouter):
    """See the module. Requests may overtake each other: one that waits for its own replica does not
    keep others waiting."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One rank of replicas, of which Serve takes the one that has least to do."""
        if pending_request is None:
            return [_two_of(candidate_replicas)]
        metadata = pending_request.metadata
        if metadata.session_id:
            pinned = [
                replica
                for replica in candidate_replicas
                if replica.replica_id.unique_id == metadata.session_id
            ]
            if pinned:
                pending_request.routing_context.should_backoff = True
                return [pinned]
        if metadata.multiplexed_model_id:
            ids = self.apply_multiplex_routing(pending_request)
            holding = [each for each in candidate_replicas if each.replica_id in ids]
            return [_two_of(holding)]
        pending_request.routing_context.should_backoff = True
        return [_two_of(candidate_replicas)]

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Serve says which there are now; the front end learns it, too."""
        super().update_replicas(replicas)
        here = known(self.app_name, self._deployment_id.name)
        here.replicas = frozenset(replica.replica_id.unique_id for replica in replicas)


def _two_of(replicas: Sequence[RunningReplica]) -> list[RunningReplica]:
    return random.sample(replicas, min(2, len(replicas)))
