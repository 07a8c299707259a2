"""Devices that are connected and have nothing to send: they say Hello, and beat."""

import asyncio
from collections.abc import Callable, Sequence

from isthmus import LinkError
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.serve.split_talker import SplitTalker
from isthmus_bench.serve.talkers import Listener

ECHOES = 2  # that each device hears before it counts as settled
SETTLE_S = 120.0
_AT_ONCE = 32  # connections that are being opened

__all__ = ["Idlers"]


class Idlers:
    """A number of idle devices."""

    def __init__(self, connection: Callable[[int, Listener], SplitTalker], count: int) -> None:
        self._talkers: Sequence[SplitTalker] = [connection(n, self) for n in range(count)]
        self._change = asyncio.Event()

    @property
    def connected(self) -> int:
        """Whose stream still stands."""
        return sum(not talker.is_over for talker in self._talkers)

    async def open(self) -> None:
        """Until all are welcomed and `hear` echoes; LinkError if one is not."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(talker: SplitTalker) -> None:
            async with gate:
                await talker.open()

        await asyncio.gather(*(one(talker) for talker in self._talkers))
        await self.hear()

    async def hear(self) -> None:
        """Until each has heard `ECHOES` more; LinkError if one does not for long."""
        wanted = [(talker, talker.echoes + ECHOES) for talker in self._talkers]
        try:
            await asyncio.wait_for(self._heard(wanted), SETTLE_S)
        except TimeoutError as error:
            raise LinkError(f"idle devices heard no {ECHOES} echoes in {SETTLE_S:g} s") from error

    async def close(self) -> None:
        """All hang up."""
        await asyncio.gather(*(talker.close() for talker in self._talkers))

    async def _heard(self, wanted: Sequence[tuple[SplitTalker, int]]) -> None:
        for talker, echoes in wanted:
            while talker.echoes < echoes and not talker.is_over:
                await self._change.wait()
                self._change.clear()

    def ended(self, number: int, kind: str, is_right: bool, timing: pb.Timing | None) -> None:
        """See `Listener`; idle devices send no frames."""

    def noticed(self) -> None:
        """See `Listener`."""
        self._change.set()
