"""What is done before the first device may come: bundles are loaded, the store is opened."""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus import Bundle, ConfigError, IsthmusError
from isthmus.signing import trusted_keys
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.deployments.deployer import StoreDeployer
from isthmus_cloud.deployments.deployment import Loader, TailSource
from isthmus_cloud.deployments.loading import LocalTails
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.faces.binding import check_message_bytes
from isthmus_cloud.oip.repository import StoreRepository
from isthmus_cloud.serving import StoreRoom
from isthmus_cloud.store import Activations, Store
from isthmus_cloud.store.disk import explained
from isthmus_cloud.telemetry.health import Health

if TYPE_CHECKING:
    from isthmus_cloud.replicas.cluster import Cluster

__all__ = ["open_store", "start_up"]

_logger = logging.getLogger(__name__)

Announce = Callable[[str], None]


async def start_up(
    config: ServiceConfig,
    core: Core,
    announce: Announce,
    disk: DiskThreads,
    health: Health | None = None,
    cluster: "Cluster | None" = None,
) -> StoreRoom | None:
    """Load what is to be served, here or on the replicas of a cluster; the store, where there is
    one.

    What cannot be loaded ends the start of a single bundle; of a store it is announced and logged,
    `health` lacks it, and the others are served. Raises ConfigError, BundleError or ModelError.
    """
    tails_of = _tail_source(config, core, announce, cluster)
    loader = Loader(desk=core.desk, tails_of=tails_of, window=config.window)
    if config.bundle is not None:
        core.deployments.activate(await loader.load(config.bundle))
        return None
    assert config.store is not None
    store = await asyncio.to_thread(open_store, config.store, config.store_keys, announce)
    deployer = StoreDeployer(core.deployments, loader, store, config.store_message_bytes)
    for name in await asyncio.to_thread(store.models):
        await _activate(store, deployer, name, announce, health or Health())
    activations = Activations(store, deployer, disk)
    repository = StoreRepository(store, activations, core.deployments)
    return StoreRoom(store=store, deployer=deployer, activations=activations, repository=repository)


def open_store(root: Path, keys: tuple[Path, ...], announce: Announce = _logger.info) -> Store:
    """The store below `root`, whose bundles must be signed if there are keys. Uses the disk.

    A folder that is not there is made, and that is announced. ConfigError if it cannot be used.
    """
    trusted = trusted_keys(keys) if keys else None
    try:
        if not root.exists():
            root.mkdir()
            announce(f"{root} was made: a store without models, for `isthmus push` to fill")
    except FileNotFoundError as error:  # a slip of the pen, or a disk that is not mounted
        raise ConfigError(
            f"{root}: there is no {root.parent}; make that first, or correct the path"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{root}: cannot be looked at or made ({error.strerror}); give the service's user "
            f"({os.geteuid()}) a folder that is its own: {_own(root)}"
        ) from error
    if not root.is_dir():
        raise ConfigError(f"{root}: not a directory; give the one that holds the store")
    _check_rights(root)
    return Store(root, trusted)


def _check_rights(root: Path) -> None:
    user = os.geteuid()
    if not os.access(root, os.R_OK | os.X_OK):
        raise ConfigError(f"{root}: the service's user ({user}) may not read it; {_own(root)}")
    if _is_read_only(root):
        _logger.info(
            "%s: is mounted read-only here: what is in the store is served; push, activate and "
            "remove where it may be written to, and reload this service (SIGHUP)",
            root,
        )
    elif not os.access(root, os.W_OK):
        _logger.warning(
            "%s: the service's user (%d) may not write there: what is in the store is served, but "
            "nothing can be pushed, activated or removed; %s",
            root,
            user,
            _own(root),
        )


def _is_read_only(root: Path) -> bool:
    """Whether nobody may write there, whoever owns it: the file system is mounted so."""
    with explained(str(root)):
        return bool(os.statvfs(root).f_flag & os.ST_RDONLY)


def _own(root: Path) -> str:
    return f"chown -R {os.geteuid()} {root}"


def _tail_source(
    config: ServiceConfig, core: Core, announce: Announce, cluster: "Cluster | None"
) -> TailSource:
    source = _local_tails(config, announce)
    if cluster is not None:
        from isthmus_cloud.replicas.tails import replica_tails  # noqa: PLC0415 - it needs Ray

        note = core.deployments.observer.note
        source = partial(replica_tails, cluster, config.max_batch, announce, note)

    def tails_of(
        bundle: Bundle, version: tuple[str, str]
    ) -> AbstractContextManager[Mapping[str, Tail]]:
        if config.bundle is not None:
            check_message_bytes(config, bundle.manifest)  # before tails are loaded, which is long
        return source(bundle, version)

    return tails_of


def _local_tails(config: ServiceConfig, announce: Announce) -> TailSource:
    cores = Cores(config.threads, config.workers)
    return LocalTails(
        open_engine=partial(open_engine, config.engine, config.provider, cores),
        cores=cores,
        max_batch=config.max_batch,
        announce=announce,
    )


async def _activate(
    store: Store, deployer: StoreDeployer, name: str, announce: Announce, health: Health
) -> None:
    title = name
    try:
        version = await asyncio.to_thread(store.active, name)
        if version is None:
            return
        title = f"{name} {version}"
        await deployer.activate(name, version, _stays)
    except IsthmusError as error:
        health.lack(name, title)
        _logger.error("%s is not served: %s", title, error)
        announce(f"{title} is NOT served: {error}")
    else:
        announce(f"{title} is served")


async def _stays() -> None:
    """The pointer is there already."""
