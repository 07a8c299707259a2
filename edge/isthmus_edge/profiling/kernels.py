"""A network's kernels, timed by ONNX Runtime's own profiler."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from isthmus import ConfigError, KernelTime, ModelError, kernels_of
from isthmus_edge.profiling.session import Feed
from isthmus_edge.runtimes.onnx_runtime import (
    RUNTIME_ERRORS,
    first_line,
    open_session,
    session_options,
)

__all__ = ["kernel_times"]


def kernel_times(
    path: Path, threads: int, items: Sequence[Feed], runs: int
) -> tuple[KernelTime, ...]:
    """25th percentile in ms of each kernel over `runs` runs, in the order of running.

    The profiler writes to the temporary folder (TMPDIR); ConfigError if that cannot be used,
    ModelError if the network cannot be run.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
            return kernels_of(_profiled(path, threads, items, runs, Path(folder)), path.name)
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{path.name}: the profiler failed: {first_line(error)}") from error
    except OSError as error:
        raise ConfigError(
            f"{tempfile.tempdir or 'TMPDIR'}: the temporary folder cannot be used "
            f"({error.strerror}); make room, or name another in TMPDIR"
        ) from error


def _profiled(path: Path, threads: int, items: Sequence[Feed], runs: int, folder: Path) -> bytes:
    options = session_options(threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = open_session(path, options)
    names = [value.name for value in session.get_inputs()]
    for run in range(runs):
        item = items[run % len(items)]
        session.run(None, {name: item[name] for name in names})
    return Path(session.end_profiling()).read_bytes()
