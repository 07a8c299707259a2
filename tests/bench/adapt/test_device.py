"""When the device believes that a broken link is up again."""

from collections.abc import Callable

import pytest

from isthmus import LinkError
from isthmus_bench.adapt import device
from isthmus_bench.adapt.device import await_new_stream

Stream = tuple[int, str]


def told(*streams: Stream) -> Callable[[], Stream]:
    left = list(streams)
    return lambda: left.pop(0)


def waited_for(*streams: Stream) -> int:
    """How many frames passed until the stream after the first one was believed."""
    passed: list[None] = []
    await_new_stream(told(*streams), lambda: passed.append(None), 1)
    return len(passed)


def test_a_link_that_is_still_called_up_is_not_believed_before_it_was_made_anew() -> None:
    assert waited_for((1, "up"), (1, "down"), (1, "down"), (2, "up")) == 3


def test_a_new_stream_that_has_broken_again_is_waited_for_as_well() -> None:
    assert waited_for((2, "down"), (3, "up")) == 1


def test_a_link_that_was_made_anew_at_once_costs_no_frame() -> None:
    assert waited_for((2, "up")) == 0


def test_a_link_that_never_comes_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CONNECT_S", 0.0)
    with pytest.raises(LinkError, match="not up again"):
        waited_for((1, "up"))
