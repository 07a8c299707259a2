"""One direction of the link, in real time."""

import asyncio
import math

from isthmus_bench.relay.delay import Delay
from isthmus_bench.relay.rates import Rate, RateHistory, chunk_bytes

__all__ = ["HEADER_BYTES", "Lane"]

HEADER_BYTES = 40


class Lane:
    """A first-come-first-served queue at the rate of the moment, and the way behind it.

    `carried_bytes` have left the queue since it was made: payload, and `HEADER_BYTES` for each
    packet that opens, ends or breaks a connection.
    """

    def __init__(self, rate: Rate, delay: Delay) -> None:
        self._loop = asyncio.get_running_loop()
        self._history = RateHistory(rate)
        self._delay = delay
        self._turn = asyncio.Lock()
        self._changed = self._loop.create_future()
        self._free_s = -math.inf
        self.carried_bytes = 0

    def set_rate(self, rate: Rate) -> None:
        """In force at once, also for the chunk that is being served."""
        self._history.change(self._loop.time(), rate)
        self._changed.set_result(None)
        self._changed = self._loop.create_future()

    def set_delay(self, delay: Delay) -> None:
        """In force for what leaves the queue from now on."""
        self._delay = delay

    def chunk_bytes(self) -> int:
        """How much to read from a socket at the present rate."""
        return chunk_bytes(self._history.bps_at(self._loop.time()))

    def due_s(self, departed_s: float) -> float:
        """When a chunk that left at `departed_s` arrives; to be asked once for each, in order."""
        return self._delay.due_s(departed_s)

    async def carry(self, size_bytes: int, arrived_s: float) -> float:
        """Wait for the turn of these bytes and until they have left; the time of leaving."""
        async with self._turn:
            start_s = max(self._free_s, arrived_s)
            while True:
                departure_s = self._history.departure_s(start_s, 8 * size_bytes)
                wait_s = departure_s - self._loop.time()
                if wait_s <= 0:
                    break
                timeout_s = None if math.isinf(wait_s) else wait_s
                await asyncio.wait({self._changed}, timeout=timeout_s)
            self._free_s = departure_s
            self.carried_bytes += size_bytes
        return departure_s

    async def carry_packet(self) -> None:
        """Carry one packet without payload to the far end."""
        departure_s = await self.carry(HEADER_BYTES, self._loop.time())
        await asyncio.sleep(self.due_s(departure_s) - self._loop.time())
