"""What is done as long as an agent is open, beside its frames."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from isthmus import LinkError, PeerError
from isthmus_edge.config import AgentConfig
from isthmus_edge.policy.vitals import Vitals
from isthmus_edge.stream.uplink import Uplink

VITALS_S = 5.0

log = logging.getLogger("isthmus.edge")

__all__ = ["Background", "ended"]


class Background:
    """Tasks on an agent's own loop, which end when they are cancelled together."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, work: Coroutine[Any, Any, None], loss: str) -> asyncio.Task[None]:
        """Have something done; `loss` is what it means if it ends by itself."""
        task = asyncio.create_task(work)
        task.add_done_callback(partial(_tell_loss, loss))
        self._tasks.append(task)
        return task

    async def contact(
        self, uplink: Uplink, config: AgentConfig, tell: Callable[[str], None]
    ) -> None:
        """Have a link tended, and wait until it is up and measured, or clearly is not.

        A link that is up and too slow to be measured in this time is a link.
        If it is not, that is told, and tried again and again; where a cloud is required it is a
        LinkError, or a PeerError if the service refuses this device.
        """
        try:
            await self._first_contact(uplink, config.connect_timeout_s)
        except (LinkError, PeerError) as error:
            if config.require_cloud:
                raise _required(error, config) from error
            if uplink.state != "refused":  # of that people have been told
                tell(f"{error}: the device answers alone until the cloud is there")

    async def _first_contact(self, uplink: Uplink, timeout_s: float) -> None:
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begin(
            uplink.run(first), "the link to the cloud is not tended any more: frames end here"
        )
        try:
            async with asyncio.timeout(timeout_s):
                await first
                await uplink.measured.wait()
        except TimeoutError as error:
            if uplink.state in {"up", "draining"}:
                log.info("connected; the rate of the link is not measured after %g s", timeout_s)
                return
            raise LinkError(_silence(timeout_s, was_up=not first.cancelled())) from error

    def watch(self, read: Callable[[], Vitals], note: Callable[[Vitals], None]) -> None:
        """Have the device asked how it is, again and again."""
        self.begin(
            _watched(read, note), "load, heat and battery of the device are not heeded any more"
        )

    async def end(self) -> None:
        """Cancel all of them, and wait for their ends."""
        await ended(*self._tasks)


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel these, and wait for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _watched(read: Callable[[], Vitals], note: Callable[[Vitals], None]) -> None:
    """A device that cannot be read tells nothing: psutil raises what its files lead it to."""
    level = logging.WARNING  # once
    while True:
        try:
            vitals = await asyncio.to_thread(read)
        except Exception:
            log.log(level, "load, heat and battery cannot be read", exc_info=True)
            vitals, level = Vitals(), logging.DEBUG
        note(vitals)
        await asyncio.sleep(VITALS_S)


def _silence(timeout_s: float, *, was_up: bool) -> str:
    """Why there is no link after this time."""
    if was_up:
        return f"a service answered, and within {timeout_s:g} s the link was gone again"
    return (
        f"no answer within {timeout_s:g} s; is the address right, and does a firewall let it pass?"
    )


def _required(error: LinkError | PeerError, config: AgentConfig) -> LinkError | PeerError:
    """What stops an agent that must have a cloud."""
    way_out = (
        "or start without it (leave out require_cloud, --require-cloud): the device answers alone "
        "until the cloud is there"
    )
    if isinstance(error, PeerError):
        return PeerError(error.code, f"the service refused this device: {error}; {way_out}")
    where = " or ".join(map(str, config.targets))
    return LinkError(f"cannot reach the cloud at {where}: {error}; {way_out}")


def _tell_loss(loss: str, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("%s", loss, exc_info=error)
