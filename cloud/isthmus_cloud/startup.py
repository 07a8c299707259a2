"""What is done before the first device may come: bundles are loaded, the store is opened."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from isthmus import Bundle, ConfigError, IsthmusError
from isthmus.signing import trusted_keys
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.deployments.deployer import StoreDeployer
from isthmus_cloud.deployments.deployment import Loader
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.seam import Engine
from isthmus_cloud.oip.repository import StoreRepository
from isthmus_cloud.serving import StoreRoom
from isthmus_cloud.store import Activations, DiskThreads, Store

__all__ = ["open_store", "start_up"]


async def start_up(
    config: ServiceConfig, core: Core, announce: Callable[[str], None], disk: DiskThreads
) -> StoreRoom | None:
    """Load what is to be served; the store, where there is one.

    What cannot be loaded ends the start of a single bundle; of a store it is announced, and the
    others are served. Raises ConfigError, BundleError or ModelError.
    """
    loader = _loader(config, core, announce)
    if config.bundle is not None:
        core.deployments.activate(await loader.load(config.bundle))
        return None
    assert config.store is not None
    store = await asyncio.to_thread(open_store, config.store, config.store_keys)
    deployer = StoreDeployer(core.deployments, loader, store, config.max_message_bytes)
    for name in await asyncio.to_thread(store.models):
        await _activate(store, deployer, name, announce)
    activations = Activations(store, deployer, disk)
    repository = StoreRepository(store, activations, core.deployments)
    return StoreRoom(store=store, deployer=deployer, activations=activations, repository=repository)


def open_store(root: Path, keys: tuple[Path, ...]) -> Store:
    """The store below `root`, whose bundles must be signed if there are keys. Reads the disk."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root}: not a directory; give the one that holds the store")
    return Store(root, trusted_keys(keys) if keys else None)


def _loader(config: ServiceConfig, core: Core, announce: Callable[[str], None]) -> Loader:
    def engine_for(bundle: Bundle) -> Engine:
        return open_engine(config.engine, config.provider, config.threads, bundle)

    return Loader(
        desk=core.desk,
        open_engine=engine_for,
        window=config.window,
        max_batch=config.max_batch,
        announce=announce,
    )


async def _activate(
    store: Store, deployer: StoreDeployer, name: str, announce: Callable[[str], None]
) -> None:
    version = await asyncio.to_thread(store.active_or_none, name)
    if version is None:
        return

    async def stays() -> None:
        """The pointer is there already."""

    try:
        await deployer.activate(name, version, stays)
    except IsthmusError as error:
        announce(f"{name} {version} is NOT served: {error}")
    else:
        announce(f"{name} {version} is served")
