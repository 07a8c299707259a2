"""What the doctor says of the time of day."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.edge.doctor.machine import NOW_S, a_machine, assert_bad, the_only

from isthmus_edge.doctor.clock import ClockLook, KernelClock, kernel_clock, offset_to

KEPT = KernelClock(is_kept=True, offset_s=0.0005, most_s=0.02)
SINCE_1900_S = 2_208_988_800


def test_a_clock_that_is_kept_right_is_fine_and_tells_its_offset(tmp_path: Path) -> None:
    look = ClockLook(around=a_machine(tmp_path, {}), kernel=lambda: KEPT)
    finding = the_only(look.look())
    assert (finding.state, finding.figures["offset_ms"]) == ("ok", 0.5)


def test_a_clock_that_nothing_keeps_is_a_warning(tmp_path: Path) -> None:
    loose = KernelClock(is_kept=False, offset_s=0.0, most_s=16.0)
    look = ClockLook(around=a_machine(tmp_path, {}), kernel=lambda: loose)
    assert_bad(the_only(look.look()), "warn", "not known")


def test_a_system_that_does_not_tell_is_no_fault(tmp_path: Path) -> None:
    look = ClockLook(around=a_machine(tmp_path, {}), kernel=lambda: None)
    assert the_only(look.look()).state == "ok"


def test_a_clock_before_the_files_were_written_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.touch()
    os.utime(file, (NOW_S + 9 * 86_400, NOW_S + 9 * 86_400))
    look = ClockLook(around=a_machine(tmp_path, {}), newer_than=(file,), kernel=lambda: KEPT)
    finding = the_only(look.look())
    assert_bad(finding, "fail", "9 days before")
    assert finding.figures["days_early"] == 9


@pytest.mark.parametrize("name", ["none.bundle", "x" * 300], ids=["missing", "too long"])
def test_a_file_that_cannot_be_looked_at_says_nothing_of_the_clock(
    tmp_path: Path, name: str
) -> None:
    newer_than = (tmp_path / name, tmp_path)
    look = ClockLook(around=a_machine(tmp_path, {}), newer_than=newer_than, kernel=lambda: KEPT)
    assert the_only(look.look()).state == "ok"


def test_the_kernel_can_be_asked_here() -> None:
    known = kernel_clock()
    assert known is None or known.most_s >= 0


TimeServer = Callable[[float], str]


@pytest.fixture
def time_server() -> Iterator[TimeServer]:
    """Answers one question with the time of the test plus an offset; returns its address."""
    served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    served.bind(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(ahead_s: float, stratum: int = 2) -> str:
        now = NOW_S + SINCE_1900_S + ahead_s
        stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))

        def answer() -> None:
            _, client = served.recvfrom(512)
            served.sendto(bytes([0x24, stratum]) + bytes(30) + stamp + stamp, client)

        threads.append(threading.Thread(target=answer, daemon=True))
        threads[-1].start()
        return f"127.0.0.1:{served.getsockname()[1]}"

    yield serve
    for thread in threads:
        thread.join(10)
    served.close()


def test_the_offset_is_what_the_time_server_is_ahead(time_server: TimeServer) -> None:
    assert offset_to(time_server(2.5), lambda: NOW_S) == pytest.approx(2.5, abs=1e-3)


@pytest.mark.parametrize(
    ("ahead_s", "state", "word"),
    [(0.25, "ok", "behind"), (-5.0, "warn", "ahead of"), (7200.0, "fail", "7200.000 s behind")],
)
def test_a_clock_that_is_off_is_found(
    tmp_path: Path, time_server: TimeServer, ahead_s: float, state: str, word: str
) -> None:
    around = a_machine(tmp_path, {})
    look = ClockLook(around=around, server=time_server(ahead_s), kernel=lambda: KEPT)
    _, finding = look.look()
    assert (finding.state, word in finding.text) == (state, True), finding.text
    assert finding.figures["offset_ms"] == pytest.approx(ahead_s * 1e3, abs=1)


def test_a_time_server_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    around = a_machine(tmp_path, {})
    look = ClockLook(around=around, server="no.such.host.invalid", kernel=lambda: KEPT)
    assert_bad(list(look.look())[1], "warn", "no.such.host.invalid")
