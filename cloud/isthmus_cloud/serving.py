"""What a service puts on its port: the split stream, whole models, the store, its health."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from isthmus import MESSAGE_HEADROOM_BYTES
from isthmus.oip import Limits, Service
from isthmus.oip.model import Repository
from isthmus.v1.split_pb2_grpc import add_SplitServicer_to_server
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.faces.binding import (
    bundle_message_bytes,
    connection_options,
    message_bytes,
    most_calls,
    server_options,
)
from isthmus_cloud.faces.doorkeeper import Doorkeeper
from isthmus_cloud.faces.oip import oip_face
from isthmus_cloud.faces.reading import MessageSizes
from isthmus_cloud.faces.split import SplitService
from isthmus_cloud.faces.store import STORE_MESSAGE_BYTES, store_faces
from isthmus_cloud.faces.tls import ServedCertificate
from isthmus_cloud.oip.models import CALLER, ServedModels
from isthmus_cloud.oip.repository import StoreRepository
from isthmus_cloud.security import Guard, OpenDoor
from isthmus_cloud.store import Activations, Deployer, Store
from isthmus_cloud.telemetry.health import Health

__all__ = ["Door", "StoreRoom", "server_with_faces"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRoom:
    """A store, and who loads what is in it."""

    store: Store
    deployer: Deployer
    activations: Activations
    repository: StoreRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who is asked before anybody comes in, and what else there is than the split stream.

    `certificate` is what `checked_certificate` gave; without them the configuration is read.
    """

    guard: Guard = field(default_factory=OpenDoor)
    certificate: ServedCertificate | None = None
    health: Health = field(default_factory=Health)
    store: StoreRoom | None = None


@contextmanager
def server_with_faces(config: ServiceConfig, core: Core, door: Door) -> Iterator[grpc.aio.Server]:
    """A server that has not started and has no address; the context must outlast it."""
    size = _message_bytes(config, core)
    server = grpc.aio.server(
        interceptors=[Doorkeeper(door.guard, config, core.refused, _sizes(core, size))],
        options=[*server_options(size), *connection_options(config)],
        maximum_concurrent_rpcs=most_calls(config),
    )
    split = SplitService(core, door.guard, config.max_streams)
    add_SplitServicer_to_server(split, server)  # type: ignore[no-untyped-call]
    repository = None if door.store is None else door.store.repository
    limits = Limits(
        max_requests=config.max_waiting,
        max_bytes=max(config.max_bytes_in_flight, size),
        max_message_bytes=size,
        idle_s=config.idle_s,
    )
    models = ServedModels(core.deployments)
    service = _WholeService(models, limits, repository=repository, health=door.health)

    def changed() -> None:
        door.health.found([each.name for each in core.deployments.active])
        service.note_change()

    core.deployments.changed = changed
    core.on_drain(service.drain)
    core.on_drain(door.health.drain)
    server.add_generic_rpc_handlers(
        (oip_face(service, door.guard, core.refused), door.health.handler())
    )
    if door.store is None:
        yield server
        return
    room = door.store
    with store_faces(server, room.store, room.deployer, door.guard, core.refused, room.activations):
        yield server


class _WholeService(Service):
    """Ready only where the service as a whole is."""

    def __init__(
        self, models: ServedModels, limits: Limits, *, repository: Repository | None, health: Health
    ) -> None:
        super().__init__(models, limits, repository=repository)
        self._health = health

    @property
    def is_ready(self) -> bool:
        """Whether there are models, all of them would answer, and none lacks."""
        return super().is_ready and self._health.is_ready

    def caller(self) -> Hashable:
        """See `Service.caller`."""
        asker = CALLER.get()
        return None if asker is None else asker.client


def _message_bytes(config: ServiceConfig, core: Core) -> int:
    """For gRPC. Of a bundle that is known; to a store others may come, held to the limit."""
    if config.store is not None:
        return max(config.store_message_bytes, STORE_MESSAGE_BYTES)
    sizes = (
        bundle_message_bytes(config, each.bundle.manifest, whole=each.answerer.takes_items)
        for each in core.deployments.all
    )
    return max(sizes, default=message_bytes([]))


def _sizes(core: Core, most: int) -> MessageSizes:
    def frame() -> int:
        terms = (each.terms for each in core.deployments.all)
        return max((each.max_frame_bytes for each in terms), default=MESSAGE_HEADROOM_BYTES)

    return MessageSizes(most=most, frame=frame)
