"""Work that is no frame's, done by a worker between two batches."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from isthmus import ModelError

T = TypeVar("T")

__all__ = ["Errands"]


@dataclass(slots=True, eq=False)
class _Errand(Generic[T]):
    """`done` is set once, by whoever is first: the worker, or the end."""

    work: Callable[[], T]
    done: "Future[T]"

    def run(self, lock: threading.Lock) -> None:
        try:
            result = self.work()
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            self.fail(error, lock)
            return
        with lock:
            if not self.done.done():
                self.done.set_result(result)

    def fail(self, error: Exception, lock: threading.Lock) -> None:
        with lock:
            if not self.done.done():
                self.done.set_exception(error)


class Errands:
    """First come, first served; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Errand[object]] = deque()
        self._under_way: set[_Errand[object]] = set()
        self._is_over = False

    def __bool__(self) -> bool:
        """Whether one waits."""
        return bool(self._waiting)

    def add(self, work: Callable[[], T]) -> "Future[T]":
        """What will come of it; ModelError where no worker will ever do it."""
        errand = _Errand(work, Future[T]())
        with self._lock:
            if self._is_over:
                raise ModelError(_OVER)
            self._waiting.append(errand)  # type: ignore[arg-type]  # what it returns is its own
        return errand.done

    def run_one(self) -> None:
        """Do the first of them on this thread, if there is one."""
        with self._lock:
            if not self._waiting:
                return
            errand = self._waiting.popleft()
            self._under_way.add(errand)
        errand.run(self._lock)
        with self._lock:
            self._under_way.discard(errand)

    def end(self) -> None:
        """None is done any more; those that wait, and those that are not done yet, have failed."""
        with self._lock:
            self._is_over = True
            left = [*self._waiting, *self._under_way]
            self._waiting.clear()
        for errand in left:
            errand.fail(ModelError(_OVER), self._lock)


_OVER = "the service ends, and with it whatever was being loaded"
