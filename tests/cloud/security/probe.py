"""A service of one call that says who calls: behind a guard, with the options of the real one."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from tests.cloud.device import GUARD_S, Device

from isthmus.v1.split_pb2_grpc import SplitStub
from isthmus_cloud import ServiceConfig
from isthmus_cloud.faces.binding import bind, connection_options
from isthmus_cloud.faces.callers import aborting, caller_of
from isthmus_cloud.security import Caller, Guard
from isthmus_cloud.security.identity import Role
from isthmus_cloud.telemetry import Refused
from isthmus_cloud.telemetry.logs import LogObserver

Metadata = Sequence[tuple[str, str | bytes]]


class Probe:
    """Admits as the guard says, in the role that the request names; the callers are kept, and
    refusals logged as a service does."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.callers: list[Caller] = []
        self._log = LogObserver()

    async def who(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """The identity's name."""
        role: Role = "operator" if request == b"operator" else "device"
        async with aborting(context, self._refused):
            caller = caller_of(context)
            self.callers.append(caller)
            identity = self._guard.admit(caller, role)
            self._guard.stream(identity)
            return identity.name.encode()
        raise AssertionError("gRPC ends the call within")

    def _refused(self, identity: str, why: str, peer: str) -> None:
        self._log.note(Refused(identity=identity, why=why, peer=peer))


@asynccontextmanager
async def probing(probe: Probe, config: ServiceConfig) -> AsyncIterator[str]:
    """The service, and its address."""
    server = grpc.aio.server(options=connection_options(config))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(probe.who)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("p", {"who": handler}),))
    address = bind(server, config)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a call: the name, or the status, its text and when to come back."""

    name: str = ""
    code: grpc.StatusCode = grpc.StatusCode.OK
    text: str = ""
    retry_after_ms: int | None = None


async def ask(
    address: str,
    credentials: grpc.ChannelCredentials | None = None,
    metadata: Metadata = (),
    role: bytes = b"device",
) -> Told:
    """Call it once, over a connection of its own."""
    async with _channel(address, credentials) as channel:
        try:
            call: Any = channel.unary_unary("/p/who")
            name: bytes = await call(role, metadata=tuple(metadata), timeout=GUARD_S)
        except grpc.aio.AioRpcError as error:
            wait = dict(error.trailing_metadata() or ()).get("retry-after-ms")
            return Told(
                code=error.code(),
                text=error.details() or "",
                retry_after_ms=None if wait is None else int(wait),
            )
    return Told(name=name.decode())


def bearer(token: str) -> Metadata:
    """The metadata of a caller that has this token."""
    return (("authorization", f"Bearer {token}"),)


@asynccontextmanager
async def calling(
    address: str, credentials: grpc.ChannelCredentials | None, metadata: Metadata = ()
) -> AsyncIterator[Device]:
    """A device that shows what it has, with a stream of its own; nothing is said yet."""
    async with _channel(address, credentials) as channel:
        stub = SplitStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Stream(metadata=tuple(metadata))
        yield Device(call)
        call.cancel()


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address)
    return grpc.aio.secure_channel(address, credentials)
