"""From a frame to its result, whatever carried it here: check, wait, decode, run, encode."""

import asyncio
from collections.abc import Mapping

from isthmus import ConfigError, Manifest, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.routes import Route, routes_of

MAX_ECHO = 60  # characters of a stranger's text that a message repeats

__all__ = ["Answerer", "UnknownCandidateError"]


class UnknownCandidateError(WireError):
    """The frame names a candidate that no tail answers."""


class Answerer:
    """Answers the frames of one bundle on the desk that all bundles share.

    Raises ConfigError where a single frame of this plan may take more than the desk allows.
    """

    def __init__(self, manifest: Manifest, tails: Mapping[str, Tail], desk: Desk) -> None:
        self._tails = tails
        self._routes = routes_of(manifest, tails)
        self._desk = desk
        _check_room(self._routes, desk.limits.max_bytes_in_flight)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Ids of the candidates that it answers."""
        return tuple(self._routes)

    @property
    def provider(self) -> str:
        """What computes; the first tail speaks for all."""
        return next((tail.engine.provider for tail in self._tails.values()), "none")

    @property
    def desk(self) -> Desk:
        """Where its frames are answered."""
        return self._desk

    def load(self) -> pb.Load:
        """What a frame that came now would meet."""
        return self._desk.load()

    def begin(
        self,
        frame: pb.Frame,
        received_ns: int,
        top_k: int,
        memory: StreamMemory,
        client: object = None,
    ) -> "asyncio.Future[pb.Result]":
        """The frame's result to come, its times counted from `received_ns` (monotonic).

        The frames of one stream share its `memory` and are given in order of arrival; they need not
        wait for each other. Clients take turns. Raises UnknownCandidateError or WireError if the
        frame is wrong, OverloadedError if it is one too many or could not be in time. The future
        ends in KeyFrameNeededError or WireError, too, in OverloadedError if others had to be let
        in, TooLateError if its deadline passes before a worker takes it, ModelError if the tail
        fails. Cancelling it gives up a frame that no worker has begun; one that runs is here, for
        `load` and `Desk.quiet`, until its worker is free.
        """
        route = self._route_of(frame)
        taken_bytes = route.frame_bytes(frame)
        deadline_ns = received_ns + frame.deadline_ms * 1_000_000 if frame.deadline_ms else NEVER_NS
        cost_ms = route.tail.ms(1)
        self._desk.admit(client, taken_bytes, deadline_ns, cost_ms)
        job = Job(
            turn=memory.turn(route, frame),
            tail=route.tail,
            client=client,
            sequence=frame.sequence,
            top_k=top_k,
            received_ns=received_ns,
            deadline_ns=deadline_ns,
            is_marked=frame.mark > 0,
            cost_ms=cost_ms,
            taken_bytes=taken_bytes,
            done=asyncio.get_running_loop().create_future(),
        )
        self._desk.begin(job)
        return job.done

    async def answer(
        self,
        frame: pb.Frame,
        received_ns: int,
        top_k: int,
        memory: StreamMemory,
        client: object = None,
    ) -> pb.Result:
        """As `begin`, for one who waits; cancelling it gives the frame up."""
        return await self.begin(frame, received_ns, top_k, memory, client)

    def _route_of(self, frame: pb.Frame) -> Route:
        route = self._routes.get(frame.candidate)
        if route is None:
            raise UnknownCandidateError(
                f"no tail for candidate {frame.candidate[:MAX_ECHO]!r}; "
                f"this service answers {', '.join(self._routes)}"
            )
        return route


def _check_room(routes: Mapping[str, Route], max_bytes_in_flight: int) -> None:
    """A frame that can never be taken is known before devices come."""
    for name, route in routes.items():
        if route.max_bytes > max_bytes_in_flight:
            raise ConfigError(
                f"max_bytes_in_flight is {max_bytes_in_flight}, but a frame of candidate {name!r} "
                f"takes up to {route.max_bytes}; allow at least that"
            )
