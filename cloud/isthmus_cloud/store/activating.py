"""What operators say of a store that is being served: load first, then move, then serve."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from isthmus import IsthmusError
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.store.deployer import Deployed, Deployer
from isthmus_cloud.store.errors import StoreError
from isthmus_cloud.store.store import Store

T = TypeVar("T")

__all__ = ["Activation", "Activations", "stays_active"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Activation:
    """`version` is active from now on; `previous` was before, None for none."""

    name: str
    version: str
    previous: str | None


class Activations:
    """Changes to what is served, one at a time for each model; used on the event loop.

    What has begun comes to its end even if whoever asked for it has gone.
    """

    def __init__(self, store: Store, deployer: Deployer, disk: DiskThreads) -> None:
        self._store = store
        self._deployer = deployer
        self._disk = disk
        self._busy: set[str] = set()
        self._running: set[asyncio.Task[Any]] = set()
        self._left_alone: set[asyncio.Task[Any]] = set()  # of whom nobody waits for the end

    def deployed(self) -> Sequence[Deployed]:
        """All that is loaded."""
        return self._deployer.deployed()

    async def activate(self, name: str, version: str) -> Activation:
        """Make a version the active one.

        UnknownVersionError, or StoreError if it cannot be: then all is as it was.
        """
        move = partial(self._disk, self._store.set_active, name, version)
        return await self._to_the_end(self._activated(name, version, move))

    async def rollback(self, name: str) -> Activation:
        """Go back to the version that was active before; the same errors as `activate`."""
        target = await self._disk(self._store.rollback_target, name)
        move = partial(self._disk, self._store.rollback, name, target)
        return await self._to_the_end(self._activated(name, target, move))

    async def follow(self, name: str) -> str | None:
        """Serve the version that the store calls active, whoever has said so; None where none is.

        The pointer stays where it is. StoreError if that version cannot be loaded, or the pointer
        has moved meanwhile: then all is as it was.
        """
        return await self._to_the_end(self._followed(name))

    async def remove(self, name: str, version: str) -> None:
        """Remove a version that nobody is on. StoreError if somebody is, or it is active."""
        await self._to_the_end(self._removed(name, version))

    async def _activated(
        self, name: str, version: str, move: Callable[[], Awaitable[str | None]]
    ) -> Activation:
        with self._alone(name):
            await self._disk(self._store.version, name, version)  # or there is nothing to load
            previous = await self._disk(self._store.active_or_none, name)

            async def moved() -> None:
                await move()

            served = any(each.name == name for each in self._deployer.deployed())
            with stays_active(name, version, previous, is_served=served):
                await self._disk(self._store.check, name, version)
                await self._deployer.activate(name, version, moved)
        return Activation(name, version, previous)

    async def _followed(self, name: str) -> str | None:
        with self._alone(name):
            version = await self._disk(self._store.active, name)
            if version is None:
                return None

            async def stays() -> None:
                if await self._disk(self._store.active, name) != version:
                    raise StoreError(f"{name}: somebody else has moved it meanwhile; look again")

            try:
                await self._disk(self._store.check, name, version)
                await self._deployer.activate(name, version, stays)
            except IsthmusError as error:
                raise StoreError(f"{name} {version} cannot be served: {error}") from error
        return version

    async def _removed(self, name: str, version: str) -> None:
        with self._alone(name):
            active = await self._disk(self._store.active_or_none, name)
            loaded = [
                each
                for each in self._deployer.deployed()
                if (each.name, each.version) == (name, version)
            ]
            if loaded and version != active:  # of the active one the store says that it stays
                raise StoreError(_still_served(loaded[0]))
            await self._disk(self._store.remove, name, version)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        if name in self._busy:
            raise StoreError(
                f"{name}: somebody else is changing it right now; try again when that is done"
            )
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                _tell_failure(task)
            else:
                self._left_alone.add(task)
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task in self._left_alone:  # else whoever asked hears how it ended, and logs it
            self._left_alone.discard(task)
            _tell_failure(task)


def _tell_failure(task: asyncio.Task[Any]) -> None:
    """Of one whose end nobody hears."""
    failed = not task.cancelled() and task.exception()
    if failed:
        _logger.warning("%s (whoever asked for it has gone)", failed)


def _still_served(deployed: Deployed) -> str:
    title = f"{deployed.name} {deployed.version}"
    if deployed.streams:
        return f"{title} is still served: {_on_it(deployed.streams)}; try again later"
    return f"{title} is still loaded, for devices that may come back to it; try again in a minute"


def _on_it(streams: int) -> str:
    return "1 device is on it" if streams == 1 else f"{streams} devices are on it"


@contextmanager
def stays_active(
    name: str, version: str, previous: str | None, *, is_served: bool = True
) -> Iterator[None]:
    """Whatever of a version cannot be used, the StoreError says what stays: `previous`, or none.

    Where nothing of the model `is_served` it says what helps.
    """
    try:
        yield
    except IsthmusError as error:
        stays = f"{previous} stays active" if previous else "no version is active"
        if previous and not is_served:
            how = "push it again" if previous == version else "activate it"
            stays = f"{stays}, but is not served: {how}, or activate another one"
        raise StoreError(f"{name} {version} cannot be activated ({stays}): {error}") from error
