"""The frames of a batch, decoded side by side, each into its own row of the batch.

A frame by itself is not copied: what was decoded is what is run.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from isthmus import SymbolCoder
from isthmus_cloud.answering.feeds import AnyArray, Scalars, Tensors
from isthmus_cloud.answering.jobs import Work
from isthmus_cloud.engines.seam import Value

PARALLEL_BYTES = 64 * 1024  # of payloads; less is decoded before another thread has woken up

__all__ = ["Decoded", "Decoder"]

W = TypeVar("W", bound=Work)
Decoded = tuple[list[W], dict[str, Value]]


class _ThreadCoder(threading.local):
    """zstd contexts are not thread safe: one coder for each thread."""

    def __init__(self) -> None:
        self.coder = SymbolCoder()


class Decoder:
    """Makes batches of frames, on the calling thread and `helpers` more."""

    def __init__(self, helpers: int) -> None:
        self._local = _ThreadCoder()
        self._helpers = helpers
        self._pool = ThreadPoolExecutor(max(helpers, 1), thread_name_prefix="decode")

    def close(self, *, wait: bool = True) -> None:
        """No batch is made any more; `wait` for those that are."""
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def batch(self, jobs: Sequence[W]) -> tuple[Decoded[W], list[tuple[W, Exception]]]:
        """Those that could be decoded as feeds of their tail, row by row, and what befell the
        others. All are of one tail."""
        rows = _Rows(jobs)
        threads = min(len(jobs), self._helpers + 1)
        if threads == 1 or sum(job.turn.payload_bytes for job in jobs) < PARALLEL_BYTES:
            errors = self._share(jobs, rows, 0, 1)
        else:
            others = [
                self._pool.submit(self._share, jobs, rows, start, threads)
                for start in range(1, threads)
            ]
            errors = self._share(jobs, rows, 0, threads)
            for other in others:
                errors |= other.result()
        whole = [index for index in range(len(jobs)) if index not in errors]
        feeds = rows.feeds(whole) if whole else {}
        failed = [(jobs[index], error) for index, error in sorted(errors.items())]
        return ([jobs[index] for index in whole], feeds), failed

    def _share(
        self, jobs: Sequence[Work], rows: "_Rows", start: int, step: int
    ) -> dict[int, Exception]:
        """Decode every `step`th frame; what befell those that could not be, by place."""
        errors: dict[int, Exception] = {}
        for index in range(start, len(jobs), step):
            try:
                rows.fill(index, self._tensors(jobs[index]))
            except Exception as error:  # noqa: BLE001 - it is the outcome of this frame
                errors[index] = error
        return errors

    def _tensors(self, job: Work) -> Tensors:
        """The wire tensors of a frame; a late one is decoded only if later ones may refer to it."""
        job.begun_ns = time.monotonic_ns()
        lateness = job.lateness(job.begun_ns)
        if lateness is not None and not job.is_marked:
            raise lateness
        tensors = job.turn.decode(self._local.coder)
        if lateness is not None:
            raise lateness
        job.decoded_ns = time.monotonic_ns()
        return tensors


class _Rows:
    """The tensors of a batch as they come; several threads fill different rows."""

    def __init__(self, jobs: Sequence[Work]) -> None:
        self._jobs = jobs
        self._tensors = jobs[0].tail.cut.tensors
        self._single: Tensors = ()
        self._buffers: list[AnyArray] = []
        if len(jobs) > 1:
            for tensor in self._tensors:
                shape, axis = tensor.wire.graph_shape, tensor.wire.batch_axis or 0
                whole = (*shape[:axis], len(jobs), *shape[axis + 1 :])
                self._buffers.append(np.empty(whole, tensor.wire.data_type))

    def fill(self, index: int, tensors: Tensors) -> None:
        """The row of one frame; a frame by itself is not copied."""
        if not self._buffers:
            self._single = tensors
            return
        for buffer, tensor, values in zip(self._buffers, self._tensors, tensors, strict=True):
            axis = tensor.wire.batch_axis or 0
            buffer[(slice(None),) * axis + (slice(index, index + 1),)] = values

    def feeds(self, whole: Sequence[int]) -> dict[str, Value]:
        """What the tail reads, with the rows at these places."""
        feeds: dict[str, Value] = {}
        for number, tensor in enumerate(self._tensors):
            name, *beside = tensor.feeds
            feeds[name] = self._values(number, tensor.wire.batch_axis or 0, whole)
            scalars = [self._jobs[index].turn.scalars[number] for index in whole]
            feeds |= zip(beside, _stacked(scalars), strict=True)
        return feeds

    def _values(self, number: int, axis: int, whole: Sequence[int]) -> AnyArray:
        if not self._buffers:
            return self._single[number]
        buffer = self._buffers[number]
        return buffer if len(whole) == len(self._jobs) else buffer.take(whole, axis)


def _stacked(scalars: Sequence[Scalars]) -> Iterator[AnyArray]:
    """Step and zero point of each frame, along the batch."""
    if len(scalars) == 1:
        return iter(scalars[0])
    return (np.concatenate(column) for column in zip(*scalars, strict=True))
