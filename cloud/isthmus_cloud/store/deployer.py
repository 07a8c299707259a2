"""The seam to what serves: the store says which version, a deployer loads it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Deployed", "Deployer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A version that is loaded and serves; `streams` devices are on it now, and new ones get it if
    it `is_active`."""

    name: str
    version: str
    fingerprint: str
    streams: int
    is_active: bool


class Deployer(Protocol):
    """Loads versions and lets devices on to them; used on the event loop."""

    async def activate(self, name: str, version: str, move: Callable[[], Awaitable[None]]) -> None:
        """Make a version the one that new devices of this model get.

        In this order: load it, then await `move()` (the store's pointer moves), then give it to new
        devices. Whichever raises, the version that was active before stays so: an IsthmusError if
        this one cannot be loaded, or what `move` raises.
        """

    def deployed(self) -> Sequence[Deployed]:
        """All that is loaded: active versions, and old ones until their last stream has moved."""
