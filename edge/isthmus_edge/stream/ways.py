"""The ways to the cloud: every address has a channel of its own, so that it is known which is used.

`addresses.py` decides whose turn it is; here names are looked up, waits are waited, and files with
secrets are read, all off the event loop or without blocking it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import SystemRandom

from isthmus import ConfigError, LinkError
from isthmus_edge.stream.addresses import Address, Addresses, LookUp, Target, Try, Wait
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.lookup import Resolve, SystemResolver
from isthmus_edge.stream.transport import GrpcTransport, Transport

Dial = Callable[[Address], Awaitable[Transport]]

__all__ = ["Dial", "Way", "Ways", "grpc_ways", "only_way"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the cloud, for one connection."""

    address: Address
    transport: Transport


class Ways:
    """One after another, with a back-off for each. All is called on one event loop."""

    def __init__(self, addresses: Addresses, dial: Dial, resolve: Resolve) -> None:
        self._addresses = addresses
        self._dial = dial
        self._resolve = resolve
        self._looking_up: set[asyncio.Task[list[str]]] = set()

    async def next(self) -> Way:
        """The next one to try, as soon as it may be tried.

        Raises LinkError, and at once, for a name that cannot be looked up and for secrets that
        cannot be read; the call after it waits.
        """
        while True:
            match self._addresses.turn(time.monotonic()):
                case LookUp(targets):
                    problems = await self._look_up_all(targets)
                    if problems and not self._addresses.is_ready(time.monotonic()):
                        raise LinkError(problems[0])
                case Try(address, meanwhile):
                    self._begin_to_look_up(meanwhile)
                    return await self._way_to(address)
                case Wait(seconds):
                    await asyncio.sleep(seconds)

    async def other(self, way: Way) -> Way | None:
        """Another one than this, by lot, for a look; None without. LinkError as for `next`.

        Names are looked up again where that is due: they may stand for more services by now.
        """
        due = self._addresses.due(time.monotonic())
        if due:
            await self._look_up_all(due)
        address = self._addresses.other(way.address, time.monotonic())
        return None if address is None else await self._way_to(address)

    def prefer(self, address: Address) -> None:
        """It is the next one, if nothing speaks against it then."""
        self._addresses.prefer(address)

    def has_fresh(self) -> bool:
        """Whether another one could be tried at once, of which nothing bad is known."""
        return self._addresses.has_fresh(time.monotonic())

    def worked(self, way: Way) -> None:
        """It led to a service that welcomes this device."""
        self._addresses.worked(way.address)

    def failed(self, way: Way, least_s: float = 0.0) -> None:
        """It led nowhere, or leads there no more; it is not tried again for `least_s`."""
        self._addresses.failed(way.address, time.monotonic(), least_s)

    async def close(self) -> None:
        """Nothing more is asked; idempotent."""
        for task in self._looking_up:
            task.cancel()
        await asyncio.gather(*self._looking_up, return_exceptions=True)

    async def _way_to(self, address: Address) -> Way:
        try:
            return Way(address, await self._dial(address))
        except ConfigError as error:
            self._addresses.failed(address, time.monotonic())
            raise LinkError(str(error)) from error

    async def _look_up_all(self, targets: tuple[Target, ...]) -> list[str]:
        """All at once; what went wrong with some of them."""
        problems = await asyncio.gather(*(self._look_up(target) for target in targets))
        return [problem for problem in problems if problem is not None]

    def _begin_to_look_up(self, targets: tuple[Target, ...]) -> None:
        if targets and not self._looking_up:
            task = asyncio.create_task(self._look_up_all(targets))
            self._looking_up.add(task)
            task.add_done_callback(self._looking_up.discard)

    async def _look_up(self, target: Target) -> str | None:
        try:
            ips = await self._resolve(target)
        except LinkError as error:
            self._addresses.not_found(target, time.monotonic())
            return str(error)
        self._addresses.learn(target, ips, time.monotonic())
        return None


def grpc_ways(
    targets: tuple[Target, ...],
    credentials: Credentials,
    max_frame_bytes: int,
    resolve: Resolve | None = None,
    *,
    in_order: bool = False,
) -> Ways:
    """Those to real services, by lot or in the order in which they are named.

    Raises ConfigError for credentials that cannot be read already now.
    """
    credentials.read()

    async def dial(address: Address) -> Transport:
        name = "" if address.name == address.ip else address.name
        return await asyncio.to_thread(
            GrpcTransport, str(address), credentials, max_frame_bytes, name
        )

    addresses = Addresses(targets, SystemRandom(), in_order=in_order)
    return Ways(addresses, dial, resolve or SystemResolver())


def only_way(transport: Transport, name: str = "a transport") -> Ways:
    """A transport that somebody brings, which is called by this name."""

    async def dial(_: Address) -> Transport:
        return transport

    return Ways(Addresses((), SystemRandom(), [Address(name, 0, name)]), dial, SystemResolver())
