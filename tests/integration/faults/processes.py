"""The processes of the faults, as the tests see them."""

import signal
from pathlib import Path

import msgspec
import psutil
from tests.commands import Cloud, Command, until
from tests.integration.faults import cloud_process, device_process
from tests.integration.faults.clock import JUMPED
from tests.integration.faults.cloud_process import Counts
from tests.integration.faults.tally import Tally

MARGIN_BYTES = 16 * 1024 * 1024  # what an allocator may keep without being a leak
SLACK_BYTES, SLACK_SHARE = 32 * 1024 * 1024, 0.25  # the same from the first frames to the last

__all__ = ["MARGIN_BYTES", "CountedCloud", "FilmingDevice", "assert_near", "jump"]


def assert_near(rss_bytes: int, level_bytes: int) -> None:
    """A process is back at its level."""
    slack_bytes = max(SLACK_BYTES, SLACK_SHARE * level_bytes)
    assert rss_bytes <= level_bytes + slack_bytes, (rss_bytes, level_bytes)


def jump(process: Command, way: int) -> None:
    """Let its clock jump, AHEAD or BACK; it has when this returns.

    Lines that it says until then are read, and lost.
    """
    process.process.send_signal(way)
    until(lambda: JUMPED in process.line(""), "the clock has jumped")


class CountedCloud(Cloud):
    """`isthmus cloud` that can be asked what it holds; its clock may `jump` with the flag JUMPS."""

    module = cloud_process.__name__
    _level_bytes: int | None = None

    def counts(self) -> Counts:
        """Ask it."""
        self.process.send_signal(signal.SIGUSR1)
        line = self.line(cloud_process.WORD).removeprefix(cloud_process.WORD)
        return msgspec.json.decode(line, type=Counts)

    def holds_only(self, sessions: int) -> bool:
        """Whether nothing is held but so many sessions with a stream and without work."""
        now = self.counts()
        work = (now.frames, now.outcomes, now.kept_bytes, now.bytes_in_flight)
        return (now.sessions, now.parked, *work) == (sessions, 0, 0, 0, 0, 0)

    def note_level(self) -> None:
        """Its memory now, after some work in peace: what `assert_at_level` compares with."""
        self._level_bytes = self.counts().rss_bytes

    def assert_at_level(self, sessions: int) -> None:
        """It comes to hold so many idle sessions and nothing else; its memory is as it was."""
        assert self._level_bytes is not None, "note_level() comes before the fault"
        until(lambda: self.holds_only(sessions), f"the server holds {sessions} idle sessions only")
        assert_near(self.counts().rss_bytes, self._level_bytes)


class FilmingDevice(Command):
    """An agent in a process of its own that sends frames without end."""

    module = device_process.__name__

    def __init__(self, bundle: Path, cloud: str) -> None:
        super().__init__(bundle, cloud)

    def answered_by(self, place: str, count: int) -> None:
        """Wait until so many more frames have been answered there."""
        for _ in range(count):
            self.line(place)

    def rss_bytes(self) -> int:
        """Its memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def tally(self) -> Tally:
        """Let it come to its end, which must be a good one."""
        self.process.send_signal(signal.SIGTERM)
        line = self.line(device_process.WORD).removeprefix(device_process.WORD)
        ended = self.ended()
        assert ended.status == 0, ended.err
        return Tally.of(line)
