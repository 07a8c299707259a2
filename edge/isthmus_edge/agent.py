"""`Agent`: hand it frames, get answers; where each layer runs is its business.

    with Agent.open(AgentConfig(bundle=Path("lite0.bundle"), cloud="127.0.0.1:50051")) as agent:
        print(agent.infer(picture).top(1))

The agent runs one event loop in a thread of its own, so it serves synchronous and asynchronous
callers alike.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any

from isthmus import (
    AgentClosedError,
    Bundle,
    Candidate,
    ConfigError,
    IsthmusError,
    LinkError,
    Manifest,
    PeerError,
    max_frame_bytes,
    open_bundle,
    require_formats,
)
from isthmus.session import Identity
from isthmus_edge.answer import Answer, Stats
from isthmus_edge.audit.audits import raw_input_way
from isthmus_edge.config import AgentConfig, Objective, finite
from isthmus_edge.device.device import Device
from isthmus_edge.device.pace import FullPace, Pace
from isthmus_edge.device.runtime import AnyArray
from isthmus_edge.entrance import Entrance
from isthmus_edge.events import Events, OnEvent
from isthmus_edge.inputs import Inputs, checked_inputs
from isthmus_edge.ledger import Ledger
from isthmus_edge.link import Estimator, LinkEstimator
from isthmus_edge.own_loop import OwnLoop
from isthmus_edge.pins import pinned
from isthmus_edge.policy.choice import Decision
from isthmus_edge.policy.vitals import Vitals, read_vitals
from isthmus_edge.promises import Promises
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.pipeline import Pipeline
from isthmus_edge.stream.transport import GrpcTransport, Transport
from isthmus_edge.stream.uplink import State, Uplink

READ_AHEAD = 16
VITALS_S = 5.0

log = logging.getLogger("isthmus.edge")

__all__ = ["Agent"]


class Agent:
    """One device's agent. Open it with `Agent.open`; use it from any thread.

    Callbacks (`add_done_callback` of what `submit` returns, `on_event`) run on the agent's own
    thread and hold up every frame while they run. There `submit` never waits: without a place it
    raises QueueFullError. What has to wait for the agent (`infer`, `stream`, `stats`, `decide`,
    `close`) raises ConfigError there.
    """

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
        self._open_futures = Promises(self._ledger)
        self._entrance = Entrance(config.max_queued, config.when_full)
        self._device = Device(bundle, config, pace)
        self._pipeline = Pipeline(bundle, config, self._device, self._ledger, events)
        self._pipeline.on_begin = self._entrance.give_back
        self._own = OwnLoop("isthmus-agent", self._device.close)
        self._heads = self._own.run(self._start())

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
        self._own.must_be_elsewhere()
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
        stalest of them ends with StaleFrameError: see `AgentConfig.when_full`. On the agent's own
        thread, in a callback, it does not wait but raises QueueFullError.

        `deadline_ms` counts from acceptance; a frame that is late already is answered all the same.
        `candidate` pins this frame to one entry of the plan (``ID``) or to one rung of its ladder
        (``ID@RUNG``); otherwise policy and rate control choose. Raises WireError for a wrong shape,
        type or name, ConfigError for an unknown candidate or rung and for a deadline that is no
        finite number, AgentClosedError after `close`.
        Once accepted, the frame ends in exactly one answer or one error.
        """
        tensors = checked_inputs(frame, self._bundle.manifest.inputs)
        left_ms = None if deadline_ms is None else finite("deadline_ms", deadline_ms)
        pin = self._pin(candidate or self._config.candidate)
        answer: Future[Answer] = Future()
        accept = partial(self._accept, answer, tensors, left_ms, pin)
        self._entrance.enter(partial(self._own.post, accept), may_wait=not self._own.is_here)
        return answer

    def stream(self, frames: Iterable[Inputs], ahead: int = READ_AHEAD) -> Iterator[Answer]:
        """Answers to many frames, in order, pipelined: up to `ahead` are under way.

        Where `submit` does not wait (`AgentConfig.when_full`) no more than `max_queued` are, so
        that a stream alone neither is refused a frame nor makes one stale; beside other callers
        both can be. Then, as for any frame that ends in an error, the error comes in the frame's
        turn and ends the stream; frames behind it that were accepted end unheard. Raises
        ConfigError unless `ahead` is at least 1.
        """
        if ahead < 1:
            raise ConfigError(f"ahead must be at least 1 frame, got {ahead}")
        if self._config.when_full != "wait":
            ahead = min(ahead, self._config.max_queued)
        return self._answers(iter(frames), ahead)

    def decide(self, objective: Objective | None = None) -> Decision:
        """What the policy would choose for a frame right now; AgentClosedError after `close`."""
        if self._entrance.is_closed:
            raise AgentClosedError("the agent is closed and decides nothing; open another one")
        chosen = objective or self._config.objective
        return self._own.ask(lambda: self._pipeline.decide(chosen))

    def stats(self) -> Stats:
        """The running figures; after `close` the last ones."""
        return self._own.ask(self._stats)

    def close(self, timeout_s: float = 30.0) -> None:
        """Accept nothing more, bring every accepted frame to its end, release everything.

        Frames that have not ended within `timeout_s` end with AgentClosedError. Call it as often
        and from as many threads as you like: each call returns when the agent is closed, and the
        first one's `timeout_s` counts.
        """
        self._own.must_be_elsewhere()
        self._entrance.close()
        self._own.end(partial(self._shut_down, timeout_s))

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

    def _pin(self, name: str | None) -> Candidate | None:
        pin = None if name is None else pinned(self._bundle.manifest, name)
        if pin is not None and not pin.is_local and self._pipeline.uplink is None:
            raise ConfigError(
                f"candidate {name!r} needs a cloud; give its address (cloud=…, --cloud)"
            )
        return pin

    def _answers(self, source: Iterator[Inputs], ahead: int) -> Iterator[Answer]:
        self._own.must_be_elsewhere()
        pending = deque(map(self._in_its_turn, islice(source, ahead)))
        while pending:
            yield pending.popleft().result()
            pending.extend(map(self._in_its_turn, islice(source, 1)))

    def _in_its_turn(self, frame: Inputs) -> "Future[Answer]":
        """As `submit`; what it raises comes behind the answers to the frames before."""
        try:
            return self.submit(frame)
        except IsthmusError as error:
            refused: Future[Answer] = Future()
            refused.set_exception(error)
            return refused

    def _connect(self, transport: Transport) -> None:
        try:
            self._own.run(self._first_contact(transport))
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
        self._background(
            uplink.run(first), "the link to the cloud is not tended any more: frames end here"
        )
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

    async def _start(self) -> asyncio.Task[None]:
        if self._config.heed_vitals:
            self._background(
                self._watch_vitals(), "load, heat and battery of the device are not heeded any more"
            )
        return self._background(
            self._pipeline.run(), "no frame is begun any more: close the agent, open another one"
        )

    def _background(self, work: Coroutine[Any, Any, None], loss: str) -> asyncio.Task[None]:
        """Have something done until the agent is closed; `loss` is what it means if it ends."""
        task = asyncio.create_task(work)
        task.add_done_callback(partial(_tell_loss, loss))
        self._tasks.append(task)
        return task

    async def _watch_vitals(self) -> None:
        """A device that cannot be read tells nothing: psutil raises what its files lead it to."""
        level = logging.WARNING  # once
        while True:
            try:
                vitals = await asyncio.to_thread(read_vitals)
            except Exception:
                log.log(level, "load, heat and battery cannot be read", exc_info=True)
                vitals, level = Vitals(), logging.DEBUG
            self._pipeline.note_vitals(vitals)
            await asyncio.sleep(VITALS_S)

    def _accept(
        self,
        answer: "Future[Answer]",
        tensors: Mapping[str, AnyArray],
        deadline_ms: float | None,
        pin: Candidate | None,
    ) -> None:
        sequence, end = self._open_futures.make(answer)
        self._pipeline.accept(Frame(sequence, tensors, end, deadline_ms, pin))

    async def _shut_down(self, timeout_s: float) -> None:
        await self._open_futures.kept(timeout_s)
        await _cancelled(self._heads)  # nothing more begins
        self._open_futures.give_up()
        try:
            await self._pipeline.close()
        finally:
            if self._pipeline.uplink is not None:
                self._pipeline.uplink.close()
            await _cancelled(*self._tasks)

    def _stats(self) -> Stats:
        uplink = self._pipeline.uplink
        return Stats(
            accepted=self._ledger.accepted,
            answered_cloud=self._ledger.settled("cloud"),
            answered_device=self._ledger.settled("device"),
            errors=self._ledger.settled("error") + self._ledger.settled("stale"),
            stale=self._ledger.settled("stale"),
            pending=self._ledger.pending,
            duplicates=0 if uplink is None else uplink.duplicates,
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
            ended_twice=self._ledger.ended_twice,
        )


def _tell_loss(loss: str, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("%s", loss, exc_info=error)


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
