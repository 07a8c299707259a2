"""An agent as a model of the Open Inference Protocol."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from isthmus import AgentClosedError, Manifest, TensorSpec
from isthmus.oip import Parameter, Reply, Tensor
from isthmus_edge.answer import Answer
from isthmus_edge.inputs import Inputs

VERSION = "1"  # a bundle has one; its fingerprint is no version that a client could ask for
ANSWER_MS = 2.0  # what an answer may take back to a client that stops waiting at its deadline

__all__ = ["AgentLike", "AgentModel"]


class AgentLike(Protocol):
    """What is asked of an `isthmus_edge.Agent`."""

    @property
    def manifest(self) -> Manifest:
        """See `Agent`."""

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        """See `Agent`; it may wait for a place, or raise.

        Where it hands frames to an agent that changes, `manifest` changes before a frame gets to
        the next one.
        """


class AgentModel:
    """One agent, named as its model is.

    Frames are handed in by `door`, one after the other: `Agent.submit` may wait, and pictures are
    decoded there.
    """

    def __init__(self, agent: AgentLike, door: ThreadPoolExecutor) -> None:
        self._agent = agent
        self._door = door
        self._manifest = agent.manifest

    @property
    def name(self) -> str:
        """See `Model`."""
        return self._manifest.model_name

    @property
    def versions(self) -> tuple[str, ...]:
        """See `Model`."""
        return (VERSION,)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Model`."""
        return self._manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Model`."""
        return self._manifest.outputs

    @property
    def is_ready(self) -> bool:
        """An agent has its bundle loaded when it is there."""
        return True

    async def infer(
        self,
        tensors: Mapping[str, Tensor],
        parameters: Mapping[str, Parameter],
        deadline_s: float | None,
    ) -> Reply:
        """See `Model`; parameters say where and how the answer was made."""
        handing_in = self._door.submit(self._submit, tensors, deadline_s)
        try:
            frame = await asyncio.wrap_future(handing_in)
        except asyncio.CancelledError:
            handing_in.add_done_callback(_take_back)
            raise
        return _reply(await asyncio.wrap_future(frame))

    def _submit(self, tensors: Mapping[str, Tensor], deadline_s: float | None) -> "Future[Answer]":
        """What was spent before the agent accepts is gone from the deadline."""
        left_ms = None
        if deadline_s is not None:
            left_ms = max(0.0, (deadline_s - time.monotonic()) * 1000 - ANSWER_MS)
        self._must_be_the_same()
        accepted = self._agent.submit(tensors, left_ms)
        try:
            self._must_be_the_same()  # it may have waited for a place while the agent changed
        except AgentClosedError:
            accepted.cancel()
            raise
        return accepted

    def _must_be_the_same(self) -> None:
        """What was checked against one manifest is no frame for another, nor is its answer."""
        now = self._agent.manifest
        if now is not self._manifest and now != self._manifest:
            raise AgentClosedError(
                f"model {self.name!r} was replaced while this request waited; send it again"
            )


def _take_back(handed_in: "Future[Future[Answer]]") -> None:
    """The client went while its frame was handed in: nobody wants to hear of it."""
    if not handed_in.cancelled() and handed_in.exception() is None:
        handed_in.result().cancel()


def _reply(answer: Answer) -> Reply:
    parameters: dict[str, Parameter] = {
        "isthmus.place": answer.place,
        "isthmus.candidate": answer.candidate,
        "isthmus.rung": answer.rung,
        "isthmus.latency_ms": answer.latency_ms,
        "isthmus.payload_bytes": answer.payload_bytes,
    }
    return Reply(answer.outputs, parameters, answer.labels)
