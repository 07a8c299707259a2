"""`Agent`: hand it frames, get answers; where each layer runs is its business.

    with Agent("lite0.bundle", cloud="127.0.0.1:50051") as agent:
        print(agent.infer("cat.jpg").top(1))

The agent runs one event loop in a thread of its own, so it serves synchronous and asynchronous
callers alike.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isthmus import (
    AgentClosedError,
    Candidate,
    ConfigError,
    Manifest,
    max_frame_bytes,
    open_bundle,
    require_formats,
)
from isthmus_edge.answer import Answer, Stats
from isthmus_edge.audit.audits import raw_input_way
from isthmus_edge.background import Background, ended
from isthmus_edge.config import AgentConfig, Objective, finite
from isthmus_edge.contact import KEPT, LinkNews, uplink_of, ways_of
from isthmus_edge.device.device import Device
from isthmus_edge.device.pace import FullPace, Pace
from isthmus_edge.entrance import Entrance
from isthmus_edge.events import Events, OnEvent
from isthmus_edge.figures import figures
from isthmus_edge.inputs import Inputs, are_costly, checked_inputs
from isthmus_edge.ledger import Ledger
from isthmus_edge.link import Estimator, LinkEstimator
from isthmus_edge.opening import opened_elsewhere
from isthmus_edge.own_loop import OwnLoop
from isthmus_edge.pins import pinned
from isthmus_edge.policy.choice import Decision
from isthmus_edge.policy.vitals import read_vitals
from isthmus_edge.promises import Promises
from isthmus_edge.runtimes import AnyArray
from isthmus_edge.settings import config_of
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.pipeline import Pipeline
from isthmus_edge.stream.transport import Transport
from isthmus_edge.stream.ways import Ways
from isthmus_edge.streaming import Answers, Door, Frames

READ_AHEAD = 16

log = logging.getLogger("isthmus.edge")

__all__ = ["Agent"]


class Agent:
    """One device's agent. Use it from any thread, and as a context manager of either kind.

    Callbacks (`add_done_callback` of what `submit` returns, `on_event`) run on the agent's own
    thread and hold up every frame while they run; one that raises is logged and hurts nobody. There
    `submit` never waits: without a place it raises QueueFullError. What has to wait for the agent
    (`infer`, `stream`, `stats`, `decide`, `close`) raises ConfigError there.
    """

    def __init__(
        self,
        bundle: Path | str,
        cloud: str | Sequence[str] | Transport | None = None,
        *,
        on_event: OnEvent | None = None,
        **settings: Any,
    ) -> None:
        """Load and check the bundle, connect to the cloud, and be ready for frames.

        `cloud` is ``HOST:PORT`` or ``dns:NAME:PORT``, or a list of them; or a transport such as a
        `isthmus_edge.testing.FakeCloud`; None answers every frame on the device. `settings` are
        those of `AgentConfig`.

        A cloud that cannot be reached within `connect_timeout_s` is tried again and again while the
        device answers, and so is one that refuses this device, for instance because it holds other
        weights; with `require_cloud` that is a LinkError or a PeerError. Raises BundleError,
        ModelError; ConfigError for a setting that there is not or that cannot be used, and for an
        `audit_share` where this bundle allows no audits.

        `on_event` gets a line whenever something happens that people should know of: see
        `Stats.events`. It is called on the agent's own thread.
        """
        address: str | Sequence[str] | None
        if cloud is None or isinstance(cloud, str | list | tuple):
            address, transport = cloud, None
        elif not isinstance(cloud, Sequence) and callable(getattr(cloud, "connect", None)):
            address, transport = getattr(cloud, "address", None), cloud
        else:
            raise ConfigError(f"cloud = {cloud!r}: give HOST:PORT, or None to answer here alone")
        self._on_offer: Callable[[], str] = lambda: KEPT
        config = config_of(bundle, address, settings)
        self._open(config, FullPace(), transport, LinkEstimator(), Events(on_event))

    @classmethod
    async def open_async(
        cls,
        bundle: Path | str,
        cloud: str | Sequence[str] | Transport | None = None,
        *,
        on_event: OnEvent | None = None,
        **settings: Any,
    ) -> Self:
        """Like the constructor, from any event loop, which goes on meanwhile.

        Who is cancelled while he waits gets no agent: it is closed once it is open.
        """
        make = partial(cls, bundle, cloud, on_event=on_event, **settings)
        return await opened_elsewhere(make, cls.close)

    @classmethod
    def open(
        cls,
        config: AgentConfig,
        *,
        pace: Pace | None = None,
        transport: Transport | None = None,
        estimator: Callable[[], Estimator] = LinkEstimator,
        on_event: OnEvent | None = None,
        on_offer: Callable[[], str] = lambda: KEPT,
    ) -> Self:
        """The same for who has a config, or brings parts of his own.

        `on_offer` says in an event what follows when the cloud offers another version.
        """
        agent = cls.__new__(cls)
        agent._on_offer = on_offer
        agent._open(config, pace or FullPace(), transport, estimator(), Events(on_event))
        return agent

    def _open(
        self,
        config: AgentConfig,
        pace: Pace,
        transport: Transport | None,
        estimator: Estimator,
        events: Events,
    ) -> None:
        bundle = open_bundle(config.bundle, "device")
        require_formats(bundle.manifest.kept)
        if config.audit_share:
            raw_input_way(bundle.manifest)
        ways = ways_of(config, max_frame_bytes(bundle.manifest), transport)
        self._config = config
        self._estimator = estimator
        self._events = events
        self._ledger = Ledger()
        self._open_futures = Promises(self._ledger)
        self._entrance = Entrance(config.max_queued, config.when_full)
        self._background = Background()
        self._device = Device(bundle, config, pace, events.add)
        self._bundle = replace(bundle, manifest=self._device.manifest)  # what this device can do
        self._pipeline = Pipeline(self._bundle, config, self._device, self._ledger, events)
        self._pipeline.on_begin = self._entrance.give_back
        self._own = OwnLoop("isthmus-agent", self._device.close)
        self._heads = self._own.run(self._start())
        self._pinned: Candidate | None = None
        try:
            if config.candidate is not None:
                self._pinned = pinned(self.manifest, config.candidate, self._device.refused)
            if ways is not None:
                self._own.run(self._connect(ways))
        except BaseException:
            self.close()
            raise

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
        their arrays; each [*shape] of its `TensorSpec`, or with a batch dimension of one. For an
        input that is uint8 [H,W,3], also the path of a picture (JPEG, PNG, WebP, BMP), the content
        of one, or pixels of another size: the centre is resized as `isthmus.load_picture` does.
        """
        self._own.must_be_elsewhere()
        return self.submit(frame, deadline_ms, candidate).result()

    async def infer_async(
        self,
        frame: Inputs,
        deadline_ms: float | None = None,
        candidate: str | None = None,
    ) -> Answer:
        """Like `infer`, from any event loop, which goes on meanwhile.

        Who is cancelled while he waits takes the frame back, as by cancelling what `submit` gives.
        """
        future = await self._submit_async(frame, deadline_ms, candidate)
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
        type or name, PictureError for a picture that cannot be read, ConfigError for an unknown
        candidate or rung and for a deadline that is no finite number, AgentClosedError after
        `close`. Once accepted, the frame ends in exactly one answer or one error. Cancelling the
        future takes it back: it is not begun any more, and counts among the errors as `cancelled`;
        what the device has begun goes on to its end, unheard.
        """
        tensors = checked_inputs(frame, self.manifest.inputs)
        answer, hand_over = self._ready(tensors, deadline_ms, candidate)
        self._entrance.enter(hand_over, may_wait=not self._own.is_here)
        return answer

    def stream(
        self,
        frames: Frames,
        ahead: int = READ_AHEAD,
        deadline_ms: float | None = None,
        candidate: str | None = None,
    ) -> Answers:
        """Answers to many frames, in order, pipelined: up to `ahead` are under way.

        Read them with `for`, or with `async for`; then `frames` may be an asynchronous iterable
        too. One that may block is asked on a thread of its own, so that no answer waits for the
        next frame. None is asked for while `ahead` answers are not read yet. Leaving the loop takes
        back what is not begun.

        Where `submit` does not wait (`AgentConfig.when_full`) no more than `max_queued` are under
        way, so that a stream alone neither is refused a frame nor makes one stale; beside other
        callers both can be. Then, as for any frame that ends in an error, the error comes in the
        frame's turn and ends the stream. Raises ConfigError unless `ahead` is at least 1.
        """
        if ahead < 1:
            raise ConfigError(f"ahead must be at least 1 frame, got {ahead}")
        if self._config.when_full != "wait":
            ahead = min(ahead, self._config.max_queued)

        def enter(frame: Inputs) -> "Future[Answer]":
            return self.submit(frame, deadline_ms, candidate)

        async def enter_async(frame: Inputs) -> "Future[Answer]":
            return await self._submit_async(frame, deadline_ms, candidate)

        return Answers(Door(self._own.must_be_elsewhere, enter, enter_async), frames, ahead)

    def decide(self, objective: Objective | None = None) -> Decision:
        """What the policy would choose for a frame right now; AgentClosedError after `close`."""
        if self._entrance.is_closed:
            raise AgentClosedError("the agent is closed and decides nothing; open another one")
        chosen = objective or self._config.objective
        return self._own.ask(lambda: self._pipeline.decide(chosen))

    def stats(self) -> Stats:
        """The running figures; after `close` the last ones."""
        kept = self._ledger, self._pipeline, self._events, self._pinned
        return self._own.ask(partial(figures, *kept))

    def close(self, timeout_s: float = 30.0) -> None:
        """Accept nothing more, bring every accepted frame to its end, release everything.

        Frames that have not ended within `timeout_s` end with AgentClosedError. Call it as often
        and from as many threads as you like: each call returns when the agent is closed, and the
        `timeout_s` that is over first counts: ``close(0)`` hastens one that waits.
        """
        self._own.must_be_elsewhere()
        if self._own.is_a_copy:  # the lock of the entrance may be some thread's that is not there
            return
        self._entrance.close()
        with suppress(AgentClosedError):
            self._own.post(partial(self._open_futures.wait_at_most, timeout_s))
        self._own.end(self._shut_down)

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
        pin = None if name is None else pinned(self.manifest, name, self._device.refused)
        if pin is not None and not pin.is_local and self._pipeline.uplink is None:
            raise ConfigError(
                f"candidate {name!r} needs a cloud; give its address (cloud=…, --cloud)"
            )
        return pin

    async def _submit_async(
        self, frame: Inputs, deadline_ms: float | None, candidate: str | None
    ) -> "Future[Answer]":
        specs = self.manifest.inputs
        if are_costly(frame, specs):
            tensors = await asyncio.to_thread(checked_inputs, frame, specs)
        else:
            tensors = checked_inputs(frame, specs)
        answer, hand_over = self._ready(tensors, deadline_ms, candidate)
        await self._entrance.enter_async(hand_over)
        return answer

    def _ready(
        self, tensors: Mapping[str, AnyArray], deadline_ms: float | None, candidate: str | None
    ) -> "tuple[Future[Answer], Callable[[], None]]":
        """The answer-to-be of a frame, and what hands it over to the agent's own loop."""
        self._own.must_not_be_a_copy()  # there nobody gives back the place that it may wait for
        left_ms = None if deadline_ms is None else finite("deadline_ms", deadline_ms)
        pin = self._pin(candidate or self._config.candidate)
        answer: Future[Answer] = Future()
        accept = partial(self._accept, answer, tensors, left_ms, pin)
        return answer, partial(self._own.post, accept)

    async def _connect(self, ways: Ways) -> None:
        news = LinkNews(self._events, self._pipeline.link_changed, self._on_offer)
        uplink = uplink_of(self._config, ways, self._bundle.fingerprint, self._estimator, news)
        self._pipeline.uplink = uplink
        self._pipeline.audits.connect(uplink)
        uplink.on_verdict = self._pipeline.audits.told
        await self._background.contact(uplink, self._config, self._events.add)

    async def _start(self) -> asyncio.Task[None]:
        for text in self._device.notes:
            self._events.add(text)
        if self._config.heed_vitals:
            self._background.watch(read_vitals, self._pipeline.note_vitals)
        return self._background.begin(
            self._pipeline.run(), "no frame is begun any more: close the agent, open another one"
        )

    def _accept(
        self,
        answer: "Future[Answer]",
        tensors: Mapping[str, AnyArray],
        deadline_ms: float | None,
        pin: Candidate | None,
    ) -> None:
        sequence, end = self._open_futures.make(answer)
        self._pipeline.accept(Frame(sequence, tensors, end, deadline_ms, pin))
        answer.add_done_callback(partial(self._heed_cancelled, sequence))

    def _heed_cancelled(self, sequence: int, answer: "Future[Answer]") -> None:
        """On whatever thread the caller cancels it; `answer` must not keep the frame's tensors."""
        if answer.cancelled():
            with suppress(AgentClosedError):
                self._own.post(partial(self._pipeline.cancel, sequence))

    async def _shut_down(self) -> None:
        await self._open_futures.kept()
        await ended(self._heads)  # nothing more begins
        self._open_futures.give_up()
        try:
            await self._pipeline.close()
        finally:
            if self._pipeline.uplink is not None:
                await self._pipeline.uplink.leave()
            await self._background.end()
