"""SIGHUP: what can change without a restart is looked at again.

Tokens and certificates, those of the page too, are read again within a second of a change whether
or not anybody says so. What is left is the store: which versions are active may have been said by
somebody else, to the folder or to another service on it.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from isthmus import IsthmusError
from isthmus.log_lines import tell
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.serving import StoreRoom

__all__ = ["Followed", "follow", "hangs_up", "hung_up", "reloading"]

_logger = logging.getLogger(__name__)


def hangs_up() -> bool:
    """Whether SIGHUP means that a terminal was closed, and not that somebody wants a reload."""
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def hung_up() -> Iterator[asyncio.Event]:
    """Set at each SIGHUP within the block, which ends the process no more.

    Never set where SIGHUP is ignored (`nohup`) or means the end, see `hangs_up`.
    """
    event = asyncio.Event()
    if hangs_up() or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield event
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, event.set)
    try:
        yield event
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Followed:
    """Names of models: those of which another version is served now, and those where it could not
    be."""

    changed: Sequence[str] = ()
    failed: Sequence[str] = ()


@asynccontextmanager
async def reloading(
    told: asyncio.Event, deployments: Deployments, store: StoreRoom | None
) -> AsyncIterator[None]:
    """Reload whenever `told` is set, as long as the context lasts."""
    task = asyncio.create_task(_reload(told, deployments, store))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def follow(deployments: Deployments, store: StoreRoom) -> Followed:
    """Serve what the store calls active now. What cannot be is logged; what was served stays."""
    changed, failed = [], []
    for name in await asyncio.to_thread(store.store.models):
        version = await asyncio.to_thread(store.store.active_or_none, name)
        served = deployments.named(name)
        if version is None or (served is not None and served.version == version):
            continue
        try:
            await store.activations.follow(name)
        except IsthmusError:  # the log has a line of it already
            failed.append(name)
        else:
            changed.append(name)
    return Followed(changed, failed)


async def _reload(told: asyncio.Event, deployments: Deployments, store: StoreRoom | None) -> None:
    while True:
        await told.wait()
        told.clear()
        done = Followed() if store is None else await follow(deployments, store)
        tell(
            _logger,
            logging.INFO,
            "reloaded",
            serves=_listed(f"{each.name} {each.version}" for each in deployments.active),
            changed=_listed(done.changed),
            failed=_listed(done.failed),
        )


def _listed(names: Iterable[str]) -> str | None:
    return ", ".join(names) or None
