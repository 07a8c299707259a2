"""How much each client has waiting, and what that means for others. No thread, no clock."""

import heapq
from collections.abc import Iterator

from isthmus_cloud.answering.jobs import Job

MOST_OUT = 16  # frames that end for one other; whoever needs more room than that gets none

__all__ = ["MOST_OUT", "Crowd"]


class _Own:
    """The frames of one client in order of arrival, with what each costs a worker in ns."""

    __slots__ = ("jobs", "total_ns")

    def __init__(self) -> None:
        self.jobs: dict[Job, int] = {}
        self.total_ns = 0


class Crowd:
    """The frames that wait, by client; none of the questions walks over single frames."""

    def __init__(self) -> None:
        self._by_client: dict[object, _Own] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job, each_ns: int) -> None:
        """One more waits; it takes a worker for about `each_ns`, 0 if nobody knows."""
        own = self._by_client.get(job.client)
        if own is None:
            own = self._by_client[job.client] = _Own()
        own.jobs[job] = each_ns
        own.total_ns += each_ns
        self._count += 1

    def remove(self, job: Job) -> None:
        """It waits no more; KeyError if it did not."""
        own = self._by_client[job.client]
        own.total_ns -= own.jobs.pop(job)
        self._count -= 1
        if not own.jobs:
            del self._by_client[job.client]

    def ahead(self, client: object) -> tuple[int, float]:
        """How many frames go before one that came now from this client, by turns, and what they
        take a worker in ms; of others that have more than their turns, a mean frame counts."""
        mine = self._by_client.get(client)
        turns = 1 + (0 if mine is None else len(mine.jobs))
        frames = took_ns = 0
        for own in self._by_client.values():
            count = len(own.jobs)
            frames += min(count, turns)
            took_ns += own.total_ns if count <= turns else own.total_ns * turns // count
        return frames, took_ns / 1e6

    def room(self, client: object, places: int, size_bytes: int) -> list[Job]:
        """Frames whose end frees so many places and bytes for one of `client`: each the latest of
        whoever has most then. [] if that takes more than `MOST_OUT`, or one of a client that has no
        more than this one would have."""
        out: list[Job] = []
        for job in self._crowding(client):
            out.append(job)
            places -= 1
            size_bytes -= job.taken_bytes
            if places <= 0 and size_bytes <= 0:
                return out
            if len(out) == MOST_OUT:
                return []
        return []

    def _crowding(self, client: object) -> Iterator[Job]:
        """Frames that would make room for one of `client`, one after the other."""
        mine = self._by_client.get(client)
        enough = 1 + (0 if mine is None else len(mine.jobs))
        greatest = [
            (-len(own.jobs), place, reversed(own.jobs))
            for place, own in enumerate(self._by_client.values())
            if len(own.jobs) > enough
        ]
        heapq.heapify(greatest)
        while greatest:
            count, place, latest = greatest[0]
            yield next(latest)
            if -count - 1 > enough:
                heapq.heapreplace(greatest, (count + 1, place, latest))
            else:
                heapq.heappop(greatest)
