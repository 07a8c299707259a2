"""An agent and its cloud: the ways there by its settings, and what people should know of them."""

import logging
import time
import uuid
from collections.abc import Callable
from random import SystemRandom

from isthmus.session import Failed, Identity, UpdateOffered
from isthmus_edge.config import AgentConfig
from isthmus_edge.events import Events
from isthmus_edge.link import Estimator
from isthmus_edge.stream.balance import Balance
from isthmus_edge.stream.standing import State
from isthmus_edge.stream.transport import Transport
from isthmus_edge.stream.uplink import Uplink
from isthmus_edge.stream.ways import Ways, grpc_ways, only_way

MOST_REASONS = 32  # some for each of several addresses, whatever they say; as many refusals
KEPT = "this device goes on with its own"
TOLD_AGAIN_S = 3600.0  # that frames are refused, for each reason

# Why frames are refused for which somebody can do something.
_WAYS_OUT = {
    "OVERLOADED": "send fewer frames, or have an operator allow more: this device's limits stand "
    "in the service's tokens file (`isthmus tokens`), its own are flags of `isthmus cloud`",
    "UNKNOWN_CANDIDATE": "see that the service has this device's bundle",
    "BAD_FRAME": "see that both sides run the same release of Isthmus",
    "INTERNAL": "the service's log says why",
}

log = logging.getLogger("isthmus.edge")

__all__ = ["KEPT", "LinkNews", "uplink_of", "ways_of"]


def ways_of(config: AgentConfig, max_frame_bytes: int, transport: Transport | None) -> Ways | None:
    """Those that the settings name, or the one transport that was brought; None without a cloud.

    Raises ConfigError for certificates and tokens that cannot be read.
    """
    targets = config.targets
    if transport is not None:
        return only_way(transport, ", ".join(map(str, targets)) or "the given transport")
    if not targets:
        return None
    in_order = not config.balance
    return grpc_ways(targets, config.credentials, max_frame_bytes, in_order=in_order)


class LinkNews:
    """Hears of the link, and makes events of what somebody should act on: each once."""

    def __init__(
        self,
        events: Events,
        link_changed: Callable[[], None],
        on_offer: Callable[[], str] = lambda: KEPT,
    ) -> None:
        """`on_offer` says what follows where the cloud offers another version of the model."""
        self._events = events
        self._on_offer = on_offer
        self._link_changed = link_changed
        self._state: State = "down"
        # What was told since the device was let in.
        self._reasons: set[tuple[State, str]] = set()
        self._refusals: set[tuple[State, str]] = set()
        self._offered: UpdateOffered | None = None
        self._failures_told: dict[str, float] = {}  # when, by code (monotonic)

    def state(self, state: State, reason: str) -> None:
        """The link is in another state, or in the same for another reason."""
        was, self._state = self._state, state
        if state == "up":
            self._reasons.clear()
            self._refusals.clear()
        told = self._refusals if state == "refused" else self._reasons
        is_news = (state, reason) not in told and len(told) < MOST_REASONS
        if is_news:
            told.add((state, reason))
        if is_news or was != state:
            log.info("link %s: %s", state, reason)
        if is_news and state == "refused":
            self._events.add(
                f"refused by the cloud, so the device answers alone and asks again by itself: "
                f"{reason}"
            )
        if was != state:
            self._link_changed()

    def offered(self, update: UpdateOffered) -> None:
        """Another version of the model is the active one now."""
        if update != self._offered:
            self._events.add(
                f"the cloud's active version is now {update.model} {update.version} (bundle "
                f"{update.fingerprint[:12]}); {self._on_offer()}"
            )
            self._offered = update

    def moving(self, text: str) -> None:
        """The device goes to a service that is less loaded."""
        self._events.add(text, logging.INFO)

    def failed(self, failed: Failed) -> None:
        """The cloud has refused a frame, or failed on it: what it is, and what can be done."""
        way_out = _WAYS_OUT.get(failed.code)
        # It is in the nature of a stream that it comes to an end, and of a service that leaves.
        if way_out is None or self._state != "up":
            return
        now = time.monotonic()
        if now - self._failures_told.get(failed.code, -TOLD_AGAIN_S) < TOLD_AGAIN_S:
            return
        self._failures_told[failed.code] = now
        self._events.add(
            f"the cloud does not answer some frames, so the device does: {failed.code}: "
            f"{failed.message}; {way_out} (told once an hour)"
        )


def uplink_of(
    config: AgentConfig, ways: Ways, fingerprint: str, estimator: Estimator, news: LinkNews
) -> Uplink:
    """A session of this bundle over these ways; `news` hears of all that people should know."""
    identity = Identity(uuid.uuid4().hex, fingerprint, config.answer_top_k)
    policy = Balance(SystemRandom()) if config.balance else None
    uplink = Uplink(ways, identity, config.silence_s, estimator, news.state, policy)
    uplink.on_update = news.offered
    uplink.on_failed = news.failed
    uplink.balancing.on_move = news.moving
    return uplink
