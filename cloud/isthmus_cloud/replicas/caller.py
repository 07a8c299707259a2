"""Batches as calls of replicas: one call for a batch, and another where a replica is lost.

A tail is pure: a frame that a replica took along when it died is sent to another one, as long as
its deadline and `TRIES` allow. The exception are differences to a frame of the same video stream,
whose symbols one replica holds: they go there and nowhere else, and end in KeyFrameNeededError
where it is gone, so that the device sends the frame once more by itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import msgspec

from isthmus import IsthmusError, KeyFrameNeededError, ModelError, WireError
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.elsewhere import Ending
from isthmus_cloud.answering.flow import Joining, Ran
from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.packed import Packed
from isthmus_cloud.answering.parts import Part
from isthmus_cloud.replicas.calls import Asked, Call, Outcome, Reply, error_of
from isthmus_cloud.replicas.known import Known
from isthmus_cloud.replicas.line import CallLostError, Line
from isthmus_cloud.replicas.pins import Pins
from isthmus_cloud.replicas.settings import CALLS
from isthmus_cloud.telemetry import CallLost, Happening

TRIES = 4
BACKOFF_S = 0.05  # doubled with every try
LONGEST_S = 30.0  # for frames without a deadline
RETRY_AFTER_MS = 1000.0  # a replica that died is replaced in a few seconds

__all__ = ["Caller"]

_logger = logging.getLogger(__name__)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Reply)


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A frame on its way."""

    job: Job
    packed: Packed


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A call, and the replica that it is for ("" for any); or why it could not leave."""

    replica: str
    call: Any = None
    lost: CallLostError | None = None


class Caller:
    """The `Elsewhere` of all tails of one deployment, whose `parts` go by their file.

    `note` hears of calls that are lost. `joins`: whether its replicas hold tails of several cuts,
    whose frames may be one batch; `spreads`: whether any replica will do as well as another.
    """

    def __init__(
        self,
        line: Line,
        known: Known,
        parts: Mapping[str, Part],
        note: Callable[[Happening], None],
        *,
        joins: bool,
        spreads: bool = True,
    ) -> None:
        self._note = note
        self._line = line
        self._known = known
        self._parts = parts
        self._joins = joins
        self._lock = threading.Lock()
        self._under_way = 0
        self._pins = Pins(known, spreads=spreads)

    @property
    def replicas(self) -> int:
        """See `Elsewhere.replicas`."""
        return len(self._known.replicas)

    @property
    def at_once(self) -> int:
        """See `Elsewhere.at_once`."""
        return max(1, self.replicas)

    @property
    def is_free(self) -> bool:
        """See `Elsewhere.is_free`."""
        return self._under_way < CALLS * self.at_once

    def begin(self, jobs: Sequence[Job]) -> None:
        """See `Elsewhere.begin`: a key frame has its place before what refers to it has."""
        with self._lock:
            self._under_way += 1
        self._place(jobs)

    def end(self) -> None:
        """See `Elsewhere.end`."""
        with self._lock:
            self._under_way -= 1

    def run(
        self, jobs: Sequence[Job], joining: Joining[Job], ran: Ran[Job]
    ) -> Iterator[Sequence[Ending]]:
        """See `Elsewhere.run`: one call, or one for each replica that holds something of them."""
        sent: list[_Sent] = []
        refused: list[Ending] = []
        joined = list(self._joined(jobs, joining))
        self._place(joined, along=jobs[0].place)
        for job in (*jobs, *joined):
            try:
                sent.append(_packed(job))
            except IsthmusError as error:
                refused.append((job, error))
        calls = [(group, self._begun(place, group)) for place, group in _grouped(sent).items()]
        yield refused
        yield from _merged([self._all_end(group, call, ran) for group, call in calls])

    def _place(self, jobs: Sequence[Job], along: str = "") -> None:
        places = self._pins.places((job.turn for job in jobs), along)
        for job, place in zip(jobs, places, strict=True):
            job.place = place

    def _joined(self, jobs: Sequence[Job], joining: Joining[Job]) -> Iterator[Job]:
        """Those of other cuts that can join on the way, asked for beforehand."""
        tail = jobs[0].tail
        if not self._joins or tail.most == 1:
            return
        taken = len(jobs)
        for index in range(1, len(tail.parts)):
            rest = tail.parts[index:]
            while more := joining(
                rest, tail.most_from(index) - taken, tail, tail.most_from(0) - taken
            ):
                taken += len(more)
                yield from more

    def _begun(self, replica: str, group: Sequence[_Sent]) -> _UnderWay:
        self._pins.sent(replica)
        try:
            return _UnderWay(replica, self._line.send(replica, _encoded(group)))
        except CallLostError as lost:
            return _UnderWay(replica, lost=lost)

    def _reply(self, call: _UnderWay, until_s: float, count: int) -> Reply:
        try:
            if call.lost is not None:
                raise call.lost
            return _decoded(self._line.reply(call.call, until_s - time.monotonic()), count)
        finally:
            self._pins.back(call.replica)

    def _all_end(
        self, group: list[_Sent], call: _UnderWay, ran: Ran[Job]
    ) -> Iterator[Sequence[Ending]]:
        """See `_ends`; what nobody has foreseen concerns these frames and no others."""
        left = {each.job for each in group}
        try:
            for ends in self._ends(group, call, ran):
                left -= {job for job, _ in ends}
                yield ends
        except Exception as error:
            _logger.exception("a call of %d frames failed", len(group))
            yield [(job, error) for job in left]

    def _ends(
        self, group: list[_Sent], call: _UnderWay, ran: Ran[Job]
    ) -> Iterator[Sequence[Ending]]:
        """How each of these ends, after as many tries as it takes."""
        until_s = _until_s(group)
        for number in range(1, TRIES + 1):
            try:
                reply = self._reply(call, until_s, len(group))
            except CallLostError as lost:
                self._lost(group, call.replica, lost)
            except IsthmusError as error:
                yield [(each.job, error) for each in group]
                return
            else:
                packed = (each.packed for each in group)
                self._pins.hold(packed, reply.replica, sent_to=call.replica)
                yield self._answered(group, reply, ran)
                return
            yield _bereft(group)
            group, late = _in_time([each for each in group if not each.packed.refers])
            yield late
            if number == TRIES or not group or not _rested(number, until_s):
                break
            call = self._begun("", group)
        why = OverloadedError(
            "the replica was lost that had the frame, and no other could take it; send it again "
            "later",
            retry_after_ms=RETRY_AFTER_MS,
        )
        yield [(each.job, why) for each in group]

    def _answered(self, group: Sequence[_Sent], reply: Reply, ran: Ran[Job]) -> list[Ending]:
        for run in reply.runs:
            if run.part in self._parts:
                jobs = [group[place].job for place in run.places]
                ran(self._parts[run.part], jobs, run.took_ms)
        outcomes = zip(group, reply.outcomes, strict=True)
        return [(each.job, _filled(each.job, outcome)) for each, outcome in outcomes]

    def _lost(self, group: Sequence[_Sent], replica: str, why: CallLostError) -> None:
        self._pins.avoid(replica)
        self._pins.forget((each.packed for each in group), sent_to=replica)
        tail = group[0].job.tail
        lost = CallLost(model=tail.model, version=tail.version, frames=len(group), why=str(why))
        self._note(lost)


def _merged(ways: Sequence[Iterator[Sequence[Ending]]]) -> Iterator[Sequence[Ending]]:
    """What all calls of a batch yield; of several each is waited for by a thread of its own."""
    if len(ways) == 1:
        yield from ways[0]
        return
    ended: SimpleQueue[Sequence[Ending] | None] = SimpleQueue()

    def drain(way: Iterator[Sequence[Ending]]) -> None:
        for ends in way:
            ended.put(ends)
        ended.put(None)

    for way in ways:
        threading.Thread(target=drain, args=(way,), name="replica-call", daemon=True).start()
    for _ in ways:
        while (ends := ended.get()) is not None:
            yield ends


def _bereft(group: Sequence[_Sent]) -> list[Ending]:
    """Differences, whose replica is gone."""
    text = "what this frame refers to was lost with a replica; send it as a key frame"
    return [(each.job, KeyFrameNeededError(text)) for each in group if each.packed.refers]


def _rested(number: int, until_s: float) -> bool:
    """Wait before the next try; False if there is no time for one."""
    rest_s = BACKOFF_S * 2 ** (number - 1)
    if time.monotonic() + rest_s >= until_s:
        return False
    time.sleep(rest_s)
    return True


def _packed(job: Job) -> _Sent:
    """Begin with it; TooLateError, WireError if it is not to be sent any more."""
    job.begun_ns = time.monotonic_ns()
    lateness = job.lateness(job.begun_ns)
    if lateness is not None and not job.is_marked:
        raise lateness
    return _Sent(job, job.turn.packed())


def _grouped(sent: Sequence[_Sent]) -> dict[str, list[_Sent]]:
    """By place, in their order; where none was known yet, along with a frame that has joined."""
    groups: dict[str, list[_Sent]] = {}
    known = next((each.job.place for each in sent if each.job.place), "")
    for each in sent:
        groups.setdefault(each.job.place or known, []).append(each)
    return groups


def _encoded(group: Sequence[_Sent]) -> bytes:
    now_ns = time.monotonic_ns()
    return _ENCODER.encode(
        Call([Asked(each.job.tail.cut.id, each.packed, _left_ms(each, now_ns)) for each in group])
    )


def _left_ms(sent: _Sent, now_ns: int) -> float | None:
    deadline_ns = sent.job.deadline_ns
    return None if deadline_ns == NEVER_NS else max(0.0, (deadline_ns - now_ns) / 1e6)


def _until_s(group: Sequence[_Sent]) -> float:
    """When nobody waits for any of them any more (monotonic)."""
    longest_s = time.monotonic() + LONGEST_S
    return min(longest_s, max(each.job.deadline_ns for each in group) / 1e9)


def _in_time(group: Sequence[_Sent]) -> tuple[list[_Sent], list[Ending]]:
    """Those that somebody waits for still, and what the others end in."""
    now_ns = time.monotonic_ns()
    late = {each: why for each in group if (why := each.job.lateness(now_ns)) is not None}
    return [each for each in group if each not in late], [(s.job, why) for s, why in late.items()]


def _decoded(reply: bytes, count: int) -> Reply:
    try:
        decoded = _DECODER.decode(reply)
    except msgspec.DecodeError as error:
        raise ModelError(f"a replica answers what is no reply: {error}") from error
    if len(decoded.outcomes) != count:
        raise ModelError(f"a replica gives {len(decoded.outcomes)} answers to {count} frames")
    if any(not 0 <= place < count for run in decoded.runs for place in run.places):
        raise ModelError("a replica says that it has run frames which it was not sent")
    return decoded


def _filled(job: Job, outcome: Outcome) -> Exception | None:
    """What a replica has made of a frame, written into it."""
    if outcome.problem is not None:
        return error_of(outcome.problem)
    job.decoded_ns = job.begun_ns + int(outcome.decode_ms * 1e6)
    job.run_ms, job.batch = outcome.run_ms, outcome.batch
    try:
        job.outputs = {name: plain.array() for name, plain in outcome.outputs.items()}
    except WireError as error:
        return ModelError(f"a replica's answer cannot be read: {error}")
    return None
