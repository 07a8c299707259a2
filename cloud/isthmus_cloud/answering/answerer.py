"""From a frame to its result, whatever carried it here: check, wait, decode, run, encode."""

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from isthmus import ConfigError, Manifest, WireError, encode_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.answering.elsewhere import Elsewhere
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.items import Item
from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.parts import Tail, tensor_bytes
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
        self._whole = next((t for t in tails.values() if not t.cut.depth), None)
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
    def elsewhere(self) -> frozenset[Elsewhere]:
        """What runs its tails in other processes."""
        return frozenset(t.elsewhere for t in self._tails.values() if t.elsewhere is not None)

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
        self._desk.admit(client, taken_bytes, deadline_ns)
        job = Job(
            turn=memory.turn(route, frame),
            tail=route.tail,
            client=client,
            received_ns=received_ns,
            deadline_ns=deadline_ns,
            is_marked=frame.mark > 0,
            traceparent=frame.traceparent,
            taken_bytes=taken_bytes,
            reply_of=partial(self._result, frame.sequence, top_k),
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

    @property
    def takes_items(self) -> bool:
        """Whether it holds the whole network, for inputs that nothing has run on."""
        return self._whole is not None

    async def item(
        self,
        tensors: Mapping[str, AnyArray | bytes],
        deadline_ns: int,
        client: object = None,
    ) -> Job:
        """An item of a plain request, run: its outputs are in it. Clients take turns; without one
        the item is its own.

        `tensors` are the model's inputs [*graph_shape] by name, or encoded pictures, which are
        decoded first: beside the queue, so that no frame waits for that, and only if the queue has
        room for it now. Raises WireError where the whole network is not here, PictureError,
        OverloadedError, TooLateError and ModelError as for frames. Cancelling it gives the item up.
        """
        tail = self._whole
        if tail is None:
            raise WireError("this service does not hold the whole network of this model")
        client = object() if client is None else client
        self._desk.check(client, deadline_ns)
        room = self._desk.picture_room
        item = Item(tail.cut, await room.decoded(tail.cut, tensors, deadline_ns, client))
        taken_bytes = item.payload_bytes + tensor_bytes(tail)
        self._desk.admit(client, taken_bytes, deadline_ns)
        job = Job(
            turn=item,
            tail=tail,
            client=client,
            received_ns=time.monotonic_ns(),
            deadline_ns=deadline_ns,
            taken_bytes=taken_bytes,
            reply_of=_itself,
            done=asyncio.get_running_loop().create_future(),
        )
        self._desk.begin(job)
        await job.done
        return job

    def _result(self, sequence: int, top_k: int, job: Job) -> pb.Result:
        answers = [encode_answer(spec, job.outputs[spec.name], top_k) for spec in job.tail.outputs]
        timing = pb.Timing(
            received_ns=job.received_ns,
            queue_ms=(job.begun_ns - job.received_ns) / 1e6,
            decode_ms=(job.decoded_ns - job.begun_ns) / 1e6,
            run_ms=job.run_ms,
            total_ms=(time.monotonic_ns() - job.received_ns) / 1e6,
            batch=job.batch,
        )
        return pb.Result(sequence=sequence, outputs=answers, timing=timing, load=self.load())

    def _route_of(self, frame: pb.Frame) -> Route:
        route = self._routes.get(frame.candidate)
        if route is None:
            raise UnknownCandidateError(
                f"no tail for candidate {frame.candidate[:MAX_ECHO]!r}; "
                f"this service answers {', '.join(self._routes)}"
            )
        return route


def _itself(job: Job) -> Job:
    """What becomes of an item."""
    return job


def _check_room(routes: Mapping[str, Route], max_bytes_in_flight: int) -> None:
    """A frame that can never be taken is known before devices come."""
    for name, route in routes.items():
        if route.max_bytes > max_bytes_in_flight:
            raise ConfigError(
                f"max_bytes_in_flight is {max_bytes_in_flight}, but a frame of candidate {name!r} "
                f"takes up to {route.max_bytes}; allow at least that"
            )
