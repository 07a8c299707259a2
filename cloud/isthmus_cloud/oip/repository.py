"""Triton's model repository: loading and unloading what the store holds."""

import asyncio
from collections.abc import Sequence

from isthmus import IsthmusError
from isthmus.oip import RefusalError
from isthmus.oip.model import Unloaded
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.store import Activations, Store, UnknownVersionError

__all__ = ["StoreRepository"]


class StoreRepository:
    """The `Repository` of a service with a store."""

    def __init__(self, store: Store, activations: Activations, deployments: Deployments) -> None:
        self._store = store
        self._activations = activations
        self._deployments = deployments

    async def load(self, name: str) -> None:
        """Serve the version of a model that the store calls active; again, if it is served."""
        try:
            if await self._activations.follow(name) is None:
                raise UnknownVersionError(f"{name}: no version is active")
        except UnknownVersionError as error:
            raise RefusalError("NOT_FOUND", f"failed to load {name!r}: {error}") from error
        except IsthmusError as error:
            raise RefusalError("INVALID_ARGUMENT", f"failed to load {name!r}: {error}") from error

    async def unload(self, name: str) -> None:
        """No new device gets it; who uses it stays. As in Triton, any name will do."""
        self._deployments.deactivate(name)

    async def unloaded(self) -> Sequence[Unloaded]:
        """What the store has and nobody is served."""
        return await asyncio.to_thread(self._unloaded)

    def _unloaded(self) -> list[Unloaded]:
        rows = []
        for name in self._store.models():
            if self._deployments.named(name) is None:
                versions = self._store.versions(name)
                if not versions:  # the last one went just now
                    continue
                newest = next((v.version for v in versions if v.active), versions[-1].version)
                rows.append(Unloaded(name=name, version=newest, reason="unloaded"))
        return rows
