"""The agent in use. A reload puts another one in its place while frames come."""

import threading
from concurrent.futures import Future
from typing import Protocol

from isthmus import AgentClosedError, Manifest
from isthmus_edge.answer import Answer, Stats
from isthmus_edge.daemon.status import Counts
from isthmus_edge.inputs import Inputs

__all__ = ["Answering", "Serving"]


class Answering(Protocol):
    """What of an `Agent` the daemon uses."""

    @property
    def manifest(self) -> Manifest:
        """The plan."""
        ...

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        """Accept a frame, and return; it may wait for a place."""
        ...

    def stats(self) -> Stats:
        """The figures."""
        ...

    def close(self, timeout_s: float) -> None:
        """End every accepted frame, within a bound."""
        ...


class Serving:
    """What sources and the endpoint take for the agent: it hands frames to the one in use."""

    def __init__(self, agent: Answering) -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._before: list[Stats] = []  # of agents that were replaced
        self._last = agent.stats()

    @property
    def manifest(self) -> Manifest:
        """That of the agent in use."""
        return self._agent.manifest

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        """As `Agent.submit`.

        A frame that an agent refuses because it is being replaced goes to the next one:
        AgentClosedError comes only when the daemon ends.
        """
        while True:
            agent = self._agent
            try:
                return agent.submit(frame, deadline_ms)
            except AgentClosedError:
                if agent is self._agent:
                    raise

    def stats(self) -> Stats:
        """Of the agent in use; waits for its thread."""
        agent = self._agent
        stats = agent.stats()
        with self._lock:
            if agent is self._agent:
                self._last = stats
        return stats

    @property
    def last_stats(self) -> Stats:
        """As they were when they were last asked for; waits for nobody."""
        return self._last

    def counts(self) -> Counts:
        """Of all agents, as they were when they were last asked for."""
        with self._lock:
            return sum(map(Counts.of, [*self._before, self._last]), Counts())

    def change(self, agent: Answering) -> Answering:
        """Put another agent in; the one before, which still works on what it accepted."""
        first = agent.stats()
        with self._lock:
            before, self._agent = self._agent, agent
            self._before.append(self._last)
            self._last = first
        return before

    def change_back(self, before: Answering) -> None:
        """Undo a `change`; what the other one accepted meanwhile is its own to end."""
        stats = before.stats()
        with self._lock:
            undone, self._agent = self._last, before
            self._before[-1], self._last = undone, stats

    def retire(self, before: Answering, drain_s: float) -> Stats:
        """Bring what a replaced agent accepted to its end; its last figures."""
        with self._lock:
            index = len(self._before) - 1
        before.close(drain_s)
        with self._lock:
            self._before[index] = before.stats()
            return self._before[index]

    def close(self, drain_s: float) -> Stats:
        """Accept nothing more, and bring what was accepted to its end; the last figures."""
        self._agent.close(drain_s)
        return self.stats()
