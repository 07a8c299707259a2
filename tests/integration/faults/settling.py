"""What every test of a fault ends with."""

from typing import Protocol

from tests.integration.faults.processes import CountedCloud
from tests.integration.faults.tally import Tally
from tests.integration.faults.traffic import Traffic

__all__ = ["Settle"]


class Settle(Protocol):
    """Where every fault ends: all frames have, and both sides are at their level again."""

    def __call__(
        self, traffic: Traffic, cloud: CountedCloud | None = None, sessions: int = 1
    ) -> Tally:
        """How the frames ended. The cloud, if it is a process, is left with so many sessions."""
        ...
