"""The frames that wait for a worker, and which of them go together next. No thread, no clock.

Frames wait in one line for each tail. Clients take turns, over all lines, each with its most urgent
frame: whoever was served longest ago is first, and of those the most urgent; so one that sends many
delays itself. A batch is taken from the line with the first frame, or from one whose frames pass
that one's entry on their way (it then joins them there), if it is begun in time so. What is full
turns away the frame of whoever has most.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from isthmus_cloud.answering.crowd import Crowd
from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.parts import Part, Tail

MOST_TURNS = 4096  # clients whose last turn is remembered

__all__ = ["Waiting"]


class _Line:
    """Frames of one tail, by client, each client's in order of urgency."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        size = tail.most_from(0)
        self.each_ns = int(tail.ms(size) / size * 1e6)  # a frame of a batch that pays
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

    def first(self, turns: "_Turns") -> Job:
        """Whose turn it is."""
        return min((jobs[0] for jobs in self._by_client.values()), key=turns.of)

    def take(self, most: int, turns: "_Turns") -> list[Job]:
        """Up to `most`, clients in turn: all first ones in order, then all second ones, …"""
        taken: list[Job] = []
        turn = 0
        while len(taken) < most:
            now = [jobs[turn] for jobs in self._by_client.values() if len(jobs) > turn]
            if not now:
                break
            taken += sorted(now, key=turns.of)[: most - len(taken)]
            turn += 1
        for job in taken:
            self.remove(job)
        return taken


class _Turns:
    """When each client was served last; of the many that may come, those of late are known."""

    def __init__(self) -> None:
        self._served: OrderedDict[object, int] = OrderedDict()
        self._count = 0

    def of(self, job: Job) -> tuple[int, int]:
        """The least is first: served longest ago, then most urgent."""
        return self._served.get(job.client, 0), job.due_ns

    def served(self, jobs: Iterable[Job]) -> None:
        """These go now."""
        self._count += 1
        for client in {job.client for job in jobs}:
            self._served[client] = self._count
            self._served.move_to_end(client)
        while len(self._served) > MOST_TURNS:
            self._served.popitem(last=False)


class Waiting:
    """All lines; the caller sees to it that one thread at a time uses them."""

    def __init__(self, joins: bool = True) -> None:
        self._joins = joins
        self._lines: dict[Tail, _Line] = {}
        self._turns = _Turns()
        self._crowd = Crowd()

    def __len__(self) -> int:
        return len(self._crowd)

    def add(self, job: Job) -> None:
        """One more waits."""
        line = self._lines.get(job.tail)
        if line is None:
            line = self._lines[job.tail] = _Line(job.tail)
        line.add(job)
        self._crowd.add(job, line.each_ns)

    def remove(self, job: Job) -> bool:
        """Nobody waits for it any more; False if it does not wait here."""
        line = self._lines.get(job.tail)
        if line is None or not line.remove(job):
            return False
        self._gone((job,))
        return True

    def room(self, client: object, places: int, size_bytes: int) -> list[Job]:
        """See `Crowd.room`."""
        return self._crowd.room(client, places, size_bytes)

    def make_room(self, client: object, places: int, size_bytes: int) -> list[Job]:
        """Frames that are out now, so that so many places and bytes are free for a frame of
        `client`, as `room` finds them. [], and all stay, where it finds none."""
        out = self.room(client, places, size_bytes)
        for job in out:
            self.remove(job)
        return out

    @property
    def can_begin(self) -> bool:
        """Whether anything waits whose tail takes a batch now."""
        return any(line and line.tail.is_free for line in self._lines.values())

    def take(self, now_ns: int) -> list[Job]:
        """The next batch, at least one frame; [] if nothing waits whose tail takes one."""
        lines = [line for line in self._lines.values() if line and line.tail.is_free]
        if not lines:
            return []
        line = min(lines, key=lambda line: self._turns.of(line.first(self._turns)))
        size = line.tail.most_from(0)
        if self._joins and len(lines) > 1:
            line, size = self._earlier(line, lines, now_ns)
        return self._taken(line, size)

    def joining(self, rest: Sequence[Part], most: int, own: Tail, most_own: int) -> list[Job]:
        """Up to `most` frames, all of one tail, that can join a batch of the tail `own` which has
        `rest` still to run; of its own, up to `most_own`."""
        if not self._joins or most < 1 or not self._crowd:
            return []
        lines = (line for line in self._lines.values() if line and line.tail.most > 1)
        wanted = (line for line in lines if line.tail is not own or most_own > 0)
        can = [line for line in wanted if line.tail.entry_to(rest) is not None]
        if not can:
            return []
        line = min(can, key=lambda line: self._turns.of(line.first(self._turns)))
        return self._taken(line, min(most, most_own) if line.tail is own else most)

    def ahead(self, client: object) -> tuple[int, float]:
        """See `Crowd.ahead`."""
        return self._crowd.ahead(client)

    def hold_until_ns(self, linger_ms: float) -> int:
        """Until when a batch may be held back for more frames: the first to come has waited for
        `linger_ms` then, a line is full, or the most urgent deadline allows no longer."""
        until = NEVER_NS
        for line in self._lines.values():
            if not line or not line.tail.is_free:
                continue
            jobs = list(line.jobs())
            if len(jobs) >= line.tail.most_from(0):
                return 0
            took_ns = int(line.tail.ms(len(jobs) + 1) * 1e6)
            first = min(map(_received, jobs)) + int(linger_ms * 1e6)
            until = min(until, first, min(job.deadline_ns for job in jobs) - took_ns)
        return until

    def forget(self, tail: Tail) -> list[Job]:
        """No frame of this tail will come any more; those that wait still, which are out now."""
        line = self._lines.pop(tail, None)
        left = [] if line is None else list(line.jobs())
        self._gone(left)
        return left

    def _taken(self, line: _Line, most: int) -> list[Job]:
        taken = line.take(most, self._turns)
        self._turns.served(taken)
        self._gone(taken)
        return taken

    def _earlier(self, first: _Line, lines: Iterable[_Line], now_ns: int) -> tuple[_Line, int]:
        """The line to begin with, and how many of it, so that the first frame is met on the way,
        finds a place, and is begun in time."""
        slack_ms = (first.first(self._turns).due_ns - now_ns) / 1e6
        rest = first.tail.parts[1:]
        best, size = first, first.tail.most_from(0)
        if first.tail.most == 1 or not rest:
            return best, size
        for line in lines:
            tail = line.tail
            if len(tail.parts) <= len(best.tail.parts) or tail.parts[-len(rest) :] != rest:
                continue
            places = min(tail.most_from(0), tail.most_from(len(tail.parts) - len(rest)) - 1)
            if places > 0 and tail.ms(places) <= slack_ms:
                best, size = line, places
        return best, size

    def _gone(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._crowd.remove(job)


def _received(job: Job) -> int:
    return job.received_ns
