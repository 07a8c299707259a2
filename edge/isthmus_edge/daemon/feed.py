"""One source at work: a thread that takes its pictures, hands them in, and outlives its losses."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial

from isthmus import AgentClosedError, IsthmusError, PictureError, StaleFrameError
from isthmus_edge.answer import Answer
from isthmus_edge.daemon.lines import answer_line, error_line, head_of
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.output import Output
from isthmus_edge.daemon.sections import OutputSection
from isthmus_edge.daemon.serving import Serving
from isthmus_edge.daemon.sources import Fate, Item, Source, SourceLostError
from isthmus_edge.daemon.status import SourceState, SourceStatus

log = logging.getLogger("isthmus.daemon")

RETRY_S = (1.0, 30.0)  # the first pause before a source is opened again, and the longest

__all__ = ["Desk", "Feed", "pauses"]


class Desk:
    """Where feeds hand in pictures, and what writes down how they end. Feeds share it."""

    def __init__(self, serving: Serving, output: Output, section: OutputSection) -> None:
        self.serving = serving
        self.output = output
        self.section = section

    def place(self) -> Output:
        """Wait for room for one line; the output that has it. AgentClosedError once all is over."""
        while True:
            output = self.output
            if output.reserve():
                return output
            if output is self.output:  # no other one has taken its place
                raise AgentClosedError("the daemon ends, and takes no picture any more")

    def change(self, output: Output, section: OutputSection) -> Output:
        """Write elsewhere from now on; the output before, to be closed."""
        before, self.output, self.section = self.output, output, section
        return before


class Feed:
    """The life of one source: starting -> running <-> lost, until ended, failed or stopped."""

    def __init__(
        self, name: str, source: Source, desk: Desk, tell: Tell, *, retry_s: float = RETRY_S[0]
    ) -> None:
        self.name = name
        self._source = source
        self._desk = desk
        self._tell = tell
        self._retry_s = retry_s
        self._state: SourceState = "starting"
        self._detail = ""
        self._taken = self._stale = 0
        self._fates: Counter[Fate] = Counter()
        self._counting = threading.Condition()
        self._is_stopped = threading.Event()
        self._is_over = threading.Event()
        self._on_end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=f"source {name}", daemon=True)

    def start(self, on_end: Callable[[], None] = lambda: None) -> None:
        """Begin; `on_end` is called on its thread when nothing more comes and all has ended."""
        self._on_end = on_end
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; what was taken goes on to its end."""
        self._is_stopped.set()
        self._source.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until it takes nothing more and what it took has ended; False if not in time."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come, and what came has ended."""
        return self._is_over.is_set()

    def status(self) -> SourceStatus:
        """How it stands."""
        with self._counting:
            return SourceStatus(
                name=self.name,
                kind=self._source.kind,
                state=self._state,
                detail=self._detail,
                taken=self._taken,
                answered=self._fates["answered"],
                errors=self._fates["failed"],
                unreadable=self._fates["unreadable"],
                unwritten=self._fates["unwritten"],
                dropped=self._source.dropped + self._stale,
            )

    def _run(self) -> None:
        try:
            self._take_until_the_end()
        except AgentClosedError:
            self._become("stopped")
        except IsthmusError as error:
            self._become("failed", str(error), logging.ERROR)
        except Exception:
            log.exception("the source %s broke", self.name)
            self._become("failed", "a defect of ours; the log has its traceback", logging.ERROR)
        with self._counting:
            self._counting.wait_for(self._have_all_ended)
        self._is_over.set()
        self._on_end()

    def _take_until_the_end(self) -> None:
        waits = pauses(self._retry_s)
        while not self._is_stopped.is_set():
            taken = self._taken
            try:
                self._take_all()
            except SourceLostError as error:
                if not self._source.comes_back:
                    raise
                if self._taken > taken:
                    waits = pauses(self._retry_s)
                if self._state != "lost":
                    self._become("lost", str(error), logging.WARNING)
                self._is_stopped.wait(next(waits))
            else:
                self._become("stopped" if self._is_stopped.is_set() else "ended")
                return
        self._become("stopped")

    def _take_all(self) -> None:
        with closing(self._source.items()) as items:
            for item in items:
                if self._state != "running":
                    self._become("running")
                if item is not None:
                    self._hand_in(item)
                if self._is_stopped.is_set():
                    return

    def _hand_in(self, item: Item) -> None:
        output = self._desk.place()
        with self._counting:
            self._taken += 1
        try:
            if isinstance(item.picture, PictureError):
                raise item.picture
            answer = self._desk.serving.submit(item.picture, item.deadline_ms)
        except BaseException as error:
            self._end(item, output, error)
            if isinstance(error, AgentClosedError) or not isinstance(error, Exception):
                raise
            if not isinstance(error, IsthmusError):  # one picture, and not all that come after it
                log.exception("a defect of ours: %s of the source %s", item.name, self.name)
        else:
            answer.add_done_callback(partial(self._ended, item, output))

    def _ended(self, item: Item, output: Output, future: "Future[Answer]") -> None:
        """On the agent's own thread: nothing here waits."""
        error = future.exception()
        self._end(item, output, future.result() if error is None else error)

    def _end(self, item: Item, output: Output, end: Answer | BaseException) -> None:
        head = head_of(self.name, item)
        if isinstance(end, Answer):
            line = partial(answer_line, head, end, self._desk.section)
            output.put(line, partial(self._count, item, "answered"))
            return
        fate: Fate = "unreadable" if isinstance(end, PictureError) else "failed"
        if isinstance(end, StaleFrameError):
            with self._counting:
                self._stale += 1
        else:
            self._tell(
                "frame_failed", logging.WARNING, source=self.name, item=item.name, reason=str(end)
            )
        output.put(partial(error_line, head, end), partial(self._count, item, fate))

    def _count(self, item: Item, fate: Fate, is_written: bool) -> None:
        end: Fate = fate if is_written else "unwritten"
        try:
            item.settled(end)
        finally:
            with self._counting:
                self._fates[end] += 1
                self._counting.notify_all()

    def _have_all_ended(self) -> bool:
        return self._taken == self._fates.total()

    def _become(self, state: SourceState, detail: str = "", level: int = logging.INFO) -> None:
        with self._counting:
            self._state, self._detail = state, detail
        self._tell(f"source_{state}", level, source=self.name, reason=detail or None)


def pauses(first_s: float, longest_s: float = RETRY_S[1]) -> Iterator[float]:
    """1, 2, 4, … seconds, and no longer than the longest."""
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, max(first_s, longest_s))
