"""How the service is, for load balancers and probes: gRPC's health service on its own port.

health = Health()
server.add_generic_rpc_handlers((health.handler(),))
health.serving("isthmus.v1.Split")      # devices may come
health.lack("lite0", "lite0 2")         # no: a version that should be served was not loaded
health.drain()                          # send no more of them
"""

import asyncio
from collections.abc import Collection, Iterable

import grpc

from isthmus.oip.handlers import SERVICE_NAME as INFERENCE_SERVICE
from isthmus.oip.health import Status, handler_of

SPLIT_SERVICE = "isthmus.v1.Split"

__all__ = ["INFERENCE_SERVICE", "SPLIT_SERVICE", "Health"]


class Health:
    """Each service by its full name, SERVING once it was said so; used on the server's loop.

    The server as a whole ("") serves while all of its services do. None of them serves while a
    model lacks of those that should be served, or once `drain` was called: half of what devices
    come for is no service to send them to.
    """

    def __init__(self, services: Iterable[str] = (SPLIT_SERVICE, INFERENCE_SERVICE)) -> None:
        self._is_serving = dict.fromkeys(services, False)
        self._lacks: dict[str, str] = {}  # what lacks, by model
        self.change = asyncio.Event()
        self.draining = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether all services serve: what a readiness probe wants to know."""
        return not self.why_not

    @property
    def state(self) -> str:
        """In a word or two, for people: running, starting, draining or not ready."""
        if self.draining.is_set():
            return "draining"
        if self._lacks:
            return "not ready"
        return "running" if all(self._is_serving.values()) else "starting"

    @property
    def why_not(self) -> str:
        """Why it is not ready, in words for whoever asks; "" if it is. From any thread."""
        lacks = dict(self._lacks)
        if self.draining.is_set():
            return "the service is draining, devices should go elsewhere"
        if lacks:
            names = ", ".join(lacks.values())
            return f"not served, though active in the store: {names}; the service's log says why"
        return "" if all(self._is_serving.values()) else "the service is starting"

    def serving(self, *services: str, is_so: bool = True) -> None:
        """These serve from now on, or all that there are; not any more with `is_so` False."""
        for name in services or tuple(self._is_serving):
            self._is_serving[name] = is_so
        self._note_change()

    def lack(self, model: str, title: str) -> None:
        """This model should be served and is not, until `found` names it or
        `expect_only` leaves it out; `title` for people."""
        self._lacks[model] = title
        self._note_change()

    def found(self, models: Collection[str]) -> None:
        """These are served."""
        for model in self._lacks.keys() & set(models):
            del self._lacks[model]
        self._note_change()

    def expect_only(self, models: Collection[str]) -> None:
        """No others should be served any more: what lacked of those does no harm."""
        for model in self._lacks.keys() - set(models):
            del self._lacks[model]
        self._note_change()

    def drain(self) -> None:
        """The service will end: nobody is to come any more; watchers are told, and let go."""
        self.draining.set()
        self._note_change()

    def status(self, name: str) -> Status:
        """See `HealthSource`."""
        if name and name not in self._is_serving:
            return "SERVICE_UNKNOWN"
        may = not self.draining.is_set() and not self._lacks
        is_so = may and self._is_serving[name] if name else self.is_ready
        return "SERVING" if is_so else "NOT_SERVING"

    def handler(self) -> grpc.GenericRpcHandler:
        """What `grpc.aio.Server.add_generic_rpc_handlers` takes."""
        return handler_of(self)

    def _note_change(self) -> None:
        woken, self.change = self.change, asyncio.Event()
        woken.set()
