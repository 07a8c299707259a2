"""How signals end a run of `isthmus edge`: whatever comes, each accepted frame has its one end.

An exception out of a signal's handler could come between a frame's answer and the line that tells
of it, amid the close, or amid the loading of a library, which makes another error of it. So a
signal raises nothing: it has the agent closed, by another thread, and the run comes to its end
because no more frames are accepted.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isthmus.repeated_signals import Breaths
from isthmus_cli.console import Terminated
from isthmus_edge import Agent

__all__ = ["Ending"]


class Ending:
    """SIGINT and SIGTERM, as a run hears them; on the main thread.

    The first one ends the run in order: accepted frames are answered. Another one that is meant
    ends those that are not answered yet with an error. The one after that ends the process at once,
    and so does the first while no agent is open: there is nothing to bring to an end. A signal that
    was ignored before stays so.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._breaths = Breaths(clock)
        self._agent: Agent | None = None
        self._told: signal.Signals | None = None
        self._is_forced = False

    @property
    def is_told(self) -> bool:
        """Whether a signal said that the run shall end."""
        return self._told is not None

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within the block signals come here. If one has come they do so to the end of the process:
        its repetition may come late."""
        kinds = [signal.SIGINT, signal.SIGTERM]
        heard = [kind for kind in kinds if signal.getsignal(kind) is not signal.SIG_IGN]
        before = {kind: signal.signal(kind, self._hear) for kind in heard}
        try:
            yield
        finally:
            if not self.is_told:
                for kind, handler in before.items():
                    signal.signal(kind, handler)

    def closes(self, agent: Agent) -> None:
        """From now on a signal has this agent closed."""
        self._agent = agent

    def pass_on(self) -> None:
        """Raise what a signal means to the command, if one came."""
        if self._told is not None:
            raise Terminated if self._told == signal.SIGTERM else KeyboardInterrupt

    def _hear(self, number: int, _: object) -> None:
        if not self._breaths.is_new():
            return
        if self._agent is None or self._is_forced:
            os._exit(128 + number)
        self._is_forced = self.is_told
        self._told = self._told or signal.Signals(number)
        # By another thread: this one may hold a lock that the agent needs on its way.
        closing = (0.0,) if self._is_forced else ()
        threading.Thread(target=self._agent.close, args=closing).start()
