"""A store's service for the commands of operators."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from tests.cloud.store.serving import Served, serving
from tests.commands import PATIENCE_S

from isthmus_cloud.security.identity import Guard
from isthmus_cloud.store import Store


@contextmanager
def service(
    store: Store, guard: Guard | None = None, credentials: grpc.ServerCredentials | None = None
) -> Iterator[Served]:
    """A store's service in a thread of its own."""
    started: list[Served] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(store, guard, credentials) as served:
            started.append(served)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield started[0]
    finally:
        stop.set()
        thread.join()
