"""The daemon's side of its supply: which one there is now, and the moment when bundles change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from isthmus_edge.contact import KEPT
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.sections import DaemonConfig
from isthmus_edge.daemon.status import SupplyStatus
from isthmus_edge.daemon.supply import Supply, Trial, supply_of

Opened = TypeVar("Opened")
OpenConfig = Callable[[DaemonConfig], Awaitable[Opened]]

_FETCHED = "it is fetched in the background, and takes over if it is good"

__all__ = ["Supplying"]


class Supplying:
    """Keeps the daemon's bundles fresh; `call` has the main loop come to `swap`.

    So a bundle never changes in the middle of a reload. All of it runs on the daemon's loop.
    """

    def __init__(self, tell: Tell, call: Callable[[], None]) -> None:
        self._tell = tell
        self._call = call
        self._supply: Supply | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted: tuple[Trial, asyncio.Future[None]] | None = None

    @property
    def status(self) -> SupplyStatus | None:
        """That of the supply; None without one."""
        return None if self._supply is None else self._supply.status

    def on_offer(self) -> str:
        """What follows where the cloud offers another version, for an event; from any thread."""
        return KEPT if self._supply is None else _FETCHED

    def of(self, config: DaemonConfig) -> Supply | None:
        """The supply of a configuration, not used yet; reads keys. ConfigError if it cannot be."""
        return supply_of(config, self._tell)

    def expect(self, supply: Supply | None) -> None:
        """This one brings the first bundle: for `status`."""
        self._supply = supply

    async def opened(
        self, supply: Supply | None, config: DaemonConfig, open_config: OpenConfig[Opened]
    ) -> Opened:
        """What opens with this configuration and the bundle that it is to use."""
        if supply is None:
            return await open_config(config)
        return await supply.opened(lambda bundle: open_config(config.using(bundle)))

    def start(self, supply: Supply | None) -> None:
        """Keep up with the cloud from now on."""
        self._supply = supply
        if supply is not None:
            self._task = asyncio.create_task(supply.run(self._swapped))

    async def change(self, supply: Supply | None) -> None:
        """After a reload; what was refused may be tried again."""
        await self.end()
        if supply is not None:
            await supply.forgive()
        self.start(supply)

    async def end(self) -> None:
        """Ask the cloud no more; a fetch that is under way is gone on with by the next one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def wake(self) -> None:
        """The agent has told something: perhaps that there is another version."""
        if self._supply is not None:
            self._supply.wake()

    async def swap(self, config: DaemonConfig, open_config: OpenConfig[None]) -> None:
        """Try the bundle that is wanted; how that ends is for whoever wants it."""
        if self._wanted is None:
            return
        (trial, done), self._wanted = self._wanted, None
        try:
            await trial(lambda bundle: open_config(config.using(bundle)))
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)

    async def _swapped(self, trial: Trial) -> None:
        """Have the main loop do it, and wait for that."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted = trial, done
        self._call()
        try:
            await done
        finally:
            done.cancel()
            if self._wanted is not None and self._wanted[1] is done:
                self._wanted = None
