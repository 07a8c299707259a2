"""Jobs of the tiny bundle without a service, and what their answers have to be."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from tests.cloud.device import Head, Truth

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.routes import routes_of


class Jobs:
    """Makes jobs; each client is a stream of its own."""

    def __init__(self, bundle: Bundle, tails: Mapping[str, Tail], head: Head) -> None:
        self._bundle = bundle
        self._routes = routes_of(bundle.manifest, tails)
        self._head = head
        self._memories: dict[object, StreamMemory] = {}
        self._sequence = 0

    def job(
        self,
        candidate: str = "cut-16",
        picture: int = 0,
        client: object = "one",
        *,
        received_ns: int | None = None,
        deadline_ns: int = NEVER_NS,
        frame: pb.Frame | None = None,
        taken_bytes: int = 0,
    ) -> Job:
        self._sequence += 1
        frame = frame or self._head.frame(candidate, self._sequence, picture)
        memory = self._memories.setdefault(client, StreamMemory())
        route = self._routes[candidate]
        return Job(
            turn=memory.turn(route, frame),
            tail=route.tail,
            client=client,
            received_ns=self._sequence if received_ns is None else received_ns,
            deadline_ns=deadline_ns,
            is_marked=frame.mark > 0,
            taken_bytes=taken_bytes,
            reply_of=lambda job: job.outputs,
            done=asyncio.get_running_loop().create_future(),
        )

    def is_right(self, job: Job, candidate: str, picture: int) -> bool:
        """Whether its answer is that of the frame by itself."""
        truth = Truth(self._bundle).of(self._head.frame(candidate, 1, picture))
        (spec,) = self._bundle.manifest.outputs
        return np.allclose(job.outputs[spec.name], truth, atol=1e-6)


def clients_of(jobs: Sequence[Job]) -> list[object]:
    return [job.client for job in jobs]
