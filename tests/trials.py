"""Trials of networks without a process for each."""

import io
from contextlib import redirect_stdout

import msgspec

from isthmus_edge.profiling import alone
from isthmus_edge.profiling.kit import OpenKit
from isthmus_edge.profiling.subjects import Subject
from isthmus_edge.profiling.trials import Trial

__all__ = ["try_here"]


def try_here(kit: OpenKit, subject: Subject, threads: int) -> Trial:
    """What `try_alone` finds out, in this very process."""
    with redirect_stdout(io.StringIO()) as said:
        names = (subject.network.name, subject.runtime.name)
        assert alone.main([str(kit.folder), *names, str(threads)]) == 0
    return msgspec.json.decode(said.getvalue(), type=Trial)
