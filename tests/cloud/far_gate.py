"""A gate before engines of any process: each batch waits there until the test lets it pass."""

import asyncio
import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.cloud.device import GUARD_S
from tests.cloud.held_engine import FAIL, GO, HAIL

__all__ = ["FarGate"]


class FarGate:
    """Stands as long as its context lasts, then everything passes.

    `runs` are the sizes of the batches that came to it, `process_ids` who runs them. A `HeldEngine`
    that does not find it at its path passes by.
    """

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._server = socket.socket(socket.AF_UNIX)
        self._gate = threading.Semaphore(0)
        self._is_open = False
        self._fails = False
        self._begun: asyncio.Queue[None] = asyncio.Queue()
        self._threads: list[threading.Thread] = []
        self.runs: list[int] = []
        self.process_ids: list[int] = []

    def __enter__(self) -> "FarGate":
        self._server.bind(str(self._path))
        self._server.listen()
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.open_for_good()
        self._path.unlink()
        self._server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._server.close()

    async def begun(self) -> None:
        """Wait until one more batch stands here."""
        async with asyncio.timeout(GUARD_S):
            await self._begun.get()

    def let_pass(self, batches: int = 1) -> None:
        self._gate.release(batches)

    def fail(self) -> None:
        """Whatever stands here, and one that comes, fails in its engine."""
        self._fails = True
        self._gate.release()

    def open_for_good(self) -> None:
        self._is_open = True
        self._gate.release()

    def _start(self, what: object, *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # the gate goes
                return
            self._start(self._hold, connection)

    def _hold(self, connection: socket.socket) -> None:
        with connection:
            items, process_id = HAIL.unpack(connection.recv(HAIL.size, socket.MSG_WAITALL))
            self.runs.append(items)
            self.process_ids.append(process_id)
            self._loop.call_soon_threadsafe(self._begun.put_nowait, None)
            passed = self._gate.acquire(timeout=GUARD_S)
            if self._is_open:
                self._gate.release()
            fails, self._fails = self._fails, False
            with suppress(OSError):  # its process may have been killed meanwhile
                connection.sendall(FAIL if fails or not passed else GO)
