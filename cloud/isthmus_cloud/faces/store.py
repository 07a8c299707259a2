"""The gRPC face of the model store for operators; see isthmus/v1/store.proto."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Any

import grpc

from isthmus import WireError
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.log_lines import tell
from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import (
    StoreServicer,
    add_BundlesServicer_to_server,
    add_StoreServicer_to_server,
)
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.faces.bundles import PIECE_BYTES, BundleService
from isthmus_cloud.faces.callers import Refused, caller_of
from isthmus_cloud.faces.refusals import Places, refusing
from isthmus_cloud.security.asked import ASKED_BY
from isthmus_cloud.security.identity import Guard
from isthmus_cloud.store import (
    Activation,
    Activations,
    Deployer,
    Push,
    Store,
    StoredVersion,
    told,
)

STORE_MESSAGE_BYTES = MAX_MANIFEST_BYTES + 64 * 1024  # the largest message of these services
MOST_PUSHES = 4
IDLE_S = 60.0  # a push on which nothing comes for so long is over, and can be gone on with

SHORT = 12  # digits of a fingerprint that people compare

Context = grpc.aio.ServicerContext[Any, Any]

_logger = logging.getLogger(__name__)

__all__ = ["STORE_MESSAGE_BYTES", "StoreService", "store_faces"]


@contextmanager
def store_faces(
    server: grpc.aio.Server,
    store: Store,
    deployer: Deployer,
    guard: Guard,
    refused: Refused,
    activations: Activations | None = None,
) -> Iterator[None]:
    """Add both services of a store to a server that has not started; their threads end with the
    context, which must outlast the server.

    The server must allow messages of `STORE_MESSAGE_BYTES` both ways. Whoever else changes what is
    active does it through the same `activations`, so that two changes of one model do not mix.
    `refused` hears of who is turned away: identity, why, peer.
    """
    with DiskThreads("isthmus-store") as disk:
        activations = activations or Activations(store, deployer, disk)
        operators = StoreService(store, activations, guard, disk, refused)
        devices = BundleService(store, deployer, guard, disk, refused)
        add_StoreServicer_to_server(operators, server)  # type: ignore[no-untyped-call]
        add_BundlesServicer_to_server(devices, server)  # type: ignore[no-untyped-call]
        yield


class StoreService(StoreServicer):
    """Lists, takes, activates and removes versions, for operators."""

    def __init__(
        self,
        store: Store,
        activations: Activations,
        guard: Guard,
        disk: DiskThreads,
        refused: Refused,
    ) -> None:
        self._store = store
        self._guard = guard
        self._disk = disk
        self._refused = refused
        self._activations = activations
        self._places = Places(MOST_PUSHES, "pushes")
        self._verifying = Places(1, "list with verify")  # it reads all files; devices want to, too

    async def List(  # noqa: N802 - the names that the contract gives the calls
        self, request: pb.ListRequest, context: Context
    ) -> pb.ListReply:
        """All versions of one model or of all, with the devices that are on them."""
        async with self._refusing(context, "list"):
            self._admit(context)
            with self._verifying.one() if request.verify else nullcontext():
                versions = await self._listed(request.name, request.verify)
        return pb.ListReply(versions=map(self._row, versions))

    async def Push(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.PushMessage], context: Context
    ) -> None:
        """Take a bundle in: its manifest, what lacks of it, and then its place."""
        async with self._refusing(context, "push"):
            self._admit(context)
            with self._places.one():
                async with aclosing(self._received(request_iterator)) as messages:
                    await self._push(messages, context.write)

    async def Activate(self, request: pb.ActivateRequest, context: Context) -> pb.Activation:  # noqa: N802
        """Load a version and make it the active one, or leave all as it was."""
        async with self._refusing(context, "activate"):
            self._admit(context)
            activation = await self._activations.activate(request.name, request.version)
        return _moved(activation)

    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.Activation:  # noqa: N802
        """Back to what was active before, loaded first like any other."""
        async with self._refusing(context, "rollback"):
            self._admit(context)
            activation = await self._activations.rollback(request.name)
        return _moved(activation)

    async def Remove(self, request: pb.RemoveRequest, context: Context) -> pb.RemoveReply:  # noqa: N802
        """Remove a version that is neither active nor served."""
        async with self._refusing(context, "remove"):
            self._admit(context)
            await self._activations.remove(request.name, request.version)
        removed = {"model": request.name, "version": request.version}
        tell(_logger, logging.INFO, "removed", identity=ASKED_BY.get() or None, **removed)
        return pb.RemoveReply()

    def _refusing(self, context: Context, call: str) -> AbstractAsyncContextManager[None]:
        return refusing(context, self._store.root, call, self._refused)

    def _admit(self, context: Context) -> None:
        ASKED_BY.set(self._guard.admit(caller_of(context), "operator").name)

    async def _listed(self, name: str, verify: bool) -> list[StoredVersion]:
        """What the store has, and what is served though somebody has taken it away there."""
        versions = await self._disk(self._in_store, name, verify)
        known = {(each.name, each.version) for each in versions}
        others = [
            each
            for each in self._activations.deployed()
            if name in {"", each.name} and (each.name, each.version) not in known
        ]
        if others:
            serve = partial(self._store.versions_that_serve, others, verify=verify)
            versions += await self._disk(serve)
            versions.sort(key=attrgetter("name"))  # of one name the order stays
        return versions

    def _in_store(self, name: str, verify: bool) -> list[StoredVersion]:
        if name:
            return list(self._store.versions(name, verify=verify))
        return list(self._store.versions_of_all(verify=verify))

    async def _received(
        self, requests: AsyncIterator[pb.PushMessage]
    ) -> AsyncGenerator[pb.PushMessage, None]:
        """Each message; TimeoutError if one does not come in time."""
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    message = await anext(requests)
            except StopAsyncIteration:
                return
            yield message

    async def _push(
        self,
        messages: AsyncIterator[pb.PushMessage],
        write: Callable[[pb.PushReply], Awaitable[None]],
    ) -> None:
        begin = (await anext(messages, pb.PushMessage())).begin
        begun = self._disk.opened(
            self._store.begin_push,
            begin.name,
            begin.version,
            begin.manifest,
            begin.signature or None,
        )
        async with begun as push:
            await write(_lacks(push))
            async for message in messages:
                if message.WhichOneof("kind") != "piece":
                    raise WireError("after the beginning of a push only pieces come")
                piece = message.piece
                await self._disk(push.write, piece.path, piece.offset, piece.data)
            stored = await self._disk(push.finish)
        tell(
            _logger,
            logging.INFO,
            "pushed",
            identity=ASKED_BY.get() or None,
            model=stored.name,
            version=stored.version,
            fingerprint=stored.fingerprint[:SHORT],
            size_bytes=stored.size_bytes,
            was_there=push.was_there or None,
        )
        done = pb.PushDone(stored=self._row(stored), was_there=push.was_there)
        await write(pb.PushReply(done=done))

    def _row(self, stored: StoredVersion) -> pb.StoredVersion:
        served = [
            each
            for each in self._activations.deployed()
            if (each.name, each.version) == (stored.name, stored.version)
        ]
        return pb.StoredVersion(
            name=stored.name,
            version=stored.version,
            fingerprint=stored.fingerprint,
            size_bytes=stored.size_bytes,
            signed=stored.signed,
            active=stored.active,
            loaded=bool(served),
            streams=sum(each.streams for each in served),
            fault=told(stored.fault or "", self._store.root),
            verified=stored.verified,
            new_devices=any(each.is_active for each in served),
        )


def _lacks(push: Push) -> pb.PushReply:
    files = [pb.LackingFile(path=each.path, offset=each.offset) for each in push.lacks]
    return pb.PushReply(lacks=pb.PushLacks(files=files, piece_bytes=PIECE_BYTES))


def _moved(activation: Activation) -> pb.Activation:
    return pb.Activation(
        name=activation.name, version=activation.version, previous=activation.previous or ""
    )
