"""How a device leaves one service for another: what it does when, by a clock of the test's own."""

from isthmus_edge.stream.moving import GOODBYE_S, MOVE_S, Moving


def begun() -> Moving:
    """At time 0."""
    moving = Moving()
    moving.begin(0.0)
    return moving


def test_it_waits_for_what_is_under_way_says_goodbye_once_and_leaves() -> None:
    moving = begun()
    assert moving.is_under_way
    assert moving.step(0.1, awaits=True) == "wait"
    assert moving.step(0.2, awaits=False) == "goodbye"
    assert moving.step(0.3, awaits=False) == "wait"  # the service ends the stream
    assert moving.step(0.2 + GOODBYE_S, awaits=False) == "leave"  # or it does not


def test_it_does_not_wait_for_ever() -> None:
    moving = begun()
    assert moving.step(MOVE_S - 0.01, awaits=True) == "wait"
    assert moving.step(MOVE_S, awaits=True) == "leave"


def test_it_is_over_with_the_stream_and_counts_at_the_next_welcome_wherever_that_is() -> None:
    moving = begun()
    moving.new_stream()
    assert not moving.is_under_way
    moving.new_stream()  # the place was gone: another one is tried
    assert moving.arrived()
    moving.new_stream()
    assert not moving.arrived()


def test_who_never_moved_has_not() -> None:
    moving = Moving()
    moving.new_stream()
    assert not moving.is_under_way
    assert not moving.arrived()
