"""What runs on a replica: an actor of Ray Serve around a `Runner`, or around several of them.

Calls are begun in the order in which they come and run on threads of their own, so that one is
decoded while another computes. Arguments and results are bytes.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from weakref import WeakValueDictionary

import msgspec
from ray import serve

from isthmus import IsthmusError
from isthmus_cloud.garbage import settle
from isthmus_cloud.replicas.calls import Call
from isthmus_cloud.replicas.runner import Begun, Runner
from isthmus_cloud.replicas.settings import CALLS
from isthmus_cloud.replicas.spec import Spec, spec_id

OVERTAKEN_S = 0.1  # what a call that was overtaken may come later than the other

__all__ = ["SharedReplica", "TailReplica", "shared_replica"]

_logger = logging.getLogger(__name__)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Call)


class TailReplica:
    """Holds one spec, from its first moment."""

    def __init__(self, spec: bytes) -> None:
        held = msgspec.json.decode(spec, type=Spec)
        self._hang_s = held.hang_s
        self._runner = _loaded(held)
        self._answering = _Answering()
        settle()

    async def describe(self, spec: bytes) -> bytes:
        """An encoded `Description`; `spec` is for replicas that hold several."""
        return _ENCODER.encode(self._runner.describe())

    async def answer(self, spec: bytes, call: bytes) -> bytes:
        """An encoded `Reply` to an encoded `Call`."""
        return await self._answering.answer(self._runner, call)

    def check_health(self) -> None:
        """Serve asks from time to time, and replaces a replica that fails here."""
        _check(self._runner, self._hang_s)


class SharedReplica:
    """Holds whatever it is asked for; how many specs at a time is said by `shared_replica`."""

    def __init__(self) -> None:
        self._specs: dict[str, Spec] = {}
        self._runners: WeakValueDictionary[str, Runner] = WeakValueDictionary()
        self._answering = _Answering()

    async def describe(self, spec: bytes) -> bytes:
        """See `TailReplica.describe`, of an encoded `Spec`."""
        runner = await self._runner_of(spec)
        return _ENCODER.encode(runner.describe())

    async def answer(self, spec: bytes, call: bytes) -> bytes:
        """See `TailReplica.answer`."""
        return await self._answering.answer(await self._runner_of(spec), call)

    async def held(self, identity: str) -> Runner:
        """That of the spec which `spec_id` names so; loaded if it is not here. Overridden."""
        raise NotImplementedError

    async def load(self, identity: str) -> Runner:
        """Ready; it is closed when the last call has let go of it."""
        runner = await asyncio.to_thread(_loaded, self._specs[identity])
        self._runners[identity] = runner
        return runner

    def check_health(self) -> None:
        """See `TailReplica.check_health`."""
        for identity, runner in tuple(self._runners.items()):
            _check(runner, self._specs[identity].hang_s)

    async def _runner_of(self, spec: bytes) -> Runner:
        wanted = msgspec.json.decode(spec, type=Spec)
        identity = spec_id(wanted)
        self._specs[identity] = wanted
        return await self.held(identity)


def shared_replica(models: int) -> type[SharedReplica]:
    """A class of replicas that hold so many specs at a time: those that were asked for last. It is
    pickled by value, and so has nothing in it."""

    class Shared(SharedReplica):
        @serve.multiplexed(max_num_models_per_replica=models)  # type: ignore[untyped-decorator]
        async def held(self, identity: str) -> Runner:
            return await self.load(identity)

    return Shared


class _Answering:
    """The threads that run calls."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="tail")
        self._came = asyncio.Condition()  # a call was begun
        self._name = serve.get_replica_context().replica_id.unique_id

    async def answer(self, runner: Runner, call: bytes) -> bytes:
        begun = await self._begun(runner, _DECODER.decode(call))
        loop = asyncio.get_running_loop()
        try:
            reply = await loop.run_in_executor(self._threads, runner.run, begun, self._name)
        finally:
            runner.end(begun)
        return _ENCODER.encode(reply)

    async def _begun(self, runner: Runner, call: Call) -> Begun:
        """Once what its frames refer to has come, for which it waits a little."""
        async with self._came:
            with suppress(TimeoutError):
                async with asyncio.timeout(OVERTAKEN_S):
                    await self._came.wait_for(lambda: not runner.lacks(call))
            begun = runner.begin(call)
            self._came.notify_all()
        return begun


def _loaded(spec: Spec) -> Runner:
    """IsthmusErrors say enough; Ray shows them with a traceback, which the front end leaves out."""
    try:
        return Runner(spec, _logger.info)
    except IsthmusError:
        _logger.exception("%s cannot be served", spec.path)
        raise


def _check(runner: Runner, hang_s: float) -> None:
    if runner.longest_s() > hang_s:
        raise RuntimeError(f"a batch has been running for more than {hang_s:g} s: the engine hangs")
