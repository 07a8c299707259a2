"""Services whose engine obeys the tests, as processes."""

import msgspec
from tests.commands import Ended, until
from tests.integration.faults import service_process
from tests.integration.faults.cloud_process import WORD, Counts
from tests.integration.faults.processes import CountedCloud

LOOKS = 50  # while an answer is on its way to its device, and the next frame back

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
        """Compute nothing until so many frames are in flight, and no more come in the place
        of those that were computed when it was told."""
        self.hold()
        until(lambda: self._is_full(count), f"{count} frames are in flight, and no more come")

    def _is_full(self, count: int) -> bool:
        looks = [self.counts() for _ in range(LOOKS)]
        is_still = looks[0].answering == looks[-1].answering and not looks[-1].outcomes
        return looks[0].frames >= count and is_still

    def last_counts(self, ended: Ended) -> Counts:
        """What it had done and held in the end."""
        line = next(line for line in ended.out.splitlines() if line.startswith(WORD))
        return msgspec.json.decode(line.removeprefix(WORD), type=Counts)
