"""One network alone in a process of its own: does it run here at all, and what memory does it take?

    python -m isthmus_edge.profiling.alone KIT FILE THREADS

prints a `Trial` as JSON. The kernel may end it where memory is short; whoever started it lives on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from isthmus import IsthmusError
from isthmus.memory import MemoryGrowth
from isthmus_edge.profiling.kit import read_kit
from isthmus_edge.profiling.session import Measured
from isthmus_edge.profiling.trials import Trial

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Load and run it on every item; the trial goes to stdout."""
    folder, file, threads = arguments
    try:
        trial = _tried(Path(folder), file, int(threads))
    except IsthmusError as error:
        trial = Trial(problem=str(error))
    sys.stdout.write(msgspec.json.encode(trial).decode())
    return 0


def _tried(folder: Path, file: str, threads: int) -> Trial:
    kit = read_kit(folder)  # its sums were checked by whoever started this
    items = kit.items()
    growth = MemoryGrowth()
    network = Measured(kit.file(file), threads)
    for item in items:
        network.run(item)
    return Trial(memory_bytes=growth.bytes_now(), is_peak=growth.is_peak)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
