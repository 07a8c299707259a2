"""The frames that wait for a worker, and which of them go together next. No thread, no clock.

Frames wait in one line for each tail. A batch is taken from the line with the most urgent frame, or
from one whose frames pass that one's entry on their way (it then joins them there), if its deadline
allows. Within a line clients take turns, each with its most urgent frame; so one that sends many
delays itself. What is full turns away the frame of whoever has most.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.parts import Part, Tail

__all__ = ["Waiting"]


class _Line:
    """Frames of one tail, by client, each client's in order of urgency."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self._by_client: dict[object, list[Job]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_client)

    def add(self, job: Job) -> None:
        jobs = self._by_client.setdefault(job.client, [])
        place = len(jobs)
        while place and jobs[place - 1].due_ns > job.due_ns:
            place -= 1
        jobs.insert(place, job)

    def remove(self, job: Job) -> bool:
        jobs = self._by_client.get(job.client, [])
        if job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del self._by_client[job.client]
        return True

    def jobs(self) -> Iterator[Job]:
        for jobs in self._by_client.values():
            yield from jobs

    @property
    def most_urgent(self) -> Job:
        return min((jobs[0] for jobs in self._by_client.values()), key=_due)

    def take(self, most: int) -> list[Job]:
        """Up to `most`, clients in turn: all first ones by urgency, then all second ones, …"""
        taken: list[Job] = []
        turn = 0
        while len(taken) < most:
            now = [jobs[turn] for jobs in self._by_client.values() if len(jobs) > turn]
            if not now:
                break
            taken += sorted(now, key=_due)[: most - len(taken)]
            turn += 1
        for job in taken:
            self.remove(job)
        return taken


class Waiting:
    """All lines; the caller sees to it that one thread at a time uses them."""

    def __init__(self, joins: bool = True) -> None:
        self._joins = joins
        self._lines: dict[Tail, _Line] = {}
        self._counts: defaultdict[object, int] = defaultdict(int)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job) -> None:
        """One more waits."""
        line = self._lines.get(job.tail)
        if line is None:
            line = self._lines[job.tail] = _Line(job.tail)
        line.add(job)
        self._counts[job.client] += 1
        self._count += 1

    def remove(self, job: Job) -> bool:
        """Nobody waits for it any more; False if it does not wait here."""
        line = self._lines.get(job.tail)
        if line is None or not line.remove(job):
            return False
        self._gone((job,))
        return True

    def crowder(self, client: object) -> Job | None:
        """The latest frame of whoever has most waiting, to make room for one of `client`; None if
        that is the client itself, or nobody has more."""
        greatest = max(self._counts, key=self._counts.__getitem__, default=None)
        if greatest is None or self._counts[greatest] <= self._counts.get(client, 0) + 1:
            return None
        jobs = (job for line in self._lines.values() for job in line.jobs())
        return max((job for job in jobs if job.client is greatest), key=_received)

    def take(self, now_ns: int) -> list[Job]:
        """The next batch, at least one frame; [] if nothing waits."""
        lines = [line for line in self._lines.values() if line]
        if not lines:
            return []
        if self._count == 1:
            taken = lines[0].take(1)
            self._gone(taken)
            return taken
        urgent = min(lines, key=lambda line: line.most_urgent.due_ns)
        line = self._earlier(urgent, lines, now_ns) if self._joins else urgent
        taken = line.take(_size(line, now_ns))
        self._gone(taken)
        return taken

    def joining(self, rest: Sequence[Part], most: int) -> list[Job]:
        """Frames, all of one tail, that can join a batch which has `rest` still to run."""
        if not self._joins or most < 1 or not self._count:
            return []
        lines = (line for line in self._lines.values() if line and line.tail.most > 1)
        can = [line for line in lines if line.tail.entry_to(rest) is not None]
        if not can:
            return []
        line = min(can, key=lambda line: line.most_urgent.due_ns)
        taken = line.take(most)
        self._gone(taken)
        return taken

    def hold_until_ns(self, linger_ms: float) -> int:
        """Until when a batch may be held back for more frames: the first to come has waited for
        `linger_ms` then, a line is full, or the most urgent deadline allows no longer."""
        until = NEVER_NS
        for line in self._lines.values():
            if not line:
                continue
            jobs = list(line.jobs())
            if len(jobs) >= line.tail.most_from(0):
                return 0
            took_ns = int(line.tail.ms(len(jobs) + 1) * 1e6)
            first = min(map(_received, jobs)) + int(linger_ms * 1e6)
            until = min(until, first, line.most_urgent.deadline_ns - took_ns)
        return until

    def forget(self, tail: Tail) -> None:
        """No frame of this tail will come any more."""
        self._lines.pop(tail, None)

    def _earlier(self, urgent: _Line, lines: Iterable[_Line], now_ns: int) -> _Line:
        """The line to begin with, so that the urgent frame is met on the way and still in time."""
        slack_ms = (urgent.most_urgent.deadline_ns - now_ns) / 1e6
        rest = urgent.tail.parts[1:]
        best = urgent
        if urgent.tail.most == 1:
            return urgent
        for line in lines:
            parts = line.tail.parts
            passes = len(parts) > len(best.tail.parts) and rest and parts[-len(rest) :] == rest
            if passes and line.tail.most > 1 and line.tail.ms(_size(line, now_ns)) <= slack_ms:
                best = line
        return best

    def _gone(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._count -= 1
            self._counts[job.client] -= 1
            if not self._counts[job.client]:
                del self._counts[job.client]


def _size(line: _Line, now_ns: int) -> int:
    """As many as the tail's knee allows, and the most urgent frame's deadline."""
    size = line.tail.most_from(0)
    slack_ms = (line.most_urgent.deadline_ns - now_ns) / 1e6
    while size > 1 and line.tail.ms(size) > slack_ms:
        size //= 2
    return size


def _due(job: Job) -> int:
    return job.due_ns


def _received(job: Job) -> int:
    return job.received_ns
