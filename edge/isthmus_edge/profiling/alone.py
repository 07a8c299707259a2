"""One network alone in a process of its own: does it run here at all, and what memory does it take,
and are its answers those that ONNX Runtime gave where the kit was written?

    python -m isthmus_edge.profiling.alone KIT NETWORK RUNTIME THREADS

prints a `Trial` as JSON. The kernel may end it where memory is short; whoever started it lives on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from isthmus import IsthmusError
from isthmus.memory import MemoryGrowth
from isthmus_edge.profiling.closeness import MOST_ERROR, error_of, said_of
from isthmus_edge.profiling.kit import read_kit
from isthmus_edge.profiling.session import Measured
from isthmus_edge.profiling.subjects import subjects_of
from isthmus_edge.profiling.trials import Trial
from isthmus_edge.runtimes import RuntimeName, Runtimes

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Load and run it on every item; the trial goes to stdout."""
    folder, network, runtime, threads = arguments
    try:
        runtimes = Runtimes(msgspec.convert(runtime, RuntimeName))
        trial = _tried(Path(folder), network, runtimes, int(threads))
    except IsthmusError as error:
        trial = Trial(problem=str(error))
    sys.stdout.write(msgspec.json.encode(trial).decode())
    return 0


def _tried(folder: Path, name: str, runtimes: Runtimes, threads: int) -> Trial:
    kit = read_kit(folder)  # its sums were checked by whoever started this
    items = kit.items()
    subjects = subjects_of(kit, runtimes.installed)
    (subject,) = (each for each in subjects if each.network.name == name)
    runtime = subject.runtime.ready()
    wanted = kit.answers(subject.network)
    _, whole = next(subject.parts(kit))
    growth = MemoryGrowth()
    network = Measured(runtime, whole, threads)
    for item in items:
        network.run(item)
    memory_bytes = growth.bytes_now()  # from here on, what is compared takes memory, too
    error = error_of([network.answers(item) for item in items[: kit.kit.answered]], wanted)
    if not error <= MOST_ERROR:
        return Trial(problem=said_of(error))
    return Trial(memory_bytes=memory_bytes, is_peak=growth.is_peak, error=error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
