"""`Endpoint`: an agent behind the Open Inference Protocol, for programs on this device.

endpoint = Endpoint(EndpointConfig(listen=("unix:/run/isthmus/oip.sock",)), agent)
print(await endpoint.start())
...
await endpoint.stop(grace_s=10.0)
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc

from isthmus import MESSAGE_HEADROOM_BYTES, ConfigError, Manifest
from isthmus.oip import Limits, Model, Service, make_server
from isthmus_edge.oip.addresses import Loopback
from isthmus_edge.oip.config import EndpointConfig
from isthmus_edge.oip.model import AgentLike, AgentModel
from isthmus_edge.unix_sockets import UnixSocket, made_with

STOP_GRACE_S = 10.0

__all__ = ["Endpoint"]

log = logging.getLogger("isthmus.edge.oip")


class Endpoint:
    """Serves one agent at a time, or none: then it is live, but not ready. Used on one loop.

    The agent is the caller's: it is neither opened nor closed here. Close it after `stop`, so that
    what is under way is answered.
    """

    def __init__(self, config: EndpointConfig, agent: AgentLike | None = None) -> None:
        self._config = config
        self._served = _Served()
        self._service = Service(self._served, config.limits)
        self._door = ThreadPoolExecutor(1, thread_name_prefix="isthmus-oip")
        self._server: grpc.aio.Server | None = None
        self._addresses: tuple[str, ...] = ()
        self._sockets: list[tuple[UnixSocket, tuple[int, int]]] = []
        self.use(agent)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with real ports; what `tritonclient` takes as url."""
        return self._addresses

    @property
    def is_ready(self) -> bool:
        """Whether requests that come now would be answered."""
        return self._service.is_ready

    @property
    def under_way(self) -> int:
        """Requests that are being answered."""
        return self._service.under_way

    def use(self, agent: AgentLike | None) -> None:
        """Serve another agent from now on; requests under way stay with theirs.

        ConfigError if an item of its model does not fit into a message.
        """
        if agent is not None:
            _check_fits(agent.manifest, self._config.limits)
        self._served.models = [] if agent is None else [AgentModel(agent, self._door)]
        self._service.note_change()

    async def start(self) -> tuple[str, ...]:
        """Listen; the addresses with real ports. ConfigError if one cannot be had."""
        server = make_server(self._service)
        try:
            self._addresses = tuple(
                self._bind_socket(server, address)
                if isinstance(address, UnixSocket)
                else _bind_port(server, address)
                for address in self._config.addresses
            )
            await server.start()
        except BaseException:
            await server.stop(None)
            self.abandon()
            raise
        self._server = server
        log.info("the Open Inference Protocol is served on %s", ", ".join(self._addresses))
        return self._addresses

    def drain(self) -> None:
        """Take no new requests, and say so: not ready, not serving. `stop` does it, too."""
        self._service.drain()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Drain, wait until what is under way is answered, at most so long, and stop listening.

        Sockets are removed. Idempotent; it cannot be started again.
        """
        self.drain()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)
        self.abandon()
        self._door.shutdown(wait=False, cancel_futures=True)

    def abandon(self) -> None:
        """Only remove its sockets: the process ends at once."""
        for address, identity in self._sockets:
            address.remove(identity)
        self._sockets.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _bind_socket(self, server: grpc.aio.Server, address: UnixSocket) -> str:
        address.clear()
        with made_with(self._config.socket_mode), _translated(address):
            server.add_insecure_port(address.target)
        self._sockets.append((address, address.identity()))
        address.path.chmod(self._config.socket_mode)
        return address.target


class _Served:
    """The `Models` of an endpoint."""

    def __init__(self) -> None:
        self.models: Sequence[Model] = ()

    def listed(self) -> Sequence[Model]:
        return self.models


def _bind_port(server: grpc.aio.Server, address: Loopback) -> str:
    address.check_free()
    with _translated(address):
        port = server.add_insecure_port(address.target)
    return str(Loopback(address.host, port))


@contextmanager
def _translated(address: UnixSocket | Loopback) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from error


def _check_fits(manifest: Manifest, limits: Limits) -> None:
    """One item each way; several may not fit, and then their message is refused."""
    for specs, what in ((manifest.inputs, "inputs"), (manifest.outputs, "outputs")):
        needed = sum(spec.nbytes for spec in specs) + MESSAGE_HEADROOM_BYTES
        if needed > limits.max_message_bytes:
            raise ConfigError(
                f"max_message_bytes is {limits.max_message_bytes}, but the {what} of one item of "
                f"{manifest.model_name} take up to {needed}; allow as many"
            )
