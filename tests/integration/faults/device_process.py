"""An agent with a camera in a process of its own, to be killed or to have its clock moved.

    python -m tests.integration.faults.device_process BUNDLE CLOUD

Prints a line for each frame that ends. SIGTERM: no frame more; the last line is the tally. The
clock jumps as `clock.py` says.
"""

import signal
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from tests.integration.faults.clock import Clock
from tests.integration.faults.traffic import FRAMES_PER_S, opened

from isthmus_edge import Answer

WORD = "tally "

__all__ = ["WORD"]


def _say(future: Future[Answer]) -> None:
    error = future.exception()
    print("error" if error else future.result().place, flush=True)  # noqa: T201 - read by the test


def _film(bundle: Path, cloud: str) -> None:
    Clock()
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    with opened(bundle, cloud, _say) as traffic:
        while not told.wait(1 / FRAMES_PER_S):
            traffic.send(1)
        tally = traffic.tally()
        print(WORD + tally.line(), flush=True)  # noqa: T201 - read by the test
        traffic.assert_settled(tally)


if __name__ == "__main__":
    _film(Path(sys.argv[1]), sys.argv[2])
