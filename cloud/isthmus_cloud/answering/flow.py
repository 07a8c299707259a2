"""A batch on its way through the parts of its tail, joined by others where their ways meet.

If a part fails on a batch, the batch is divided until the frame that it fails on stands alone: only
that one ends in an error. What was divided goes its way without being joined by others.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from isthmus import ModelError
from isthmus_cloud.answering.decoding import Decoder
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.jobs import Work
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.engines.seam import Value

W = TypeVar("W", bound=Work)
# Asks for frames that can join a batch which has these parts still to run, at most so many; of this
# tail, at most the second number.
Joining = Callable[[Sequence[Part], int, Tail, int], list[W]]
# Told of each run: the part, its frames, and how long it took in ms.
Ran = Callable[[Part, Sequence[W], float], None]

__all__ = ["Flow", "Joining", "Ran"]

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Batch(Generic[W]):
    """Frames, row by row, and the tensors that parts to come read of them."""

    jobs: list[W]
    values: dict[str, Value]


class Flow(Generic[W]):
    """Runs batches; for several threads at once."""

    def __init__(self, decoder: Decoder, joining: Joining[W], ran: Ran[W]) -> None:
        self._decoder = decoder
        self._joining = joining
        self._ran = ran

    def run(self, jobs: Sequence[W]) -> Iterator[tuple[W, Exception | None]]:
        """Every frame, those that joined on the way too, once it is done: its outputs are in it, or
        this is the error that it ended in."""
        (whole, feeds), failed = self._decoder.batch(jobs)
        yield from failed
        if whole:
            yield from self._onward(_Batch(whole, feeds), jobs[0].tail, 0)

    def _onward(
        self, batch: _Batch[W], tail: Tail, first: int, joins: bool = True
    ) -> Iterator[tuple[W, Exception | None]]:
        for index in range(first, len(tail.parts)):
            if index > 0 and joins:
                yield from self._meet(batch, tail, index)
            try:
                self._run_part(batch, tail, index)
            except ModelError as error:
                yield from self._divide(batch, tail, index, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker goes on
                yield from ((job, error) for job in batch.jobs)
                return
        yield from ((job, None) for job in batch.jobs)

    def _meet(
        self, batch: _Batch[W], tail: Tail, index: int
    ) -> Iterator[tuple[W, Exception | None]]:
        """Take in frames that can go on from here; those that cannot join are yielded."""
        rest = tail.parts[index:]
        taken = len(batch.jobs)
        while jobs := self._joining(
            rest, tail.most_from(index) - taken, tail, tail.most_from(0) - taken
        ):
            taken += len(jobs)
            (whole, feeds), failed = self._decoder.batch(jobs)
            yield from failed
            if whole:
                yield from self._let_in(batch, _Batch(whole, feeds), tail, rest)

    def _let_in(
        self, batch: _Batch[W], newcomers: _Batch[W], tail: Tail, rest: Sequence[Part]
    ) -> Iterator[tuple[W, Exception | None]]:
        """Run the entry of newcomers, at most one part, and join them; the batch goes on if that
        fails."""
        own, index = newcomers.jobs[0].tail, 0
        try:
            if own.entry_to(rest):
                self._run_part(newcomers, own, 0)
                index = 1
            self._join(batch, newcomers, tail, rest)
        except ModelError as error:
            yield from self._divide(newcomers, own, index, error)
        except Exception as error:  # noqa: BLE001 - of the newcomers
            yield from ((job, error) for job in newcomers.jobs)

    def _join(
        self, batch: _Batch[W], newcomers: _Batch[W], tail: Tail, rest: Sequence[Part]
    ) -> None:
        made = {name for part in rest for name in part.program.outputs}
        names = {name for part in rest for name in part.reads} - made
        joined: dict[str, Value] = {}
        for name in names:
            both = (batch.values[name], newcomers.values[name])
            joined[name] = tail.engine.join(both, tail.axes.get(name) or 0)
        batch.values = joined
        batch.jobs += newcomers.jobs

    def _run_part(self, batch: _Batch[W], tail: Tail, index: int) -> None:
        part = tail.parts[index]
        count = len(batch.jobs)
        began_ns = time.perf_counter_ns()
        feeds = {name: batch.values[name] for name in part.reads}
        size = next((size for size in part.program.sizes if size >= count), count)
        if size > count:
            feeds = {n: _padded(tail, n, value, size) for n, value in feeds.items()}
        made = dict(zip(part.program.outputs, part.program.run(feeds), strict=True))
        if size > count:
            made = {n: _rows(tail, n, value, 0, count) for n, value in made.items()}
        took_ms = (time.perf_counter_ns() - began_ns) / 1e6
        self._hand_out(batch, tail, made)
        later = {name for part in tail.parts[index + 1 :] for name in part.reads}
        batch.values = {n: v for n, v in (batch.values | made).items() if n in later}
        for job in batch.jobs:
            job.run_ms += took_ms
            job.batch = count
        self._ran(part, batch.jobs, took_ms)

    def _hand_out(self, batch: _Batch[W], tail: Tail, made: dict[str, Value]) -> None:
        """What of it is an output of the model, to each frame whose tail has to answer it."""
        for name, value in made.items():
            wanting = [
                (row, job)
                for row, job in enumerate(batch.jobs)
                if any(spec.name == name for spec in job.tail.outputs)
            ]
            if not wanting:
                continue
            whole = tail.engine.to_host(value)
            for row, job in wanting:
                alone = len(batch.jobs) == 1
                job.outputs[name] = whole if alone else _rows(tail, name, whole, row, row + 1)

    def _divide(
        self, batch: _Batch[W], tail: Tail, index: int, error: ModelError
    ) -> Iterator[tuple[W, Exception | None]]:
        """Run the halves of a batch on which part `index` failed."""
        count = len(batch.jobs)
        if count == 1:
            yield batch.jobs[0], error
            return
        _logger.warning("%s failed on a batch of %d: divided", tail.parts[index].name, count)
        try:
            held = {name: tail.engine.to_host(value) for name, value in batch.values.items()}
        except Exception as lost:  # noqa: BLE001 - what there is of these frames cannot be read
            yield from ((job, lost) for job in batch.jobs)
            return
        for low, high in ((0, count // 2), (count // 2, count)):
            values: dict[str, Value] = {
                name: _rows(tail, name, value, low, high) for name, value in held.items()
            }
            half = _Batch(batch.jobs[low:high], values)
            yield from self._onward(half, tail, index, joins=False)


def _rows(tail: Tail, name: str, value: Value, low: int, high: int) -> AnyArray:
    axis = tail.axes.get(name)
    whole = tail.engine.to_host(value)
    return whole if axis is None else whole[(slice(None),) * axis + (slice(low, high),)]


def _padded(tail: Tail, name: str, value: Value, size: int) -> AnyArray:
    """Up to `size` items: the last one again, for which every network has an answer."""
    axis = tail.axes.get(name)
    whole = tail.engine.to_host(value)
    if axis is None:
        return whole
    widths = [(0, size - whole.shape[axis] if place == axis else 0) for place in range(whole.ndim)]
    return np.pad(whole, widths, mode="edge")
