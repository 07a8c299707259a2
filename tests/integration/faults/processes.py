"""The processes of the faults, as the tests see them."""

import signal
from pathlib import Path

import msgspec
from tests.commands import Cloud, Command
from tests.integration.faults import cloud_process, device_process
from tests.integration.faults.cloud_process import Counts
from tests.integration.faults.tally import Tally

MARGIN_BYTES = 16 * 1024 * 1024  # what an allocator may keep without being a leak

__all__ = ["MARGIN_BYTES", "CountedCloud", "FilmingDevice"]


class CountedCloud(Cloud):
    """`isthmus cloud` that can be asked what it holds; its clock jumps as `clock.py` says."""

    module = cloud_process.__name__

    def counts(self) -> Counts:
        """Ask it."""
        self.process.send_signal(signal.SIGUSR1)
        line = self.line(cloud_process.WORD).removeprefix(cloud_process.WORD)
        return msgspec.json.decode(line, type=Counts)

    def holds_only(self, sessions: int) -> bool:
        """Whether nothing is held but so many sessions with a stream and without work."""
        now = self.counts()
        held = (now.sessions, now.parked, now.parked_bytes, now.bytes_in_flight)
        return held == (sessions, 0, 0, 0)


class FilmingDevice(Command):
    """An agent in a process of its own that sends frames without end."""

    module = device_process.__name__

    def __init__(self, bundle: Path, cloud: str) -> None:
        super().__init__(bundle, cloud)

    def answered_by(self, place: str, count: int) -> None:
        """Wait until so many more frames have been answered there."""
        for _ in range(count):
            self.line(place)

    def tally(self) -> Tally:
        """Let it come to its end, which must be a good one."""
        self.process.send_signal(signal.SIGTERM)
        line = self.line(device_process.WORD).removeprefix(device_process.WORD)
        ended = self.ended()
        assert ended.status == 0, ended.err
        return Tally.of(line)
