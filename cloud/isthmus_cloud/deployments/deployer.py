"""What the store asks for: versions loaded, and let go of."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from isthmus import ConfigError
from isthmus_cloud.deployments.deployment import Deployment, Loader
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.faces.binding import message_bytes
from isthmus_cloud.store import Deployed, Store

__all__ = ["StoreDeployer"]


class StoreDeployer:
    """The `Deployer` of a service; used on its event loop."""

    def __init__(
        self, deployments: Deployments, loader: Loader, store: Store, max_message_bytes: int
    ) -> None:
        self._deployments = deployments
        self._loader = loader
        self._store = store
        self._max_message_bytes = max_message_bytes

    async def activate(self, name: str, version: str, move: Callable[[], Awaitable[None]]) -> None:
        """See `Deployer.activate`; ConfigError if its messages are too great for the server."""
        here = self._here(name, version)
        deployment = here or await self._loaded(name, version)
        self._deployments.take(deployment)  # or it might retire before it is the active one
        try:
            await move()
            self._deployments.activate(deployment)
        finally:
            self._deployments.give_back(deployment)
            if not self._deployments.holds(deployment):
                await asyncio.to_thread(deployment.close)

    def deployed(self) -> Sequence[Deployed]:
        """See `Deployer.deployed`."""
        return [
            Deployed(
                name=each.name,
                version=each.version,
                fingerprint=each.fingerprint,
                streams=self._deployments.users(each),
                is_active=self._deployments.named(each.name) is each,
            )
            for each in self._deployments.all
        ]

    def _here(self, name: str, version: str) -> Deployment | None:
        for each in self._deployments.all:
            if (each.name, each.version) == (name, version):
                return each
        return None

    async def _loaded(self, name: str, version: str) -> Deployment:
        folder = await asyncio.to_thread(self._store.path, name, version)
        deployment = await self._loader.load(folder, name, version)
        needed = message_bytes([deployment.bundle.manifest])
        if needed > self._max_message_bytes:
            await asyncio.to_thread(deployment.close)
            raise ConfigError(
                f"its messages take up to {needed} bytes, this service's at most "
                f"{self._max_message_bytes}; start it with --max-message-bytes {needed}"
            )
        return deployment
