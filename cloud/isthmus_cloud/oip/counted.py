"""An item of a request, told to whoever counts frames: it waits and runs with them."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from isthmus import PictureError, WireError
from isthmus.oip import Tensor
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.jobs import Job, TooLateError
from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.deployments.deployments import WHOLE_MODEL
from isthmus_cloud.telemetry import FrameDone

__all__ = ["Asker", "item_done"]

_WORDS: Mapping[type[BaseException], str] = {
    OverloadedError: "overloaded",
    TooLateError: "too_late",
    WireError: "bad_frame",
    PictureError: "bad_frame",
    asyncio.CancelledError: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose request it is: an identity, "" where nobody asks for one, gRPC's peer, and the W3C's
    trace context that it came with, "" without one."""

    identity: str
    peer: str
    traceparent: str = ""

    @property
    def client(self) -> str:
        """Between whom turns are taken; an identity's devices are the same client."""
        return self.identity or self.peer


def item_done(
    deployment: Deployment,
    asker: Asker | None,
    tensors: Mapping[str, Tensor],
    received_ns: int,
    ended: Job | BaseException,
) -> FrameDone:
    """How an item ended: run, or in an error. It has no session, and is of no plan's candidate."""
    done = FrameDone(
        identity="" if asker is None else asker.identity,
        session="",
        model=deployment.name,
        version=deployment.version,
        sequence=0,
        candidate=WHOLE_MODEL,
        rung=0,
        outcome=_word_of(ended),
        payload_bytes=sum(map(_size_bytes, tensors.values())),
        answer_bytes=0,
        batch=0,
        received_ns=received_ns,
        queue_ms=0.0,
        decode_ms=0.0,
        run_ms=0.0,
        total_ms=(time.monotonic_ns() - received_ns) / 1e6,
        traceparent="" if asker is None else asker.traceparent,
    )
    if not isinstance(ended, Job):
        return done
    return replace(
        done,
        answer_bytes=sum(each.nbytes for each in ended.outputs.values()),
        batch=ended.batch,
        queue_ms=(ended.begun_ns - received_ns) / 1e6,  # a photograph was decoded meanwhile
        decode_ms=(ended.decoded_ns - ended.begun_ns) / 1e6,
        run_ms=ended.run_ms,
    )


def _word_of(ended: object) -> str:
    if isinstance(ended, Job):
        return "answered"
    return next((word for kind, word in _WORDS.items() if isinstance(ended, kind)), "internal")


def _size_bytes(tensor: Tensor) -> int:
    return len(tensor) if isinstance(tensor, bytes) else tensor.nbytes
