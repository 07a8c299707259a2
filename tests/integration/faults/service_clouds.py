"""Services whose engine obeys the tests, as processes."""

from tests.commands import until
from tests.integration.faults import service_process
from tests.integration.faults.processes import CountedCloud

__all__ = ["ObedientCloud"]


class ObedientCloud(CountedCloud):
    """`isthmus cloud` that can be told what befalls its engine: see `service_process.py`."""

    module = service_process.__name__

    def hold(self) -> None:
        """Nothing is computed from now on."""
        self.process.send_signal(service_process.HOLD)

    def go(self) -> None:
        """What waits is computed."""
        self.process.send_signal(service_process.GO)

    def break_engine(self) -> None:
        """The next batch of several frames ends in an error that nobody has foreseen."""
        self.process.send_signal(service_process.BREAK)

    def hold_frames(self, count: int) -> None:
        """Compute nothing until so many frames are in flight."""
        self.hold()
        until(lambda: self.counts().frames >= count, f"{count} frames are in flight")
