"""A network's kernels, timed by ONNX Runtime's own profiler."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from isthmus import ConfigError, KernelTime, kernels_of
from isthmus_edge.profiling.session import Feed, Measured

__all__ = ["kernel_times"]


def kernel_times(
    path: Path, threads: int, items: Sequence[Feed], runs: int
) -> tuple[KernelTime, ...]:
    """25th percentile in ms of each kernel over `runs` runs, in the order of running.

    The profiler writes to the temporary folder (TMPDIR); ConfigError if that cannot be used.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
            network = Measured(path, threads, profile=Path(folder) / "profile")
            for run in range(runs):
                network.run(items[run % len(items)])
            return kernels_of(network.events(), path.name)
    except OSError as error:
        raise ConfigError(
            f"{tempfile.tempdir or 'TMPDIR'}: the temporary folder cannot be used "
            f"({error.strerror}); make room, or name another in TMPDIR"
        ) from error
