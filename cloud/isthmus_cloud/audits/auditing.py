"""Comparing what was answered with what the unsplit model says, where nobody waits for it.

An audit runs on one thread of its own, on the CPU, which yields to all others, and only once no
frame is in the service; if that does not come about soon, there is no verdict. Audits have a byte
budget of their own: they never take a frame's place.
"""

import asyncio
import os
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from isthmus import Bundle, WireError
from isthmus.agreement.closeness import Closeness
from isthmus.agreement.named import metric_of
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.budget import ByteBudget, OverloadedError
from isthmus_cloud.audits.comparing import Comparison, NotComparedError
from isthmus_cloud.audits.unsplit import Unsplit

QUIET_WITHIN_S = 5.0
MOST_REASON_CHARACTERS = 200
_NICE = 19  # of -20 to 19: runs when nobody else wants to
_BUDGET_SHARE = 8  # audits get one part in so many of what frames may take

Quiet = Callable[[], Awaitable[None]]  # returns once no frame is in the service
# Of a frame, once it is done: the result as it was sent; None if there was none or it is forgotten.
Answered = Callable[[int], Awaitable[pb.Result | None]]

__all__ = ["Answered", "Auditor", "NoAuditor", "Quiet", "UnsplitAuditor", "auditing"]


class Auditor(Protocol):
    """Runs the unsplit model on audited frames; at most one of each session at a time."""

    async def check(self, audit: pb.Audit, answered: Answered) -> pb.Verdict:
        """The verdict on what was `answered`."""


class NoAuditor:
    """Says that nothing was compared, and why."""

    def __init__(self, reason: str = "this service does not audit") -> None:
        self._reason = reason

    async def check(self, audit: pb.Audit, answered: Answered) -> pb.Verdict:
        """See `Auditor.check`."""
        return pb.Verdict(sequence=audit.sequence, reason=self._reason)


@contextmanager
def auditing(bundle: Bundle, quiet: Quiet, max_bytes_in_flight: int) -> Iterator[Auditor]:
    """An auditor for this bundle, as long as the context lasts.

    Where the bundle does not hold what an audit needs, it is one that says so.
    """
    metric, unsplit = metric_of(bundle.manifest), Unsplit.of(bundle)
    if metric is None:
        yield NoAuditor(f"the bundle does not say how to compare by {bundle.manifest.metric!r}")
    elif unsplit is None:
        yield NoAuditor("the bundle has no candidate that carries raw inputs exactly")
    else:
        budget = ByteBudget(max(max_bytes_in_flight // _BUDGET_SHARE, unsplit.max_bytes))
        comparison = Comparison(metric, bundle.manifest.outputs)
        with UnsplitAuditor(unsplit, comparison, budget, quiet) as auditor:
            yield auditor


class UnsplitAuditor:
    """Compares with the unsplit fp32 model, one audit after the other.

    `agrees` is whether the answers agree by the metric; where a frame's agreement is a share (F1),
    it is true with that probability (`draw` gives numbers from 0 to 1), so that over many frames
    the share of verdicts that agree is the mean agreement.
    """

    def __init__(
        self,
        unsplit: Unsplit,
        comparison: Comparison,
        budget: ByteBudget,
        quiet: Quiet,
        quiet_within_s: float = QUIET_WITHIN_S,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._unsplit = unsplit
        self._comparison = comparison
        self._budget = budget
        self._quiet = quiet
        self._quiet_within_s = quiet_within_s
        self._draw = draw
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "audit", _yield_to_others)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def check(self, audit: pb.Audit, answered: Answered) -> pb.Verdict:
        """See `Auditor.check`. Cancelling gives up an audit that has not begun."""
        try:
            close = await self._closeness(audit, answered)
        except (NotComparedError, OverloadedError, WireError) as error:
            reason = str(error)[:MOST_REASON_CHARACTERS]
            return pb.Verdict(sequence=audit.sequence, reason=reason)
        return pb.Verdict(
            sequence=audit.sequence,
            compared=True,
            agrees=self._draw() < close.agreement,  # a draw is always below 1
            divergence=close.divergence,
        )

    async def _closeness(self, audit: pb.Audit, answered: Answered) -> Closeness:
        taken_bytes = self._unsplit.frame_bytes(audit.input)
        self._budget.take(taken_bytes)
        begun: Future[Closeness] | None = None
        try:
            result = await answered(audit.sequence)
            if result is None:
                raise NotComparedError("no answer to this frame is remembered")
            await self._wait_for_quiet()
            try:
                begun = self._thread.submit(self._compare, audit.input, result)
                begun.add_done_callback(lambda _: self._budget.give_back(taken_bytes))
                return await asyncio.wrap_future(begun)
            finally:
                self._turn.release()
        finally:
            if begun is None:
                self._budget.give_back(taken_bytes)

    async def _wait_for_quiet(self) -> None:
        """Take the turn once no frame is here; NotComparedError if that takes too long."""
        try:
            async with asyncio.timeout(self._quiet_within_s):
                await self._turn.acquire()
                try:
                    await self._quiet()
                except BaseException:
                    self._turn.release()
                    raise
        except TimeoutError as error:
            text = f"the service was not without frames within {self._quiet_within_s:g} s"
            raise NotComparedError(text) from error

    def _compare(self, raw_input: pb.Frame, answered: pb.Result) -> Closeness:
        return self._comparison.closeness(self._unsplit.run(raw_input), answered)


def _yield_to_others() -> None:
    """For the calling thread; elsewhere a priority belongs to the whole process."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
