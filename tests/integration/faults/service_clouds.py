"""Services whose engine obeys the tests, as processes."""

import msgspec
from tests.commands import Ended, until
from tests.integration.faults import service_process
from tests.integration.faults.cloud_process import WORD, Counts
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

    def break_and_go(self) -> int:
        """A batch of several frames ends in an error that nobody has foreseen; of how many."""
        self.process.send_signal(service_process.BREAK)
        self.go()
        return int(self.line(service_process.BROKE).removeprefix(service_process.BROKE))

    def hold_frames(self, count: int) -> None:
        """Compute nothing until so many frames are in flight."""
        self.hold()
        until(lambda: self.counts().frames >= count, f"{count} frames are in flight")

    def last_counts(self, ended: Ended) -> Counts:
        """What it had done and held in the end."""
        line = next(line for line in ended.out.splitlines() if line.startswith(WORD))
        return msgspec.json.decode(line.removeprefix(WORD), type=Counts)
