"""The way in: from the first import on, Ctrl-C ends the command without a traceback.

So nothing else may be loaded here before somebody waits for Ctrl-C.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["main"]

INTERRUPTED = 130  # what a shell reports after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 if all went well, 1 for an error that was explained, 2 for wrong usage.

    130 after Ctrl-C; 143 where a verb ends in order on SIGTERM, too (`console.sigterm_as_ctrl_c`).

    gRPC's own lines on stderr are left out, for what they tell is in our errors; who wants them
    sets GRPC_VERBOSITY. It is read when gRPC is loaded, which a verb does.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with _interruptible():
            from isthmus_cli.verbs import chosen_verb  # noqa: PLC0415 (see above)

            verb = chosen_verb(arguments)
        return verb()
    except KeyboardInterrupt as told:
        return int(getattr(told, "status", INTERRUPTED))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the process at once while modules load: there is nothing to clean up yet, and
    inside a library's own loading it would come out as some other error."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
