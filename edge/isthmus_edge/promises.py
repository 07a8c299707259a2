"""What callers were promised: each accepted frame has one end, also where the agent is closed."""

import asyncio
import logging
from concurrent.futures import Future
from functools import partial

from isthmus import AgentClosedError
from isthmus_edge.answer import Answer
from isthmus_edge.ledger import Ledger

log = logging.getLogger("isthmus.edge")

__all__ = ["Promises"]


class Promises:
    """Those of one agent that are not kept yet; used on its event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._is_late = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def make(self, answer: "Future[Answer]") -> tuple[int, asyncio.Future[Answer]]:
        """Accept a frame: its number, and the future whose end will be that of `answer`.

        A caller that cancels `answer` does not want to hear of it; what has begun goes on to its
        end all the same.
        """
        sequence = self._ledger.accept()
        end: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[sequence] = end
        end.add_done_callback(partial(self._keep, sequence, answer))
        return sequence, end

    def wait_at_most(self, timeout_s: float) -> None:
        """Let `kept` wait no longer than this from now; what is over first counts."""
        asyncio.get_running_loop().call_later(timeout_s, self._is_late.set)

    async def kept(self) -> None:
        """Wait until every frame that is open now has ended, or until it is late."""
        late = asyncio.ensure_future(self._is_late.wait())
        ends = asyncio.gather(*self._open.values(), return_exceptions=True)
        await asyncio.wait((late, ends), return_when=asyncio.FIRST_COMPLETED)
        late.cancel()

    def give_up(self) -> None:
        """End what has not ended, with AgentClosedError: nobody works on it any more."""
        for sequence, end in self._open.items():
            if not end.done():
                self._ledger.settle(sequence, "error")
                error = "the agent was closed before this frame's end"
                end.set_exception(AgentClosedError(error))

    def _keep(self, sequence: int, answer: "Future[Answer]", end: "asyncio.Future[Answer]") -> None:
        del self._open[sequence]
        if end.cancelled() or not answer.set_running_or_notify_cancel():
            return
        try:
            _pass_on(end, answer)
        except BaseException:  # such as the SystemExit of a caller's callback
            log.exception("a callback of frame %d's answer wanted to end the agent", sequence)


def _pass_on(end: "asyncio.Future[Answer]", answer: "Future[Answer]") -> None:
    """Callbacks run here; `Future` logs what most of them raise, but not all."""
    error = end.exception()
    if error is None:
        answer.set_result(end.result())
    else:
        answer.set_exception(error)
