"""An engine whose tails sleep: they take as long as a table says, and give the right answers.

    isthmus cloud BUNDLE --engine python://isthmus_bench.scale.sleeping:open_engine

Rows that were seen are remembered by their hash and answered from memory; new ones are computed by
ONNX Runtime, within the time of the table if it is long enough. One part runs at a time, as on one
core. The batch axis is the first of every tensor. The environment names the file with the tables:
`open_engine` takes the usual one, `open_short_engine` that of short tails.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from isthmus import Bundle, ConfigError
from isthmus_bench.scale.tables import SleepTable, SleepTables, load_tables
from isthmus_cloud.engines.batch_times import UNMEASURED, BatchTimes
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.seam import AnyArray, Program, Value

TABLE_VARIABLE = "ISTHMUS_SLEEPING_TABLE"
ENGINE = f"python://{__name__}:open_engine"
SHORT_ENGINE = f"python://{__name__}:open_short_engine"
MOST_ROWS = 256  # that a part remembers

__all__ = [
    "ENGINE",
    "MOST_ROWS",
    "SHORT_ENGINE",
    "TABLE_VARIABLE",
    "SleepingEngine",
    "open_engine",
    "open_short_engine",
]

_Row = tuple[AnyArray, ...]


def open_engine(provider: str, cores: Cores, bundle: Bundle) -> "SleepingEngine":
    """The engine for one bundle, with the table that the environment names; the provider and the
    cores do not matter."""
    return _engine(_tables().usual, bundle)


def open_short_engine(provider: str, cores: Cores, bundle: Bundle) -> "SleepingEngine":
    """Likewise, with short tails."""
    return _engine(_tables().short, bundle)


def _tables() -> SleepTables:
    path = os.environ.get(TABLE_VARIABLE)
    if path is None:
        raise ConfigError(f"{TABLE_VARIABLE} is not set; it names the tables of sleeping tails")
    return load_tables(Path(path))


def _engine(table: SleepTable, bundle: Bundle) -> "SleepingEngine":
    return SleepingEngine({bundle.file(name): times for name, times in table.parts.items()})


class SleepingEngine:
    """See `seam.Engine`; `times` by file, those of others are not made longer."""

    def __init__(self, times: Mapping[Path, BatchTimes]) -> None:
        self._real = OrtEngine(Cores(1))
        self._times = times
        self._turn = threading.Lock()

    @property
    def provider(self) -> str:
        """For people: that it sleeps."""
        return f"sleeping {self._real.provider}"

    def load(self, path: Path) -> "SleepingProgram":
        """Ready to sleep; ModelError as of ONNX Runtime."""
        return SleepingProgram(self._real.load(path), self._times.get(path, UNMEASURED), self._turn)

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Batches as one."""
        return self._real.join(values, axis)

    def to_host(self, value: Value) -> AnyArray:
        """The tensor as an array."""
        return self._real.to_host(value)

    def close(self) -> None:
        """Let go of all sessions."""
        self._real.close()


class SleepingProgram:
    """See `seam.Program`: `real`, that takes `times`; whoever has `turn` runs."""

    def __init__(self, real: Program, times: BatchTimes, turn: threading.Lock) -> None:
        self._real, self._times, self._turn = real, times, turn
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()

    @property
    def inputs(self) -> Mapping[str, str]:
        """Those of the real one."""
        return self._real.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those of the real one."""
        return self._real.outputs

    @property
    def sizes(self) -> tuple[int, ...]:
        """Those of the real one."""
        return self._real.sizes

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """The outputs, not before the batch's time is over; ModelError as of the real one."""
        read = {name: np.asarray(feeds[name]) for name in self.inputs}
        with self._turn:
            begin_s = time.perf_counter()
            count = _count(list(read.values()))
            outputs = self._real.run(feeds) if count is None else self._remembered(read, count)
            until_s = begin_s + self._times.ms(count or 1) / 1e3
            time.sleep(max(0.0, until_s - time.perf_counter()))
        return outputs

    def _remembered(self, read: Mapping[str, AnyArray], count: int) -> Sequence[Value]:
        keys = [_key(read, row) for row in range(count)]
        if any(key not in self._rows for key in keys):
            made = [np.asarray(output) for output in self._real.run(read)]
            if _count(made) != count:
                return made
            for row, key in enumerate(keys):
                self._rows[key] = tuple(array[row : row + 1].copy() for array in made)
        rows = [self._rows[key] for key in keys]
        while len(self._rows) > MOST_ROWS:
            self._rows.popitem(last=False)
        if count == 1:
            return rows[0]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _count(arrays: Sequence[AnyArray]) -> int | None:
    """How many rows a batch has; None if its tensors do not agree on that."""
    sizes = {array.shape[0] if array.ndim else None for array in arrays}
    return sizes.pop() if len(sizes) == 1 else None


def _key(read: Mapping[str, AnyArray], row: int) -> bytes:
    digest = blake2b(digest_size=16)
    for array in read.values():
        digest.update(np.ascontiguousarray(array[row : row + 1]).data)
    return digest.digest()
