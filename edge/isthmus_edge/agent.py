"""`Agent`: hand it frames, get answers; where each layer runs is its business.

    with Agent.open(AgentConfig(bundle=Path("lite0.bundle"), cloud="127.0.0.1:50051")) as agent:
        print(agent.infer(picture).top(1))

The agent runs one event loop in a thread of its own, so it serves synchronous and asynchronous
callers alike.
"""

import asyncio
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar

from isthmus import (
    AgentClosedError,
    Bundle,
    Candidate,
    ConfigError,
    LinkError,
    Manifest,
    PeerError,
    QueueFullError,
    max_frame_bytes,
    open_bundle,
    require_formats,
)
from isthmus.session import Identity
from isthmus_edge.answer import Answer, Stats
from isthmus_edge.audit.audits import raw_input_way
from isthmus_edge.config import AgentConfig, Objective
from isthmus_edge.device.device import Device
from isthmus_edge.device.pace import FullPace, Pace
from isthmus_edge.device.runtime import AnyArray
from isthmus_edge.events import Events, OnEvent
from isthmus_edge.inputs import Inputs, checked_inputs
from isthmus_edge.ledger import Ledger
from isthmus_edge.link import Estimator, LinkEstimator
from isthmus_edge.pins import pinned
from isthmus_edge.policy.choice import Decision
from isthmus_edge.policy.vitals import read_vitals
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.pipeline import Pipeline
from isthmus_edge.stream.transport import GrpcTransport, Transport
from isthmus_edge.stream.uplink import State, Uplink

READ_AHEAD = 16
VITALS_S = 5.0

Result = TypeVar("Result")
log = logging.getLogger("isthmus.edge")

__all__ = ["Agent"]


class Agent:
    """One device's agent. Open it with `Agent.open`; use it from any thread."""

    def __init__(
        self,
        bundle: Bundle,
        config: AgentConfig,
        pace: Pace,
        estimator: Estimator,
        events: Events,
    ) -> None:
        self._bundle = bundle
        self._estimator = estimator
        self._events = events
        self._config = config
        self._ledger = Ledger()
        self._tasks: list[asyncio.Task[None]] = []
        self._open_futures: set[asyncio.Future[Answer]] = set()
        self._slots = threading.Semaphore(config.max_queued)
        self._takes_slots = config.when_full != "drop-oldest"
        self._entrance = threading.Lock()  # no frame is accepted once closing has begun
        self._closing = False
        self._device = Device(bundle, config, pace)
        self._pipeline = Pipeline(bundle, config, self._device, self._ledger, events)
        self._pipeline.on_begin = self._give_slot_back
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="isthmus-agent", daemon=True
        )
        self._thread.start()
        self._call(self._start())

    @classmethod
    def open(
        cls,
        config: AgentConfig,
        *,
        pace: Pace | None = None,
        transport: Transport | None = None,
        estimator: Callable[[], Estimator] = LinkEstimator,
        on_event: OnEvent | None = None,
    ) -> "Agent":
        """Load and check the bundle, connect to the cloud, and be ready for frames.

        A cloud that cannot be reached within `connect_timeout_s` is tried again and again while the
        device answers; with `require_cloud` it is a LinkError. Raises BundleError, ModelError;
        PeerError if the service refuses, for instance because it holds other weights; ConfigError
        for an `audit_share` where this bundle allows no audits.

        `on_event` gets a line whenever something happens that people should know of: see
        `Stats.events`. It is called on the agent's own thread.
        """
        bundle = open_bundle(config.bundle, "device")
        require_formats(bundle.manifest.kept)
        if config.candidate is not None:
            pinned(bundle.manifest, config.candidate)
        if config.audit_share:
            raw_input_way(bundle.manifest)
        if transport is None and config.cloud is not None:
            limit = max_frame_bytes(bundle.manifest)
            transport = GrpcTransport(config.cloud, config.tls_ca, limit)
        agent = cls(bundle, config, pace or FullPace(), estimator(), Events(on_event))
        try:
            if transport is not None:
                agent._connect(transport)
        except BaseException:
            agent.close()
            raise
        return agent

    @property
    def manifest(self) -> Manifest:
        """The plan this agent works from."""
        return self._bundle.manifest

    def infer(
        self,
        frame: Inputs,
        deadline_ms: float | None = None,
        candidate: str | None = None,
    ) -> Answer:
        """The answer to one item; waits for it.

        `frame` is the array of the model's input, or a mapping from the names of its inputs to
        their arrays; each [*shape] of its `TensorSpec`, or with a batch dimension of one.
        """
        return self.submit(frame, deadline_ms, candidate).result()

    async def infer_async(
        self,
        frame: Inputs,
        deadline_ms: float | None = None,
        candidate: str | None = None,
    ) -> Answer:
        """Like `infer`, from any event loop."""
        future = await asyncio.to_thread(self.submit, frame, deadline_ms, candidate)
        return await asyncio.wrap_future(future)

    def submit(
        self,
        frame: Inputs,
        deadline_ms: float | None = None,
        candidate: str | None = None,
    ) -> "Future[Answer]":
        """Accept a frame and return.

        While `max_queued` others wait for the device it waits too, or raises QueueFullError, or the
        stalest of them ends with StaleFrameError: see `AgentConfig.when_full`.

        `candidate` pins this frame to one entry of the plan (``ID``) or to one rung of its ladder
        (``ID@RUNG``); otherwise policy and rate control choose. Raises WireError for a wrong shape,
        type or name, ConfigError for an unknown candidate or rung, AgentClosedError after `close`.
        Once accepted, the frame ends in exactly one answer or one error.
        """
        tensors = checked_inputs(frame, self._bundle.manifest.inputs)
        name = candidate or self._config.candidate
        pin = None if name is None else pinned(self._bundle.manifest, name)
        if pin is not None and not pin.is_local and self._pipeline.uplink is None:
            raise ConfigError(
                f"candidate {name!r} needs a cloud; give its address (cloud=…, --cloud)"
            )
        self._take_slot()
        with self._entrance:
            if self._closing:
                self._give_slot_back()
                raise AgentClosedError("the agent is closed; open another one")
            accepted = self._accept(tensors, deadline_ms, pin)
            return asyncio.run_coroutine_threadsafe(accepted, self._loop)

    def stream(self, frames: Iterable[Inputs], ahead: int = READ_AHEAD) -> Iterator[Answer]:
        """Answers to many frames, in order, pipelined: up to `ahead` are under way."""
        source = iter(frames)
        pending = deque(self.submit(frame) for frame in islice(source, ahead))
        while pending:
            yield pending.popleft().result()
            pending.extend(self.submit(frame) for frame in islice(source, 1))

    def decide(self, objective: Objective | None = None) -> Decision:
        """What the policy would choose for a frame right now, with its reason."""
        return self._call(self._decide(objective or self._config.objective))

    def stats(self) -> Stats:
        """The running figures."""
        return self._call(self._stats())

    def close(self, timeout_s: float = 30.0) -> None:
        """Accept nothing more, bring every accepted frame to its end, release everything."""
        if self._loop.is_closed():
            return
        with self._entrance:
            self._closing = True
        self._call(self._shut_down(timeout_s))
        self._give_slot_back()  # who waits in `submit` learns of the end, one after the other
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._device.close()

    def __enter__(self) -> "Agent":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> "Agent":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def _take_slot(self) -> None:
        waits = self._config.when_full == "wait"
        if self._takes_slots and not self._slots.acquire(blocking=waits):
            raise QueueFullError(
                f"{self._config.max_queued} frames wait for the device already; try again later, "
                "allow more (max_queued), or let submit wait (when_full='wait')"
            )

    def _give_slot_back(self) -> None:
        if self._takes_slots:
            self._slots.release()

    def _connect(self, transport: Transport) -> None:
        try:
            self._call(self._first_contact(transport))
        except LinkError as error:
            if self._config.require_cloud:
                raise LinkError(
                    f"cannot reach the cloud at {self._config.cloud}: {error}; start it with "
                    "`isthmus cloud BUNDLE --listen HOST:PORT`, or start without it (leave out "
                    "require_cloud, --require-cloud): the device answers until it appears"
                ) from error
            log.warning("%s: the device answers alone until the cloud is there", error)
        except PeerError as error:
            raise PeerError(error.code, f"the service refused this device: {error}") from error

    async def _first_contact(self, transport: Transport) -> None:
        identity = Identity(uuid.uuid4().hex, self._bundle.fingerprint, self._config.answer_top_k)
        uplink = Uplink(
            transport, identity, self._config.silence_s, self._estimator, self._on_link_state
        )
        self._pipeline.uplink = uplink
        self._pipeline.audits.connect(uplink)
        uplink.on_verdict = self._pipeline.audits.told
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks.append(asyncio.create_task(uplink.run(first)))
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                await first
                await uplink.measured.wait()
        except TimeoutError as error:
            raise LinkError(f"no answer within {self._config.connect_timeout_s:g} s") from error

    def _on_link_state(self, state: State, reason: str) -> None:
        log.log(
            logging.WARNING if state == "refused" else logging.INFO, "link %s: %s", state, reason
        )
        self._pipeline.link_changed()

    async def _start(self) -> None:
        self._tasks.append(asyncio.create_task(self._pipeline.run()))
        if self._config.heed_vitals:
            self._tasks.append(asyncio.create_task(self._watch_vitals()))

    async def _watch_vitals(self) -> None:
        while True:
            self._pipeline.note_vitals(await asyncio.to_thread(read_vitals))
            await asyncio.sleep(VITALS_S)

    async def _accept(
        self, tensors: Mapping[str, AnyArray], deadline_ms: float | None, pin: Candidate | None
    ) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open_futures.add(future)
        future.add_done_callback(self._open_futures.discard)
        self._pipeline.accept(Frame(self._ledger.accept(), tensors, future, deadline_ms, pin))
        return await future

    async def _shut_down(self, timeout_s: float) -> None:
        if self._open_futures:
            await asyncio.wait(self._open_futures, timeout=timeout_s)
        for future in tuple(self._open_futures):
            future.set_exception(AgentClosedError("the agent was closed before this frame's end"))
        await self._pipeline.close()
        if self._pipeline.uplink is not None:
            self._pipeline.uplink.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _decide(self, objective: Objective) -> Decision:
        return self._pipeline.decide(objective)

    async def _stats(self) -> Stats:
        uplink = self._pipeline.uplink
        return Stats(
            accepted=self._ledger.accepted,
            answered_cloud=self._ledger.settled("cloud"),
            answered_device=self._ledger.settled("device"),
            errors=self._ledger.settled("error") + self._ledger.settled("stale"),
            stale=self._ledger.settled("stale"),
            pending=self._ledger.pending,
            duplicates=self._ledger.duplicates + (0 if uplink is None else uplink.duplicates),
            connects=0 if uplink is None else uplink.connects,
            sent_again=self._pipeline.sent_again,
            link_state="none" if uplink is None else uplink.state,
            link=None if uplink is None else uplink.estimate(),
            candidate=self._pipeline.in_use,
            rung=self._pipeline.rung,
            rate_advice=self._pipeline.rate_advice,
            device_scale=self._pipeline.device_scale,
            switches=tuple(self._pipeline.switches),
            audits=self._pipeline.audits.stats(),
            events=self._events.kept,
        )

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigError("an answer's callback runs on the agent's own thread: ask elsewhere")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
