"""How the service is, for load balancers and probes: gRPC's health service on its own port.

health = Health()
server.add_generic_rpc_handlers((health.handler(),))
health.serving("isthmus.v1.Split")      # devices may come
health.drain()                          # send no more of them
"""

import asyncio
from collections.abc import Iterable

import grpc

from isthmus.oip.handlers import SERVICE_NAME as INFERENCE_SERVICE
from isthmus.oip.health import Status, handler_of

SPLIT_SERVICE = "isthmus.v1.Split"

__all__ = ["INFERENCE_SERVICE", "SPLIT_SERVICE", "Health"]


class Health:
    """Each service by its full name, SERVING once it was said so; used on the server's loop.

    The server as a whole ("") serves while all of its services do. Nobody serves once `drain` was
    called.
    """

    def __init__(self, services: Iterable[str] = (SPLIT_SERVICE, INFERENCE_SERVICE)) -> None:
        self._is_serving = dict.fromkeys(services, False)
        self.change = asyncio.Event()
        self.draining = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether all services serve: what a readiness probe wants to know."""
        return not self.draining.is_set() and all(self._is_serving.values())

    def serving(self, *services: str, is_so: bool = True) -> None:
        """These serve from now on, or all that there are; not any more with `is_so` False."""
        for name in services or tuple(self._is_serving):
            self._is_serving[name] = is_so
        self._note_change()

    def drain(self) -> None:
        """The service will end: nobody is to come any more; watchers are told, and let go."""
        self.draining.set()
        self._note_change()

    def status(self, name: str) -> Status:
        """See `HealthSource`."""
        if name and name not in self._is_serving:
            return "SERVICE_UNKNOWN"
        is_so = self._is_serving[name] and not self.draining.is_set() if name else self.is_ready
        return "SERVING" if is_so else "NOT_SERVING"

    def handler(self) -> grpc.GenericRpcHandler:
        """What `grpc.aio.Server.add_generic_rpc_handlers` takes."""
        return handler_of(self)

    def _note_change(self) -> None:
        woken, self.change = self.change, asyncio.Event()
        woken.set()
