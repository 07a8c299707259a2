"""SIGHUP: what can change without a restart is looked at again.

Tokens and certificates, those of the page too, are read again within a second of a change whether
or not anybody says so. What is left is the store: which versions are active may have been said by
somebody else, to the folder or to another service on it.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from isthmus import IsthmusError
from isthmus.log_lines import tell
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.serving import StoreRoom
from isthmus_cloud.signals import heeding
from isthmus_cloud.store import Store, StoreError
from isthmus_cloud.telemetry.health import Health

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
    with heeding([signal.SIGHUP], event.set):
        yield event


@dataclass(frozen=True, slots=True)
class Followed:
    """Names of models: those of which another version is served now, those where it could not be,
    and all that should be served, as far as that can be read."""

    changed: Sequence[str] = ()
    failed: Sequence[str] = ()
    expected: Collection[str] = ()


@asynccontextmanager
async def reloading(
    told: asyncio.Event, deployments: Deployments, store: StoreRoom | None, health: Health
) -> AsyncIterator[None]:
    """Reload whenever `told` is set, as long as the context lasts.

    `health` lacks no more what the store does not call active any more. What fails is logged, and
    the next time all is looked at again.
    """
    task = asyncio.create_task(_keep_reloading(told, deployments, store, health))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def follow(deployments: Deployments, store: StoreRoom) -> Followed:
    """Serve what the store calls active now. What cannot be is logged; what was served stays.

    StoreError where not even the names of its models can be read.
    """
    active, unread = await asyncio.to_thread(_active, store.store)
    changed, failed = [], [*unread]
    for name, version in active.items():
        served = deployments.named(name)
        if served is not None and served.version == version:
            continue
        try:
            await store.activations.follow(name)
        except IsthmusError as error:
            _logger.warning("%s; what is served of it stays", error)
            failed.append(name)
        else:
            changed.append(name)
    return Followed(changed, failed, {*active, *unread})


def _active(store: Store) -> tuple[Mapping[str, str], Sequence[str]]:
    """The active version of each model that has one, and the models of which that cannot be read.

    Reads the disk.
    """
    active, unread = {}, []
    for name in store.models():
        try:
            version = store.active(name)
        except StoreError as error:
            _logger.warning("%s; what is served of it stays", error)
            unread.append(name)
            continue
        if version is not None:
            active[name] = version
    return active, unread


async def _keep_reloading(
    told: asyncio.Event, deployments: Deployments, store: StoreRoom | None, health: Health
) -> None:
    while True:
        await told.wait()
        told.clear()
        try:
            await _reload(deployments, store, health)
        except IsthmusError as error:
            _logger.warning("not reloaded, all stays as it was: %s", error)
        except Exception:
            _logger.exception("the reload failed; what is served stays")


async def _reload(deployments: Deployments, store: StoreRoom | None, health: Health) -> None:
    done = Followed() if store is None else await follow(deployments, store)
    health.expect_only(done.expected)
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
