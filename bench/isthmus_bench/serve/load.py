"""The load generator: simulated devices in a process of their own.

    python -m isthmus_bench.serve.load

takes orders on stdin, one JSON line each, and answers each in one line.
"""

import asyncio
import random
import sys
import time
import uuid
from functools import partial

import msgspec

from isthmus import IsthmusError, SessionError
from isthmus.session import Identity
from isthmus_bench.serve.cameras import Camera
from isthmus_bench.serve.idling import Idlers
from isthmus_bench.serve.open_files import allow_open_files
from isthmus_bench.serve.orders import Load, Order
from isthmus_bench.serve.recorded import Case, load_case
from isthmus_bench.serve.server_cpu import ServerCpu
from isthmus_bench.serve.split_talker import SplitTalker
from isthmus_bench.serve.talkers import BareTalker, Listener, OipTalker, Talker
from isthmus_bench.serve.tally import Tally

PATIENCE_S = 20.0  # for the last answers; what has not ended by then is lost
_LEAD_S = 0.05  # from now to the first frame

__all__ = ["bear", "main"]


def main() -> None:
    """Obey until stdin ends."""
    allow_open_files()
    asyncio.run(_obey_all())


async def bear(order: Order) -> Load:
    """Put the load of an order on the server; LinkError if devices cannot connect."""
    cases = [load_case(path) for path in order.cases]
    loop = asyncio.get_running_loop()
    tally = Tally()
    cameras = [
        Camera(partial(_talker, order, case), case.items, first=index, tally=tally)
        for index in range(order.devices)
        for case in (cases[index % len(cases)],)
    ]
    try:
        await asyncio.gather(*(camera.talker.open() for camera in cameras))
        server, begin_s = ServerCpu(order.pid), time.process_time()
        begin = loop.time() + _LEAD_S
        tally.set_times(begin + order.warm_s, begin + order.seconds)
        _start(order, cameras, begin)
        await _all_ended(cameras, tally)
        server_s, client_s = server.seconds(), time.process_time() - begin_s
    finally:
        await asyncio.gather(*(camera.talker.close() for camera in cameras))
    return tally.load(sum(camera.unsent for camera in cameras), server_s, client_s)


def _start(order: Order, cameras: list[Camera], begin: float) -> None:
    phases = random.Random(order.seed)  # noqa: S311 - phases, no secrets
    for camera in cameras:
        if order.fps:
            period_s = 1 / order.fps
            camera.film(begin + phases.random() * period_s, period_s)
        else:
            camera.keep_full(order.window)


async def _all_ended(cameras: list[Camera], tally: Tally) -> None:
    """Until the load is over and its last frame has ended, or patience has."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, tally.stop - loop.time()))
    deadline = loop.time() + PATIENCE_S
    while any(camera.under_way for camera in cameras):
        try:
            await asyncio.wait_for(tally.changed(), deadline - loop.time())
        except TimeoutError:
            return


def _talker(order: Order, case: Case, listener: Listener) -> Talker:
    window = sys.maxsize if order.fps else order.window
    match order.protocol:
        case "split":
            return _split(order, window, listener)
        case "bare":
            return BareTalker(order.address, window, listener)
        case "oip":
            return OipTalker(order.address, order.model, case, window, listener)


def _idle(order: Order, _: int, listener: Listener) -> SplitTalker:
    return _split(order, 1, listener)


def _split(order: Order, window: int, listener: Listener) -> SplitTalker:
    identity = Identity(uuid.uuid4().hex, order.fingerprint)
    return SplitTalker(order.address, identity, window, listener)


async def _obey_all() -> None:
    loop = asyncio.get_running_loop()
    idlers: Idlers | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = msgspec.json.decode(line, type=Order)
        try:
            match order.do:
                case "load":
                    _say(msgspec.to_builtins(await bear(order)))
                case "idle":
                    idlers = Idlers(partial(_idle, order), order.devices)
                    await idlers.open()
                    _say({"connected": idlers.connected})
                case "echo" if idlers is not None:
                    await idlers.hear()
                    _say({"connected": idlers.connected})
                case "part" if idlers is not None:
                    _say({"connected": idlers.connected})
                    await idlers.close()
                case _:
                    raise SessionError(f"{order.do}: there are no idle devices")
        except IsthmusError as error:
            _say({"event": "error", "message": str(error)})


def _say(fields: dict[str, object]) -> None:
    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
