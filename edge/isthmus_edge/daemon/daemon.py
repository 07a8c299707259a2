"""The daemon's life: startup, main loop, shutdown; and what it is told meanwhile.

SIGTERM and SIGINT end it in order, a second one at once, unless it only repeats the first
(`isthmus.repeated_signals`). SIGHUP reloads its file.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn

from msgspec import structs

from isthmus import IsthmusError, __version__
from isthmus.memory import resident_bytes
from isthmus.repeated_signals import Breaths
from isthmus_edge.agent import Agent
from isthmus_edge.answer import Stats
from isthmus_edge.config import AgentConfig
from isthmus_edge.daemon.control import Control, default_control
from isthmus_edge.daemon.dashboard import Dashboard
from isthmus_edge.daemon.feed import Feed
from isthmus_edge.daemon.logs import Journal, start_logging
from isthmus_edge.daemon.notify import Notifier
from isthmus_edge.daemon.parts import Parts, close_parts, open_parts
from isthmus_edge.daemon.reload import take_over
from isthmus_edge.daemon.sections import DaemonConfig, DashboardSection, LogSection
from isthmus_edge.daemon.serving import Answering
from isthmus_edge.daemon.settings import read_config
from isthmus_edge.daemon.status import State, Status
from isthmus_edge.daemon.statusing import agent_status, bundle_status
from isthmus_edge.daemon.supplying import Supplying

log = logging.getLogger("isthmus.daemon")

STATS_S = 2.0  # how long `isthmus edge status` waits for the agent's own thread

FETCH_S = 60.0  # systemd is asked for so much more while the first bundle comes

Call = Literal["stop", "reload", "over", "update"]

__all__ = ["Daemon", "run_daemon"]


def run_daemon(file: Path, log_format: Literal["auto", "text", "json"] | None = None) -> int:
    """Run the daemon of a configuration file until it is told to stop; the exit status.

    0 when it was told to end, or when all its sources have ended and nobody else can ask; 1 if one
    of those could not be read. Raises IsthmusError if it cannot start. `log_format` goes before
    that of the file.
    """
    return asyncio.run(Daemon(file, log_format).run())


class Daemon:
    """One daemon. `run` must be called on the main thread's loop, for the signals."""

    def __init__(
        self,
        file: Path,
        log_format: Literal["auto", "text", "json"] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._log_format = log_format
        self._tell = Journal()
        self._notifier = Notifier()
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._state: State = "starting"
        self._clock = clock
        self._breaths = Breaths(clock)
        self._began_s = clock()
        self._reloads = 0
        self._reload_fault: str | None = None
        self._asking: asyncio.Task[object] | None = None
        self._is_agent_broken = False
        self._control: Control | None = None
        self._dashboard: Dashboard | None = None
        self._parts: Parts | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop_wanted = asyncio.Event()
        self._supplying = Supplying(self._tell, lambda: self._calls.put_nowait("update"))

    @property
    def state(self) -> State:
        """What it is at."""
        return self._state

    async def run(self) -> int:
        """Startup, main loop, shutdown."""
        self._loop = asyncio.get_running_loop()
        with self._signals():
            try:
                status = await self._live()
            finally:
                if self._control is not None:
                    await self._control.stop()
                if self._dashboard is not None:
                    await self._dashboard.stop()
        self._tell("stopped")
        return status

    async def _live(self) -> int:
        parts = self._parts = await self._startup()
        if parts is None:
            return 0
        try:
            return await self._main_loop(parts)
        finally:
            await self._supplying.end()
            await self._shutdown(parts)

    def told_to_stop(self, kind: signal.Signals) -> None:
        """End in order; at once if that was said before, unless that was in the same breath."""
        if not self._breaths.is_new():
            return
        if self._stop_wanted.is_set():
            self._end_now(kind)
        self._stop_wanted.set()
        self._calls.put_nowait("stop")

    async def hears_agent(self, parts: Parts, timeout_s: float) -> bool:
        """Whether the agent tells its figures in time; one question at a time waits for it."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(parts.serving.stats))
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=timeout_s)
        if not done:
            return False
        error = asking.exception()
        if error is not None and not self._is_agent_broken:
            log.error("the agent cannot say how it is", exc_info=error)
            self._tell("agent_broke", logging.ERROR, reason=repr(error))
        self._is_agent_broken = error is not None
        return error is None

    async def _startup(self) -> Parts | None:
        """The parts, running; None where it was told to stop while its first bundle came."""
        config = read_config(self._file)
        self._start_logging(config.log)
        self._tell("starting", version=__version__, config=str(self._file))
        control = config.service.control or default_control()
        if control is not None:
            self._control = Control(control, self._status)
            await self._control.start()
        self._dashboard = await self._open_dashboard(config.dashboard)
        supply = await asyncio.to_thread(self._supplying.of, config)
        self._supplying.expect(supply)
        if supply is not None and not await self._unless_stopped(supply.ready()):
            return None
        parts = await self._supplying.opened(supply, config, self._open_parts)
        for feed in parts.feeds.values():
            self._start(feed)
        self._become("running")
        listening = [] if parts.endpoint is None else list(parts.endpoint.addresses)
        self._tell(
            "running",
            model=parts.serving.manifest.model_name,
            endpoint=listening,
            sources=list(parts.feeds),
            control=control,
            dashboard=self._pages() or None,
        )
        self._notifier.ready(self._summary(parts))
        self._supplying.start(supply)
        return parts

    async def _open_parts(self, config: DaemonConfig) -> Parts:
        return await open_parts(config, self._open_agent, self._tell)

    async def _unless_stopped(self, work: Coroutine[object, object, None]) -> bool:
        """Whether it was done before somebody told the daemon to stop; systemd is kept waiting."""
        doing = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop_wanted.wait())
        try:
            while not doing.done() and not stop.done():
                self._notifier.waiting("its bundle comes from the cloud", FETCH_S)
                await asyncio.wait(
                    {doing, stop}, timeout=FETCH_S / 2, return_when=asyncio.FIRST_COMPLETED
                )
            if doing.done():
                await doing
            return doing.done()
        finally:
            for task in (doing, stop):
                task.cancel()

    async def _main_loop(self, parts: Parts) -> int:
        """Until it is told to stop, or nothing can come any more."""
        pulse = asyncio.create_task(self._keep_alive(parts))
        try:
            while (call := await self._calls.get()) != "stop":
                if call == "reload":
                    await self._reload(parts)
                if call == "update":
                    await self._update(parts)
                if self._is_over(parts):
                    failed = any(f.status().state == "failed" for f in parts.feeds.values())
                    self._tell("nothing_left", reason="all sources have ended, no [endpoint]")
                    return 1 if failed else 0
            return 0
        finally:
            pulse.cancel()

    async def _shutdown(self, parts: Parts) -> None:
        self._become("stopping")
        self._notifier.stopping(f"draining for up to {parts.config.service.drain_s:g} s")
        self._tell("stopping", drain_s=parts.config.service.drain_s)
        await close_parts(parts, self._tell)

    async def _reload(self, parts: Parts) -> None:
        self._become("reloading")
        self._notifier.reloading()
        self._tell("reloading", config=str(self._file))
        try:
            config = read_config(self._file)
            supply = await asyncio.to_thread(self._supplying.of, config)
            await self._supplying.opened(supply, config, partial(self._take_over, parts))
        except IsthmusError as error:
            self._refuse_reload(str(error))
        except Exception as error:  # whatever it is, the daemon goes on
            log.exception("a reload broke")
            self._refuse_reload(f"a defect of ours, the log has its traceback: {error!r}")
        else:
            self._start_logging(config.log)
            self._reloads, self._reload_fault = self._reloads + 1, None
            self._tell("reloaded", model=parts.serving.manifest.model_name)
            await self._supplying.change(supply)
        self._become("running")
        self._notifier.ready(self._summary(parts))

    async def _take_over(self, parts: Parts, config: DaemonConfig) -> None:
        for feed in await take_over(parts, config, self._open_agent, self._tell):
            self._start(feed)

    async def _update(self, parts: Parts) -> None:
        """Another bundle for the same configuration, as a reload would put it in."""
        self._become("reloading")
        self._notifier.reloading()
        await self._supplying.swap(parts.config, partial(self._take_over, parts))
        self._become("running")
        self._notifier.ready(self._summary(parts))

    def _refuse_reload(self, reason: str) -> None:
        self._reload_fault = reason
        self._tell("reload_refused", logging.ERROR, reason=reason)

    async def _keep_alive(self, parts: Parts) -> None:
        """Tell the service manager that nothing hangs, while the agent's own thread answers."""
        while (period_s := self._notifier.watchdog_s) is not None:
            if await self.hears_agent(parts, period_s):
                self._notifier.alive(self._summary(parts))
            if self._asking is None or self._asking.done():  # else it is waited for once more
                await asyncio.sleep(period_s)

    async def _status(self) -> Status:
        parts = self._parts
        hears = parts is not None and await self.hears_agent(parts, STATS_S)
        endpoint = None if parts is None else parts.endpoint
        return Status(
            version=__version__,
            pid=os.getpid(),
            state=self._state,
            config=str(self._file.absolute()),
            uptime_s=round(self._clock() - self._began_s, 3),
            bundle=None if parts is None else bundle_status(parts),
            agent=None if parts is None else agent_status(parts.serving.last_stats, hears),
            counts=None if parts is None else parts.serving.counts(),
            rss_bytes=resident_bytes(),
            endpoint=[] if endpoint is None else list(endpoint.addresses),
            sources=[] if parts is None else [f.status() for f in parts.feeds.values()],
            output=None if parts is None else parts.desk.output.status(),
            reloads=self._reloads,
            reload_fault=self._reload_fault,
            events=self._tell.kept,
            dashboard=self._pages(),
            supply=self._supplying.status,
        )

    def _open_agent(self, config: AgentConfig) -> Answering:
        def keep(text: str) -> None:
            self._tell.keep("agent", logging.WARNING, message=text)
            with suppress(RuntimeError):  # the loop has ended before it
                self._loop.call_soon_threadsafe(self._supplying.wake)

        agent = Agent.open(config, on_event=keep, on_offer=self._supplying.on_offer)
        return agent if self._dashboard is None else self._dashboard.watched(agent)

    async def _open_dashboard(self, section: DashboardSection) -> Dashboard | None:
        config = await asyncio.to_thread(section.config)
        if config is None:
            return None
        dashboard = Dashboard(config, self._status, self._last_stats)
        await dashboard.start()
        return dashboard

    def _pages(self) -> list[str]:
        return [] if self._dashboard is None else list(self._dashboard.addresses)

    def _last_stats(self) -> Stats | None:
        return None if self._parts is None else self._parts.serving.last_stats

    def _start_logging(self, section: LogSection) -> None:
        wanted = self._log_format
        start_logging(section if wanted is None else structs.replace(section, format=wanted))

    def _start(self, feed: Feed) -> None:
        loop = asyncio.get_running_loop()

        def over() -> None:
            with suppress(RuntimeError):  # the loop has ended before it
                loop.call_soon_threadsafe(self._calls.put_nowait, "over")

        feed.start(over)

    def _is_over(self, parts: Parts) -> bool:
        has_endpoint = bool(parts.config.endpoint.listen)
        return not has_endpoint and all(feed.is_over for feed in parts.feeds.values())

    def _summary(self, parts: Parts) -> str:
        counts, stats = parts.serving.counts(), parts.serving.last_stats
        answered = counts.answered_cloud + counts.answered_device
        return (
            f"{self._state}: {counts.accepted} frames, {answered} answered, link "
            f"{stats.link_state}, candidate {stats.candidate or 'none yet'}"
        )

    def _become(self, state: State) -> None:
        self._state = state

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for kind in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(kind, self.told_to_stop, kind)
        loop.add_signal_handler(signal.SIGHUP, self._calls.put_nowait, "reload")
        try:
            yield
        finally:
            for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(kind)

    def _end_now(self, kind: signal.Signals) -> NoReturn:
        """The second signal: nothing is waited for, but no socket stays behind."""
        self._tell("forced", logging.WARNING, signal=kind.name)
        if self._control is not None:
            self._control.abandon()
        if self._parts is not None and self._parts.endpoint is not None:
            self._parts.endpoint.abandon()
        os._exit(128 + kind)
