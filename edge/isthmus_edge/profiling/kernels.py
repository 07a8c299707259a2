"""A network's kernels, timed by ONNX Runtime's own profiler."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from isthmus import KernelTime, kernels_of
from isthmus_edge.profiling.session import Feed, Measured

__all__ = ["kernel_times"]


def kernel_times(
    path: Path, threads: int, items: Sequence[Feed], runs: int
) -> tuple[KernelTime, ...]:
    """25th percentile in ms of each kernel over `runs` runs, in the order of running."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        network = Measured(path, threads, profile=Path(folder) / "profile")
        for run in range(runs):
            network.run(items[run % len(items)])
        return kernels_of(network.events(), path.name)
