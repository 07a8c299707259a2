"""What a name stands for, asked of the system on a thread: its resolver blocks as long as it likes.

gRPC could look names up itself, but then its channel hides which of the addresses it has taken.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from isthmus import LinkError
from isthmus_edge.stream.addresses import Target

LOOK_UP_AT_MOST_S = 1.5  # below the time that an agent takes for its first contact

Resolve = Callable[[Target], Awaitable[tuple[str, ...]]]

__all__ = ["LOOK_UP_AT_MOST_S", "Resolve", "SystemResolver"]


class SystemResolver:
    """One question for each name at a time, on a thread of its own that keeps nobody waiting."""

    def __init__(self) -> None:
        self._asking: dict[Target, Future[tuple[str, ...]]] = {}

    async def __call__(self, target: Target) -> tuple[str, ...]:
        """The IP addresses of a name, as the system prefers them; LinkError if it gives none.

        A resolver that hangs is given up after LOOK_UP_AT_MOST_S, and not asked a second time
        until it has come back.
        """
        asking = self._asking.get(target)
        if asking is None or asking.done():
            asking = self._asking[target] = _asked(target)
        try:
            async with asyncio.timeout(LOOK_UP_AT_MOST_S):
                return await asyncio.wrap_future(asking)
        except TimeoutError as error:
            raise LinkError(
                f"no name server says within {LOOK_UP_AT_MOST_S:g} s where {target.host} is"
            ) from error


def _asked(target: Target) -> "Future[tuple[str, ...]]":
    asking: Future[tuple[str, ...]] = Future()
    asking.set_running_or_notify_cancel()  # who is cancelled does not take it from the others
    threading.Thread(target=_ask, args=(target, asking), name="isthmus-name", daemon=True).start()
    return asking


def _ask(target: Target, asking: "Future[tuple[str, ...]]") -> None:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: what can be no name
        why = getattr(error, "strerror", None) or str(error)
        asking.set_exception(LinkError(f"the name {target.host} is not known: {why}"))
        return
    families = {socket.AF_INET, socket.AF_INET6}
    ips = [str(where[0]) for family, *_, where in found if family in families]
    if ips:
        asking.set_result(tuple(dict.fromkeys(ips)))
    else:
        asking.set_exception(LinkError(f"the name {target.host} stands for no address"))
