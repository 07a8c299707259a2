"""The service without a transport: what comes in as messages leaves as messages.

startup     the desk's workers begin; bundles are loaded, and one version of each is active
main loop   streams are opened, each by a face that has the transport
shutdown    devices are told to go; what is in flight is answered; everything is let go of
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from isthmus.session import ServiceLimits
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.desk import Desk, DeskLimits
from isthmus_cloud.answering.jobs import Job
from isthmus_cloud.answering.parts import Part
from isthmus_cloud.answering.workers import Batching
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.sessions.sessions import Sessions
from isthmus_cloud.sessions.stream import Stream
from isthmus_cloud.sessions.visitor import Visitor
from isthmus_cloud.telemetry import BatchRun, Observer, Observers, Refused

SHARE_OF_GRACE = 0.9  # after which a drain waits for no frame any more, but tells its device
KEEP_BYTES = 16 * 1024 * 1024  # of results of one session, for a resume

__all__ = ["Core"]


class Core:
    """Made and used on one event loop; as a context, everything ends with it."""

    def __init__(
        self, config: ServiceConfig, observer: Observer | None = None, desk: Desk | None = None
    ) -> None:
        self._observer = observer or Observers()
        self.desk = desk or self._desk(config)
        self.deployments = Deployments(self._observer)
        self.sessions = Sessions(
            self.deployments,
            self.desk,
            ServiceLimits(
                hello_s=config.hello_s,
                idle_s=config.idle_s,
                resume_s=config.resume_s,
                keep_bytes=KEEP_BYTES,
            ),
            config.max_parked,
            self._observer,
        )
        self._streams: set[Stream] = set()
        self._drain_grace_s: float | None = None
        self._told_of_drain: list[Callable[[], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
        self.desk.close()
        await self.deployments.close()

    def _desk(self, config: ServiceConfig) -> Desk:
        limits = DeskLimits(
            max_waiting=config.max_waiting, max_bytes_in_flight=config.max_bytes_in_flight
        )
        batching = Batching(
            workers=config.batches_at_once,
            decoders=config.decoders,
            linger_ms=config.linger_s * 1e3,
            joins=config.joins,
        )
        return Desk(limits, batching, self._ran)

    @property
    def streams(self) -> int:
        """Streams that are open now."""
        return len(self._streams)

    async def serve(
        self,
        messages: AsyncIterable[pb.EdgeMessage],
        write: Callable[[pb.CloudMessage], Awaitable[None]],
        visitor: Visitor | None = None,
    ) -> None:
        """One stream, until it ends; see `Stream.serve`."""
        stream = Stream(self.sessions, write, visitor)
        if self._drain_grace_s is not None:
            stream.drain(self._drain_grace_s)
        self._streams.add(stream)
        try:
            await stream.serve(messages)
        finally:
            self._streams.discard(stream)

    def refused(self, identity: str, why: str, peer: str) -> None:
        """A face has turned somebody away."""
        self._observer.note(Refused(identity=identity, why=why, peer=peer))

    def on_drain(self, told: Callable[[], None]) -> None:
        """Call this, too, when the service drains."""
        self._told_of_drain.append(told)

    def drain(self, grace_s: float) -> None:
        """Send Drain on every stream; each ends when what it has in flight is answered, or shortly
        before the grace is over, when what is left ends in errors.

        Parked sessions end now.
        """
        loop = asyncio.get_running_loop()
        loop.call_later(grace_s * SHARE_OF_GRACE, self.desk.give_up)
        for told in self._told_of_drain:
            told()
        self._drain_grace_s = grace_s
        self.sessions.end_parked()
        for stream in self._streams:
            stream.drain(grace_s)

    def end(self) -> None:
        """End every stream and session now; what is in flight is given up."""
        self.sessions.end_parked()
        for stream in self._streams:
            stream.end()

    def _ran(self, part: Part, jobs: Sequence[Job], took_ms: float) -> None:
        tail = jobs[0].tail
        self._observer.note(
            BatchRun(
                model=tail.model,
                version=tail.version,
                part=part.name,
                provider=tail.engine.provider,
                size=len(jobs),
                clients=len({job.client for job in jobs}),
                run_ms=took_ms,
                traceparents=tuple(job.traceparent for job in jobs if job.traceparent),
            )
        )
