"""`[bundle] from = "cloud"`: the daemon's bundles come from its cloud, and the last good one stays.

    start   -> the bundle that waits for its turn, else the last good one; fetched if there is none
    running -> the cloud's current one is another -> fetched in the background -> opened beside the
               old agent -> frames go to the new one; or refused, and the old one goes on

A bundle counts as good once an agent runs on it. While it is being opened it counts as refused, so
that one which ends the process is not opened again and again.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from isthmus import ConfigError, IsthmusError, LinkError, PeerError
from isthmus_edge.bundles import Fetcher, Kept, Manner, Offer, Shelf, ShelfBusyError
from isthmus_edge.bundles.fetching import BackOff, Dial
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.parts import require_memory
from isthmus_edge.daemon.sections import DaemonConfig
from isthmus_edge.daemon.status import SupplyState, SupplyStatus
from isthmus_edge.opening import opened_elsewhere

CHECK_S = 600.0  # so often the cloud is asked although it has said nothing
GAP_S = 1.0  # whatever it says, it is asked no sooner
NICENESS = 10  # of the thread that fetches

Opened = TypeVar("Opened")
OpenWith = Callable[[Path], Awaitable[Opened]]
Trial = Callable[[OpenWith[None]], Awaitable[None]]
Swap = Callable[[Trial], Awaitable[None]]
Result = TypeVar("Result")

log = logging.getLogger("isthmus.daemon")

__all__ = ["Supply", "Trial", "supply_of"]


class Supply:
    """One model's bundles, for one daemon; used on its event loop."""

    def __init__(self, config: DaemonConfig, tell: Tell, dial: Dial | None = None) -> None:
        """ConfigError for a source that cannot be, and for keys that cannot be read."""
        assert config.bundle is not None
        self._source = config.bundle.source(config.agent)
        self._shelf = Shelf(config.bundle.keep_in, config.bundle.model, self._source.verifier())
        self._requires_cloud = config.agent.require_cloud
        self._tell = tell
        self._dial = dial
        self._held = ""  # the fingerprint of what is in use
        self._known = ""  # … or of what is refused: its manifest need not come again
        self._postponed = ""  # … or of what waits for the next start, for lack of memory
        self._woken = asyncio.Event()
        self._status = SupplyStatus(model=config.bundle.model, state="starting")

    @property
    def status(self) -> SupplyStatus:
        """For `isthmus edge status`."""
        return self._status

    def wake(self) -> None:
        """Something was said: perhaps the current bundle is another one now."""
        self._woken.set()

    async def ready(self) -> None:
        """Return when there is a bundle to begin with; fetch it if need be, as long as that takes.

        A model that has no active version there is waited for, unless a cloud is required. Raises
        the IsthmusError of what will not pass by itself.
        """
        if await asyncio.to_thread(self._first) is not None:
            return
        back_off = BackOff()
        while True:
            try:
                offer = await self._fetching(lambda fetcher: fetcher.look())
                await self._brought(offer, rests=False)
            except (LinkError, ShelfBusyError, PeerError) as error:
                self._fails(self._awaited(error))
                await asyncio.sleep(back_off.next_s())
            else:
                await asyncio.to_thread(self._shelf.welcome, offer.fingerprint)
                return

    async def opened(self, open_with: OpenWith[Opened]) -> Opened:
        """What opens with the bundle that is next, or where that fails with the last good one."""
        waiting = await asyncio.to_thread(self._shelf.waiting)
        good = await asyncio.to_thread(self._shelf.last_good)
        if waiting is not None and good is not None:
            with suppress(IsthmusError):  # it was told
                return await self._tried(waiting, open_with)
        first = good or waiting
        if first is None:
            raise ConfigError(
                f"{self._shelf.folder}: no good bundle is kept here; restart the daemon, which "
                "fetches one, or say `isthmus fetch`"
            )
        result = await open_with(first.path)
        await self._settle(first)
        return result

    async def run(self, swap: Swap) -> None:
        """Keep up with the cloud until cancelled.

        `swap` gets what tries another bundle, and runs it where nothing else changes the agent.
        """
        back_off = BackOff()
        while True:
            wait_s = CHECK_S
            try:
                await self._keep_up(swap)
                back_off.reset()
            except Exception as error:  # whatever it is, there may be a next version
                if not isinstance(error, IsthmusError):
                    log.exception("the supply of bundles broke")
                self._fails(str(error) or repr(error))
                wait_s = back_off.next_s()
            await asyncio.sleep(GAP_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            self._woken.clear()

    async def forgive(self) -> None:
        """What was refused may be tried again."""
        await asyncio.to_thread(self._shelf.forgive)

    def _awaited(self, error: IsthmusError) -> str:
        """What keeps the first bundle from coming; raises it, if it will not pass."""
        if not isinstance(error, PeerError):
            return str(error)
        if error.code != "NOT_FOUND" or self._requires_cloud:
            raise error
        return f"{error}; have an operator `isthmus push` and `isthmus activate` one"

    def _first(self) -> Kept | None:
        return self._shelf.waiting() or self._shelf.last_good()

    async def _keep_up(self, swap: Swap) -> None:
        """Once; raises what passes by itself, and tells what does not."""
        offer = await self._fetching(lambda fetcher: fetcher.look(self._known))
        if offer.fingerprint == self._held:
            self._known = self._held
            self._note("current", offer)
            return
        refusal = await asyncio.to_thread(self._shelf.refusal, offer.fingerprint)
        if refusal:
            self._known = offer.fingerprint
            self._note("refused", offer, fault=refusal)
            return
        if offer.fingerprint == self._postponed and not await self._has_room(offer):
            return
        if not offer.manifest:  # the hour is over: now it is needed
            offer = await self._fetching(lambda fetcher: fetcher.look(self._held))
        kept = await self._fetched(offer)
        if kept is not None and await self._has_room(offer):
            self._note("opening", offer)
            with suppress(IsthmusError):  # it was told
                await swap(partial(self._tried, kept, offer=offer))

    async def _fetched(self, offer: Offer) -> Kept | None:
        """The offered bundle on the shelf; None if it was refused."""
        try:
            return await self._brought(offer, rests=True)
        except (LinkError, PeerError, ShelfBusyError):
            raise
        except IsthmusError as error:
            await self._refuse(offer.fingerprint, str(error), offer)
            return None

    async def _brought(self, offer: Offer, *, rests: bool) -> Kept:
        self._tell("bundle_fetching", model=offer.name, version=offer.version)
        self._note("fetching", offer)
        fetched = await self._fetching(lambda fetcher: fetcher.bring(offer), rests=rests)
        self._tell("bundle_fetched", version=offer.version, received_bytes=fetched.received_bytes)
        return Kept(fetched.path, fetched.fingerprint)

    async def _has_room(self, offer: Offer) -> bool:
        """Whether a second agent can be opened; else the bundle waits for the next start."""
        await asyncio.to_thread(self._shelf.welcome, offer.fingerprint)
        try:
            await asyncio.to_thread(require_memory)
        except ConfigError as error:
            self._note("waiting", offer, fault=str(error))
            if self._postponed != offer.fingerprint:
                self._tell(
                    "update_waits", logging.WARNING, version=offer.version, reason=str(error)
                )
            self._postponed = offer.fingerprint
            return False
        return True

    async def _tried(
        self, kept: Kept, open_with: OpenWith[Opened], offer: Offer | None = None
    ) -> Opened:
        """Open with it; IsthmusError if it will not do, which is remembered and told."""
        refuse = partial(self._shelf.refuse, kept.fingerprint)
        await asyncio.to_thread(refuse, "the daemon ended while it was being opened")
        try:
            opened = await open_with(kept.path)
        except Exception as error:  # whatever it is, the old one goes on
            reason = str(error) if isinstance(error, IsthmusError) else f"a defect: {error!r}"
            if not isinstance(error, IsthmusError):
                log.exception("a new bundle could not be opened")
            await self._refuse(kept.fingerprint, reason, offer)
            raise IsthmusError(reason) from error
        await self._settle(kept)
        self._note("current", offer)
        self._tell("updated", fingerprint=kept.fingerprint, version=offer and offer.version)
        return opened

    async def _settle(self, kept: Kept) -> None:
        self._held = self._known = kept.fingerprint
        self._status = structs.replace(self._status, state="current")
        await asyncio.to_thread(self._shelf.settle, kept.fingerprint)

    async def _refuse(self, fingerprint: str, reason: str, offer: Offer | None) -> None:
        self._known = fingerprint
        self._note("refused", offer, fault=reason)
        self._tell("update_refused", logging.ERROR, fingerprint=fingerprint, reason=reason)
        await asyncio.to_thread(self._shelf.refuse, fingerprint, reason)

    def _fails(self, reason: str) -> None:
        """Told once for each reason: it is tried again and again."""
        if self._status.fault != reason:
            self._tell("bundle_delayed", logging.WARNING, reason=reason)
        self._status = structs.replace(self._status, state="waiting", fault=reason)

    def _note(self, state: SupplyState, offer: Offer | None = None, fault: str = "") -> None:
        named = self._status if offer is None else offer
        self._status = structs.replace(
            self._status,
            state=state,
            version=named.version,
            fingerprint=named.fingerprint,
            share=0.0 if state == "fetching" else None,
            fault=fault or None,
        )

    def _progressed(self, share: float, _what: str) -> None:
        """On the thread that fetches; another status is put in its place as a whole."""
        self._status = structs.replace(self._status, share=round(share, 4))

    async def _fetching(self, work: Callable[[Fetcher], Result], *, rests: bool = False) -> Result:
        """What `work` gives, on a thread of its own that lets all others go first."""
        manner = Manner(rests=rests, progress=self._progressed)
        fetcher = Fetcher(self._source, self._shelf, manner, self._dial)

        def in_background() -> Result:
            _step_back()
            with fetcher:
                return work(fetcher)

        try:
            return await opened_elsewhere(in_background, lambda _: None)
        except asyncio.CancelledError:
            await asyncio.to_thread(fetcher.end)
            raise


def supply_of(config: DaemonConfig, tell: Tell) -> Supply | None:
    """That of a configuration; None where its bundle is a folder."""
    return None if config.bundle is None else Supply(config, tell)


def _step_back() -> None:
    """Only Linux has priorities of single threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
