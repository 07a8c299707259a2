"""How busy the service is, as the devices' policies want to know it."""

import asyncio

SMOOTHING = 0.2  # weight of the latest frame

__all__ = ["LoadGauge"]


class LoadGauge:
    """Counts the frames of all devices; used on the event loop only. `workers` batches run at once;
    that may change."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._frames = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._service_ms: float | None = None

    def came(self) -> None:
        """One more frame is here, waiting or being run."""
        self._frames += 1
        self._quiet.clear()

    def left(self) -> None:
        """No worker has it any more, and none will."""
        self._frames -= 1
        if not self._frames:
            self._quiet.set()

    async def quiet(self) -> None:
        """Wait until no frame is here."""
        while self._frames:
            await self._quiet.wait()

    def learn(self, service_ms: float) -> None:
        """One frame took a worker for `service_ms`."""
        if self._service_ms is None:
            self._service_ms = service_ms
        self._service_ms += SMOOTHING * (service_ms - self._service_ms)

    @property
    def here(self) -> int:
        """Frames that wait or are being run."""
        return self._frames

    @property
    def queue_ms(self) -> float:
        """What a frame that came now would wait behind all that are here."""
        return self.wait_ms(self._frames)

    def wait_ms(self, ahead: int, mean_ms: float = 0.0) -> float:
        """What a frame waits behind `ahead` others that wait or are being run: as many turns as it
        takes to free a worker.

        A turn is what a frame took of late or what those ahead were measured to take, `mean_ms`
        each, whichever is less, so that nobody is told of a longer wait than there is; 0 while
        neither is known.
        """
        turns = max(0, ahead - self.workers + 1) / self.workers
        return turns * min(filter(None, (self._service_ms, mean_ms)), default=0.0)
