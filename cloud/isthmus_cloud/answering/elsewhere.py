"""The seam to other processes: batches of a tail that is not in this one."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from isthmus_cloud.answering.flow import Joining, Ran
from isthmus_cloud.answering.jobs import Job

Ending = tuple[Job, Exception | None]  # a frame, and what befell it

__all__ = ["Elsewhere", "Ending"]


class Elsewhere(Protocol):
    """Runs batches; called from several worker threads at once.

    A batch is one frame of the tail or several; `begin` is called before `run`, in the order in
    which batches are taken from the queue, and `end` after it, whatever came of it.
    """

    @property
    def at_once(self) -> int:
        """Batches that are computed at the same time now, at least 1: how fast a queue moves."""

    @property
    def replicas(self) -> int:
        """That are known to be there."""

    @property
    def is_free(self) -> bool:
        """Whether one more batch would be begun now; frames wait for it here, and gather."""

    def begin(self, jobs: Sequence[Job]) -> None:
        """One more batch is under way; must not block."""

    def end(self) -> None:
        """One less."""

    def run(
        self, jobs: Sequence[Job], joining: Joining[Job], ran: Ran[Job]
    ) -> Iterator[Sequence[Ending]]:
        """Every frame, those that joined too, as soon as it is done: its outputs are in it, or this
        is the error that it ended in."""
