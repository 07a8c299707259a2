"""What the first segments of a chain take of the memory, measured in a process of its own.

This file is the program of that process, too. It is run by its path: as a module it would load the
whole partitioner first.
"""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import onnxruntime as ort  # silent: whoever starts this process has set the switch
from numpy.typing import NDArray

from isthmus import Chain, Segment
from isthmus.exact_sums import with_exact_sums
from isthmus.memory import MemoryGrowth

__all__ = ["chain_memory", "main"]

_RUNS = 2  # from the first the runtime plans its memory, which it takes with the second

Feed = Mapping[str, NDArray[np.generic]]


class _Order(msgspec.Struct, frozen=True):
    """What to run; the feed of these names follows as .npz, in their order."""

    folder: str
    segments: tuple[Segment, ...]
    feed: tuple[str, ...]


def chain_memory(
    chain: Chain, folder: Path, feed: Feed, progress: Callable[[str], None]
) -> tuple[int, ...]:
    """By how many bytes the first i segments let a process grow, for i from 0 to all.

    That is its highest resident memory (the last, where the system knows no highest) less that
    just before the first session: sessions with their weights, activations, and what the runtime
    sets up once with its first session, but neither Python nor the runtime as it was loaded. One
    thread runs `feed`, which holds the model's inputs in their graph shapes. 0 is what was not
    measured; `progress` is told why.
    """
    order = _Order(str(folder), chain.segments, tuple(feed))
    arrays = io.BytesIO()
    np.savez(arrays, *feed.values())
    try:
        # Whatever ends this call, Ctrl-C included, ends the process first.
        done = subprocess.run(
            [sys.executable, "-P", __file__],
            input=msgspec.json.encode(order) + b"\n" + arrays.getvalue(),
            capture_output=True,
            check=False,
        )
        grown = [int(line) for line in done.stdout.splitlines()]
        problem = _last_line(done.stderr) or f"its process ended with {done.returncode}"
    except (OSError, ValueError) as error:
        grown, problem = [], str(error)
    missing = len(chain.segments) - len(grown)
    if missing > 0:
        progress(f"what chain {chain.id} takes of the memory was not measured: {problem}")
    return (0, *grown, *[0] * missing)


def _last_line(text: bytes) -> str:
    return (text.decode(errors="replace").strip().splitlines() or [""])[-1]


def main(source: BinaryIO) -> int:
    """Load and run the segments one after another; a line for each says by how much it grew."""
    order = msgspec.json.decode(source.readline(), type=_Order)
    with np.load(io.BytesIO(source.read()), allow_pickle=False) as arrays:
        feed = dict(zip(order.feed, (arrays[name] for name in arrays.files), strict=True))
    for grown in _grown(order, feed):
        sys.stdout.write(f"{grown}\n")
        sys.stdout.flush()
    return 0


def _grown(order: _Order, feed: Feed) -> Iterator[int]:
    """After each segment, the growth in bytes. What no later segment reads is let go of."""
    growth = MemoryGrowth()
    sessions, held, highest = [], dict(feed), 0
    read = {spec.name for segment in order.segments for spec in segment.inputs}
    for depth, segment in enumerate(order.segments, start=1):
        path = Path(order.folder) / segment.file
        sessions.append(_opened(str(path)))
        reads = {spec.name: held[spec.name] for spec in segment.inputs}
        names = [spec.name for spec in segment.outputs]
        for _ in range(_RUNS - 1):
            sessions[-1].run(names, reads)
        held |= dict(zip(names, sessions[-1].run(names, reads), strict=True))
        later = {spec.name for s in order.segments[depth:] for spec in s.inputs}
        held = {n: v for n, v in held.items() if n in later or n not in read}
        highest = max(highest, growth.bytes_now())
        yield highest


def _opened(path: str) -> ort.InferenceSession:
    """As the device runs it, but for its arena: there all sessions of an agent share one."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return with_exact_sums(
        options, lambda: ort.InferenceSession(path, options, ["CPUExecutionProvider"]), (Exception,)
    )


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer))
