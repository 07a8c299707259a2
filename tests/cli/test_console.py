"""What a command hears beside its arguments."""

import signal
from collections.abc import Iterator

import pytest

from isthmus.repeated_signals import Breaths
from isthmus_cli.console import Terminated, sigterm_as_ctrl_c


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time as signals are told by; SIGTERM is as before when a test is over."""
    now_s, before = [100.0], signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("isthmus_cli.console.Breaths", lambda: Breaths(lambda: now_s[0]))
    yield now_s
    signal.signal(signal.SIGTERM, before)


def test_sigterm_twice_in_one_breath_ends_a_command_once(now_s: list[float]) -> None:
    """What cleans up after the first one is not disturbed by the second."""
    sigterm_as_ctrl_c()
    with pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
    try:
        signal.raise_signal(signal.SIGTERM)
    except Terminated:
        pytest.fail("it was told twice")
    now_s[0] += 1.0
    with pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
