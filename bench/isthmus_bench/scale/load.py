"""The simulated devices of this bench, in a process of their own.

    python -m isthmus_bench.scale.load

takes orders on stdin, one JSON line each, and answers each in one line.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Sequence
from functools import partial
from math import inf

import msgspec

from isthmus import IsthmusError
from isthmus.session import Identity
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.serve.cameras import Camera
from isthmus_bench.serve.load import PATIENCE_S
from isthmus_bench.serve.open_files import allow_open_files
from isthmus_bench.serve.orders import Load
from isthmus_bench.serve.recorded import Item, load_case
from isthmus_bench.serve.split_talker import SplitTalker
from isthmus_bench.serve.talkers import Listener
from isthmus_bench.serve.tally import ANSWER, Tally

_LEAD_S = 0.05  # from now to the first frame

__all__ = ["bear", "main", "phases_s"]


def main() -> None:
    """Obey until stdin ends."""
    allow_open_files()
    asyncio.run(_obey_all())


def phases_s(devices: int, fps: float, seed: int) -> list[float]:
    """When each of the devices sends its first frame, in s from the beginning of an open load."""
    chance = random.Random(seed)  # noqa: S311 - phases, no secrets
    return [chance.random() / fps for _ in range(devices)]


async def bear(order: ScaleOrder, told: asyncio.Event | None = None) -> ScaleLoad:
    """Put the load of an order on the front ends; LinkError if devices cannot connect. `told`: it
    ends then, where the order says so."""
    tally, talkers = _Ends(order.deadline_ms), list[_Counting]()
    items = [_with_deadline(each, order.deadline_ms) for each in load_case(order.case).items]

    def talker(index: int, listener: Listener) -> "_Counting":
        address = order.addresses[index % len(order.addresses)]
        identity = Identity(uuid.uuid4().hex, order.fingerprint)
        window = sys.maxsize if order.fps else order.window
        talkers.append(_Counting(address, identity, window, listener))
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
    load = tally.load(sum(camera.unsent for camera in cameras), None, cpu_s)
    return tally.scale_load(load, sum(each.duplicates for each in talkers))


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
    """Says how many answers came twice."""

    @property
    def duplicates(self) -> int:
        """Answers to frames that were answered before."""
        return self._session.duplicates


class _Ends(Tally):
    """Remembers when each frame ended, too."""

    def __init__(self, deadline_ms: int) -> None:
        super().__init__()
        self._deadline_s = deadline_ms / 1e3 or inf
        self._counts_from = inf
        self._last: float | None = None
        self._gap_s = 0.0
        self._late = 0
        self._took_ms: list[float] = []

    def set_times(self, counts_from: float, stop: float) -> None:
        """See `Tally`."""
        super().set_times(counts_from, stop)
        self._counts_from = counts_from

    def ended(self, due_at: float, now: float, kind: str, is_right: bool = True) -> None:
        """See `Tally`."""
        super().ended(due_at, now, kind, is_right)
        if self._last is not None and now < self.stop:
            self._gap_s = max(self._gap_s, now - self._last)
        self._last = now
        if kind == ANSWER:
            self._late += now - due_at > self._deadline_s
            if due_at >= self._counts_from:
                self._took_ms.append((now - due_at) * 1e3)

    def scale_load(self, load: Load, doubled: int) -> ScaleLoad:
        """Everything."""
        return ScaleLoad(
            load=load,
            doubled=doubled,
            late=self._late,
            gap_ms=self._gap_s * 1e3,
            latencies_ms=self._took_ms,
        )


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
