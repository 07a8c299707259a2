"""One network alone in a process of its own: does it run here at all, and what memory does it take?

    python -m isthmus_edge.profiling.alone KIT FILE THREADS

prints a `Trial` as JSON. The kernel may end it where memory is short; whoever started it lives on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from isthmus import IsthmusError
from isthmus_edge.profiling.kit import read_kit
from isthmus_edge.profiling.session import Measured
from isthmus_edge.profiling.trials import Trial

__all__ = ["main"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5)


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
    before = psutil.Process().memory_info().rss
    knows_peak = _reset_peak()
    network = Measured(kit.file(file), threads)
    for item in items:
        network.run(item)
    after = _peak_bytes() if knows_peak else None
    now = psutil.Process().memory_info().rss
    return Trial(
        memory_bytes=max(0, (now if after is None else after) - before), is_peak=after is not None
    )


def _reset_peak() -> bool:
    """Forget what loading this program took; False where the system has no such switch."""
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _peak_bytes() -> int | None:
    """The highest resident memory (VmHWM), None where the system does not say."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
