"""Triton's model repository: loading and unloading what the store holds."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from isthmus import IsthmusError
from isthmus.log_lines import tell
from isthmus.oip import RefusalError
from isthmus.oip.model import Unloaded
from isthmus.oip.refusal import Status
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.oip.models import CALLER
from isthmus_cloud.security.asked import ASKED_BY
from isthmus_cloud.store import Activations, Store, UnknownVersionError, told

__all__ = ["StoreRepository"]

_logger = logging.getLogger(__name__)


class StoreRepository:
    """The `Repository` of a service with a store."""

    def __init__(self, store: Store, activations: Activations, deployments: Deployments) -> None:
        self._store = store
        self._activations = activations
        self._deployments = deployments

    async def load(self, name: str) -> None:
        """Serve the version of a model that the store calls active; again, if it is served."""
        _note_caller()
        try:
            if await self._activations.follow(name) is None:
                raise UnknownVersionError(f"{name}: no version is active")
        except UnknownVersionError as error:
            raise self._not_loaded("NOT_FOUND", name, error) from error
        except IsthmusError as error:
            raise self._not_loaded("INVALID_ARGUMENT", name, error) from error

    async def unload(self, name: str) -> None:
        """No new device gets it; who uses it stays. As in Triton, any name will do."""
        _note_caller()
        self._deployments.deactivate(name)

    async def unloaded(self) -> Sequence[Unloaded]:
        """What the store has and nobody is served."""
        try:
            return await asyncio.to_thread(self._unloaded)
        except IsthmusError as error:
            raise RefusalError("UNAVAILABLE", self._told(error)) from error

    def _not_loaded(self, status: Status, name: str, error: IsthmusError) -> RefusalError:
        asker = CALLER.get()
        who = {} if asker is None else {"identity": asker.identity or None, "peer": asker.peer}
        tell(_logger, logging.WARNING, "not_done", call="load", why=str(error), **who)
        reason = self._told(error).removeprefix(f"{name}: ")
        return RefusalError(status, f"failed to load {name!r}: {reason}")

    def _told(self, error: IsthmusError) -> str:
        return told(str(error), self._store.root)

    def _unloaded(self) -> list[Unloaded]:
        rows = []
        for name, of_one in groupby(self._store.versions_of_all(), attrgetter("name")):
            versions = [each for each in of_one if each.version]  # none if they cannot be read
            if versions and self._deployments.named(name) is None:
                newest = next((v.version for v in versions if v.active), versions[-1].version)
                rows.append(Unloaded(name=name, version=newest, reason="unloaded"))
        return rows


def _note_caller() -> None:
    """For the log of what follows."""
    asker = CALLER.get()
    ASKED_BY.set("" if asker is None else asker.identity)
