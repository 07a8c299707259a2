"""A store served over real gRPC on the loopback, with a deployer that loads nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from tests.cloud.store.bundles import PIECE_BYTES, manifest_of

from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import BundlesStub, StoreStub
from isthmus_cloud.faces.store import STORE_MESSAGE_BYTES, store_faces
from isthmus_cloud.security.identity import Guard, OpenDoor
from isthmus_cloud.store import Deployed, Store

GUARD_S = 30  # a hang becomes a failure; no test waits for it to pass


class FakeDeployer:
    """Writes down what happens, in order; raises `fault` where loading would fail.

    `gate` holds a load until the test opens it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.served: dict[tuple[str, str], Deployed] = {}
        self.active: dict[str, str] = {}
        self.log: list[str] = []
        self.fault: Exception | None = None
        self.begun = asyncio.Event()
        self.has_served = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def activate(self, name: str, version: str, move: Callable[[], Awaitable[None]]) -> None:
        self.begun.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        self.log.append(f"load {version}, pointer at {self._store.active(name)}")
        await move()
        self.log.append(f"serve {version}, pointer at {self._store.active(name)}")
        self.active[name] = version
        self.serve(name, version, streams=0)
        self.has_served.set()

    def serve(self, name: str, version: str, streams: int) -> None:
        fingerprint = self._store.version(name, version).fingerprint
        self.served[name, version] = Deployed(
            name=name,
            version=version,
            fingerprint=fingerprint,
            streams=streams,
            is_active=False,
        )

    def retire(self, name: str, version: str) -> None:
        del self.served[name, version]

    def deployed(self) -> Sequence[Deployed]:
        return [
            replace(each, is_active=self.active.get(each.name) == each.version)
            for each in self.served.values()
        ]


class Served:
    """A running server, and clients of both its services."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        deployer: FakeDeployer,
        address: str,
        refused: list[tuple[str, str]],
    ) -> None:
        self.refused = refused  # who was turned away, and why
        self.operators: Any = StoreStub(channel)  # type: ignore[no-untyped-call]
        self.devices: Any = BundlesStub(channel)  # type: ignore[no-untyped-call]
        self.deployer = deployer
        self.address = address


@asynccontextmanager
async def serving(
    store: Store, guard: Guard | None = None, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[Served]:
    """The clients speak without TLS: with `credentials` only the address is of use."""
    deployer = FakeDeployer(store)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", STORE_MESSAGE_BYTES)])
    refused: list[tuple[str, str]] = []

    def note(identity: str, why: str, _peer: str) -> None:
        refused.append((identity, why))

    with store_faces(server, store, deployer, guard or OpenDoor(), note):
        listen = "127.0.0.1:0"
        if credentials is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, credentials)
        address = f"127.0.0.1:{port}"
        await server.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                yield Served(channel, deployer, address, refused)
        finally:
            await server.stop(0)


@contextmanager
def serving_apart(
    store: Store, guard: Guard | None = None, credentials: grpc.ServerCredentials | None = None
) -> Iterator[Served]:
    """A store's service in a thread of its own."""
    started: list[Served] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(store, guard, credentials) as served:
            started.append(served)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(GUARD_S)
        yield started[0]
    finally:
        stop.set()
        thread.join()


class Pusher:
    """The client's side of one push, spoken by hand."""

    def __init__(self, served: Served, bundle: Path) -> None:
        self.call = served.operators.Push()
        self._bundle = bundle

    async def begin(
        self, name: str, version: str, manifest: bytes | None = None, signature: bytes = b""
    ) -> pb.PushLacks:
        begin = pb.PushBegin(
            name=name,
            version=version,
            manifest=manifest_of(self._bundle) if manifest is None else manifest,
            signature=signature,
        )
        await self.call.write(pb.PushMessage(begin=begin))
        reply = await self.reply()
        return reply.lacks

    async def reply(self) -> pb.PushReply:
        async with asyncio.timeout(GUARD_S):
            reply = await self.call.read()
        assert isinstance(reply, pb.PushReply), "the call has ended"
        return reply

    async def piece(self, path: str, offset: int, data: bytes) -> None:
        piece = pb.PushPiece(path=path, offset=offset, data=data)
        await self.call.write(pb.PushMessage(piece=piece))

    async def send(self, lacks: pb.PushLacks, most: int | None = None) -> None:
        """The pieces that lack, or the first `most` of them."""
        pieces = [
            (file.path, offset)
            for file in lacks.files
            for offset in range(file.offset, self._size(file.path), PIECE_BYTES)
        ]
        for path, offset in pieces[:most]:
            data = (self._bundle / path).read_bytes()
            await self.piece(path, offset, data[offset : offset + PIECE_BYTES])

    async def done(self) -> pb.PushDone:
        await self.call.done_writing()
        return (await self.reply()).done

    async def refused(self) -> grpc.aio.AioRpcError:
        """The error that the push ends with, in the place of a reply."""
        return await refused(self.call.read())

    def _size(self, path: str) -> int:
        return (self._bundle / path).stat().st_size


async def push(
    served: Served, bundle: Path, name: str, version: str, signature: bytes = b""
) -> pb.PushDone:
    """The whole of it."""
    pusher = Pusher(served, bundle)
    await pusher.send(await pusher.begin(name, version, signature=signature))
    return await pusher.done()


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    try:
        async with asyncio.timeout(GUARD_S):
            await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it was not refused")
