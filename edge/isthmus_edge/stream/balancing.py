"""Looks at other services beside the stream, as `balance.py` decides, and moves where it is better.

A look is for a link that is up, measured and fast enough that it keeps no frame waiting. What goes
wrong with one is held against its own address, and against nothing else.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from isthmus import LinkError
from isthmus.session import Identity, LoadTold
from isthmus_edge.link import LinkEstimate
from isthmus_edge.stream.addresses import Address
from isthmus_edge.stream.balance import Balance, Load
from isthmus_edge.stream.look import look
from isthmus_edge.stream.moving import Moving, Step
from isthmus_edge.stream.standing import Standing
from isthmus_edge.stream.ways import Way, Ways

SLOW_BPS = 200e3  # below, what a look sends would keep a frame waiting for 0.1 s

log = logging.getLogger("isthmus.edge")

__all__ = ["Balancing"]


class Balancing:
    """Of one uplink, on its loop. Without a policy the device stays where it is."""

    def __init__(self, ways: Ways, standing: Standing, policy: Balance | None) -> None:
        self._ways = ways
        self._standing = standing
        self._policy = policy
        self._way: Way | None = None  # of the present stream
        self._identity: Identity | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()  # those that are given up, too, to their ends
        self._moving = Moving()
        self._wake: Callable[[], None] = lambda: None
        self.moves = 0
        self.on_move: Callable[[str], None] = lambda _: None  # from where, where to, and why

    @property
    def is_moving(self) -> bool:
        """Whether the present stream is to be left for another service."""
        return self._moving.is_under_way

    def new_stream(self, wake: Callable[[], None]) -> None:
        """Another one begins; nobody has answered on it yet. `wake` has `step` called soon."""
        self._wake = wake
        self._moving.new_stream()

    def welcomed(self, way: Way, identity: Identity) -> None:
        """A service takes this device, on this way."""
        self._way, self._identity = way, identity
        moved = self._moving.arrived()
        if self._policy is not None:
            self._policy.connected(time.monotonic(), moved=moved)

    def told(self, load: LoadTold) -> None:
        """The service of the present stream has said its load."""
        if self._policy is not None:
            self._policy.told(Load(load.queue_ms, load.streams), time.monotonic())

    def lost(self) -> None:
        """The stream is over, and a look that is under way with it."""
        self._way = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def close(self) -> None:
        """As `lost`, and nothing is left of any look when this returns."""
        self.lost()
        await asyncio.gather(*self._looks, return_exceptions=True)

    def step(self, now: float, link: Callable[[], LinkEstimate | None], *, awaits: bool) -> Step:
        """What the uplink has to do now; `awaits` while frames may yet be answered.

        A look that is due begins on a `link` that is up, measured (else it is None) and fast
        enough; else it waits.
        """
        if self._moving.is_under_way:
            return self._moving.step(now, awaits=awaits)
        if self._policy is not None and self._looking is None and self._policy.is_due(now):
            believed = link()
            if believed is not None and believed.bandwidth_bps >= SLOW_BPS:
                self._begin_to_look(self._policy)
        return "wait"

    def _begin_to_look(self, policy: Balance) -> None:
        if self._way is not None and self._identity is not None:
            policy.looks(time.monotonic())
            self._looking = asyncio.create_task(self._look(policy, self._way, self._identity))
            self._looks.add(self._looking)
            self._looking.add_done_callback(self._looks.discard)

    async def _look(self, policy: Balance, way: Way, identity: Identity) -> None:
        try:
            await self._look_beside(policy, way, identity)
        except LinkError as error:
            log.info("no look at another service: %s", error)
            policy.saw_none(time.monotonic())
        except Exception:
            log.exception("the look at another service failed")
            policy.saw_none(time.monotonic())
        finally:
            if self._looking is asyncio.current_task():
                self._looking = None

    async def _look_beside(self, policy: Balance, way: Way, identity: Identity) -> None:
        """Raises LinkError where a way cannot be made, and what a transport raises."""
        other = await self._ways.other(way)
        if other is None:
            policy.saw_none(time.monotonic())
            return
        sight = await look(other.transport, identity)
        now = time.monotonic()
        if sight.load is None:
            log.info("looked at %s, which is no place to go: %s", other.address, sight.why)
            self._ways.failed(other, sight.rest_s)
            policy.saw_none(now)
            return
        self._ways.worked(other)
        found = policy.saw(Load(sight.load.queue_ms, sight.load.streams), now)
        log.debug("looked at %s: %s", other.address, sight.load)
        if found is not None:
            self._move(way.address, other.address, found.why)

    def _move(self, here: Address, there: Address, why: str) -> None:
        """Leave for a better place, as if the service here drained."""
        if self._standing.state == "up":
            self.moves += 1
            self._moving.begin(time.monotonic())
            self._ways.prefer(there)
            text = f"moving from {here} to {there}: {why}"
            self._standing.change("draining", f"this device goes to {there}")
            self.on_move(text)
            self._wake()
