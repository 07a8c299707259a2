"""The simulated devices of this bench, in a process of their own.

    python -m isthmus_bench.scale.load

takes orders on stdin, one JSON line each, and answers each in one line.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from math import inf

import msgspec

from isthmus import IsthmusError
from isthmus.session import Answered, DeviceEvent, Identity
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.serve.cameras import Camera
from isthmus_bench.serve.load import PATIENCE_S
from isthmus_bench.serve.open_files import allow_open_files
from isthmus_bench.serve.recorded import Item, load_case
from isthmus_bench.serve.split_talker import SplitTalker
from isthmus_bench.serve.talkers import Listener
from isthmus_bench.serve.tally import ANSWER, Tally

_LEAD_S = 0.05  # from now to the first frame

__all__ = ["bear", "main", "phases_s", "rate_per_s"]


def main() -> None:
    """Obey until stdin ends."""
    allow_open_files()
    asyncio.run(_obey_all())


def phases_s(devices: int, fps: float, seed: int) -> list[float]:
    """When each of the devices sends its first frame, in s from the beginning of an open load."""
    chance = random.Random(seed)  # noqa: S311 - phases, no secrets
    return [chance.random() / fps for _ in range(devices)]


def rate_per_s(ends: Sequence[float]) -> float:
    """Of answers at these times, rising. They come batch by batch: what a clock counts between two
    moments is off by a batch, so it is counted from the end of the first one to that of the last.
    """
    if len(ends) < 2 or ends[-1] == ends[0]:
        return 0.0
    usual_s = (ends[-1] - ends[0]) / (len(ends) - 1)
    first = next(at for at, (one, two) in enumerate(pairwise(ends)) if two - one >= usual_s / 2)
    behind = len(ends) - 1 - first
    return behind / (ends[-1] - ends[first])


async def bear(order: ScaleOrder, told: asyncio.Event | None = None) -> ScaleLoad:
    """Put the load of an order on the front ends; LinkError if devices cannot connect. Where the
    order says so it ends when it is `told`."""
    tally, talkers = _Ends(), list[_Counting]()
    items = [_with_deadline(each, order.deadline_ms) for each in load_case(order.case).items]

    def talker(index: int, listener: Listener) -> "_Counting":
        address = order.addresses[index % len(order.addresses)]
        identity = Identity(uuid.uuid4().hex, order.fingerprint)
        window = sys.maxsize if order.fps else order.window
        talkers.append(_Counting(address, identity, window, listener))
        talkers[-1].deadline_s = order.deadline_ms / 1e3 or inf
        return talkers[-1]

    cameras = [
        Camera(partial(talker, index), items, first=index, tally=tally)
        for index in range(order.devices)
    ]
    try:
        await asyncio.gather(*(camera.talker.open() for camera in cameras))
        cpu_s = time.process_time()
        await _filmed(order, cameras, tally, told)
        cpu_s = time.process_time() - cpu_s
    finally:
        await asyncio.gather(*(camera.talker.close() for camera in cameras))
    unsent = sum(camera.unsent for camera in cameras) - tally.after_stop
    load = tally.load(unsent, None, cpu_s)
    return ScaleLoad(
        load=load,
        rate_per_s=rate_per_s(tally.answered_at),
        doubled=sum(each.duplicates for each in talkers),
        late=sum(each.late for each in talkers),
        gap_ms=tally.gap_s * 1e3,
        due=tally.counted,
        latencies_ms=tally.took_ms,
    )


async def _filmed(
    order: ScaleOrder, cameras: Sequence[Camera], tally: "_Ends", told: asyncio.Event | None
) -> None:
    """Until the load is over and its last frame has ended, or patience has."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + _LEAD_S
    until = inf if order.until_told else begin + order.seconds
    tally.set_times(begin + order.warm_s, until)
    _start(order, cameras, begin)
    if order.until_told and told is not None:
        await told.wait()
        tally.set_times(begin + order.warm_s, loop.time())
    else:
        await asyncio.sleep(max(0.0, until - loop.time()))
    deadline = loop.time() + PATIENCE_S
    while any(camera.under_way for camera in cameras):
        try:
            await asyncio.wait_for(tally.changed(), deadline - loop.time())
        except TimeoutError:
            return


def _start(order: ScaleOrder, cameras: Sequence[Camera], begin: float) -> None:
    if not order.fps:
        for camera in cameras:
            camera.keep_full(order.window)
        return
    phases = phases_s(order.devices, order.fps, order.seed)
    for camera, phase in zip(cameras, phases, strict=True):
        camera.film(begin + phase, 1 / order.fps)


def _with_deadline(item: Item, deadline_ms: int) -> Item:
    frame = pb.Frame.FromString(item.frame)
    frame.deadline_ms = deadline_ms
    return Item(frame.SerializeToString(), item.raw, item.answer)


class _Counting(SplitTalker):
    """Says how many answers came twice, and how many later than `deadline_s` after their frame was
    sent: a device that waits with a frame until there is room has no answer to expect yet."""

    deadline_s = inf
    late = 0

    @property
    def duplicates(self) -> int:
        """Answers to frames that were answered before."""
        return self._session.duplicates

    def send(self, number: int, item: Item) -> None:
        """See `Talker`."""
        self._sent_s[number] = self._loop.time()
        super().send(number, item)

    @cached_property
    def _sent_s(self) -> dict[int, float]:
        return {}

    def _heed(self, events: Iterable[DeviceEvent]) -> None:
        heard = list(events)
        for event in heard:
            if isinstance(event, Answered):
                took_s = self._loop.time() - self._sent_s.pop(event.sequence)
                self.late += took_s > self.deadline_s
        super()._heed(heard)


class _Ends(Tally):
    """Remembers when each frame ended, too: of the `counted` ones `took_ms`, of answers in the time
    that counts `answered_at`, and the longest time without an end. `after_stop` frames were due
    when nobody sent any more, as cameras have a last one that are stopped without notice."""

    def __init__(self) -> None:
        super().__init__()
        self.after_stop = self.counted = 0
        self.took_ms: list[float] = []
        self.answered_at: list[float] = []
        self._gap_s = 0.0
        self._counts_from = inf
        self._last: float | None = None

    def set_times(self, counts_from: float, stop: float) -> None:
        """See `Tally`."""
        super().set_times(counts_from, stop)
        self._counts_from = counts_from

    def due(self, at: float) -> None:
        """See `Tally`."""
        if at < self.stop:
            super().due(at)
            self.counted += at >= self._counts_from
        else:
            self.after_stop += 1

    def ended(self, due_at: float, now: float, kind: str, is_right: bool = True) -> None:
        """See `Tally`."""
        super().ended(due_at, now, kind, is_right)
        if self._last is not None and now < self.stop:
            self._gap_s = max(self._gap_s, now - self._last)
        self._last = now
        if kind == ANSWER and due_at >= self._counts_from:
            self.took_ms.append((now - due_at) * 1e3)
        if kind == ANSWER and self._counts_from <= now < self.stop:
            self.answered_at.append(now)

    @property
    def gap_s(self) -> float:
        """The longest time between two ends, or from the last one until nothing was sent."""
        return max(self._gap_s, 0.0 if self._last is None else self.stop - self._last)


async def _obey_all() -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    under_way: asyncio.Task[None] | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = msgspec.json.decode(line, type=ScaleOrder)
        if order.do == "end":
            told.set()
            if under_way is not None:
                await under_way
        elif order.until_told:
            told.clear()
            under_way = asyncio.create_task(_obey(order, told))
            _say({"begun": True})
        else:
            await _obey(order, told)


async def _obey(order: ScaleOrder, told: asyncio.Event) -> None:
    try:
        _say(await bear(order, told))
    except IsthmusError as error:
        _say({"event": "error", "message": str(error)})


def _say(reply: object) -> None:
    sys.stdout.write(msgspec.json.encode(reply).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
