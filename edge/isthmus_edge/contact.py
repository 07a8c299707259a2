"""An agent and its cloud: the ways there by its settings, and what people should know of them."""

import logging
from collections.abc import Callable

from isthmus.session import UpdateOffered
from isthmus_edge.config import AgentConfig
from isthmus_edge.events import Events
from isthmus_edge.stream.transport import Transport
from isthmus_edge.stream.uplink import REFUSED_S, State
from isthmus_edge.stream.ways import Ways, grpc_ways, only_way

MOST_REFUSALS = 16  # one for each of many addresses, whatever they say

log = logging.getLogger("isthmus.edge")

__all__ = ["LinkNews", "ways_of"]


def ways_of(config: AgentConfig, max_frame_bytes: int, transport: Transport | None) -> Ways | None:
    """Those that the settings name, or the one transport that was brought; None without a cloud.

    Raises ConfigError for certificates and tokens that cannot be read.
    """
    targets = config.targets
    if transport is not None:
        return only_way(transport, ", ".join(map(str, targets)) or "the given transport")
    return grpc_ways(targets, config.credentials, max_frame_bytes) if targets else None


class LinkNews:
    """Hears of the link, and makes events of what somebody should act on: each once."""

    def __init__(self, events: Events, link_changed: Callable[[], None]) -> None:
        self._events = events
        self._link_changed = link_changed
        self._refusals: set[str] = set()  # that were told since the device was let in
        self._offered: UpdateOffered | None = None

    def state(self, state: State, reason: str) -> None:
        """The link is in another state."""
        log.info("link %s: %s", state, reason)
        if state == "up":
            self._refusals.clear()
        is_news = reason not in self._refusals and len(self._refusals) < MOST_REFUSALS
        if state == "refused" and is_news:
            self._events.add(
                f"refused by the cloud, so the device answers alone and asks again every "
                f"{REFUSED_S:g} s: {reason}"
            )
            self._refusals.add(reason)
        self._link_changed()

    def offered(self, update: UpdateOffered) -> None:
        """Another version of the model is the active one now."""
        if update != self._offered:
            self._events.add(
                f"the cloud's active version is now {update.model} {update.version} (bundle "
                f"{update.fingerprint[:12]}); this device goes on with its own"
            )
            self._offered = update
