"""Which replica the frames of a video go to."""

import pytest

from isthmus_cloud.answering.packed import Packed
from isthmus_cloud.replicas.known import Known, known
from isthmus_cloud.replicas.pins import Pins

PLAIN = Packed("cut-16")


def key(stream: str) -> Packed:
    """To be kept."""
    return Packed("cut-16", stream=stream, mark=1)


def difference(stream: str) -> Packed:
    """To what is kept of this stream."""
    return Packed("cut-16", stream=stream, reference=1)


@pytest.fixture
def there() -> Known:
    there = Known()
    there.replicas = frozenset("abc")
    return there


@pytest.fixture
def pins(there: Known) -> Pins:
    """The stream "x" is on the replica "a", "y" on "b"."""
    pins = Pins(there)
    pins.hold([key("x")], "a", sent_to="")
    pins.hold([key("y")], "b", sent_to="")
    return pins


def test_what_stands_for_itself_goes_to_the_replica_with_least_under_way(pins: Pins) -> None:
    for replica in "aab":
        pins.sent(replica)
    assert pins.places([PLAIN, PLAIN]) == ["c", "c"]


def test_where_replicas_hold_several_models_only_streams_have_places(there: Known) -> None:
    pins = Pins(there, spreads=False)
    assert pins.places([PLAIN, PLAIN]) == ["", ""]
    assert pins.places([key("x"), PLAIN])[0] in set("abc")


def test_a_replica_that_has_lost_a_call_is_avoided_while_there_are_others(
    pins: Pins, there: Known
) -> None:
    for replica in "bbc":
        pins.sent(replica)
    pins.avoid("a")
    assert pins.places([PLAIN]) == ["c"]
    there.replicas = frozenset("a")
    assert pins.places([PLAIN]) == ["a"]


def test_differences_go_where_their_stream_is_kept_and_others_along_with_the_fewest(
    pins: Pins,
) -> None:
    batch = [difference("x"), difference("y"), PLAIN, difference("x"), PLAIN]
    assert pins.places(batch) == ["a", "b", "b", "a", "b"]


def test_a_key_frame_goes_to_the_replica_with_least_under_way_and_differences_follow(
    pins: Pins,
) -> None:
    for replica in "aacc":
        pins.sent(replica)
    assert pins.places([key("x")]) == ["b"]
    assert pins.places([difference("x"), PLAIN]) == ["b", "b"]
    pins.sent("b")
    pins.back("c")
    pins.back("c")
    assert pins.places([key("x")]) == ["c"]


def test_a_difference_behind_its_key_frame_in_one_batch_goes_along_with_it(pins: Pins) -> None:
    """Wherever its stream was kept before."""
    batch = [difference("x"), difference("x"), difference("y"), key("x"), difference("x")]
    places = pins.places(batch)
    assert places[:3] == ["a", "a", "b"]
    assert places[3] == places[4]


def test_a_stream_that_was_lost_or_that_nobody_knows_goes_anywhere(
    pins: Pins, there: Known
) -> None:
    pins.forget([difference("x"), PLAIN], sent_to="a")
    there.replicas = frozenset()
    assert pins.places([difference("x"), PLAIN]) == ["", ""]
    assert pins.places([key("z")]) == [""]
    assert pins.places([difference("y")]) == ["b"]


def test_a_call_that_ends_late_does_not_move_a_stream_back(pins: Pins) -> None:
    """A later key frame has moved it from "a" to "b" meanwhile."""
    for replica in "aacc":
        pins.sent(replica)
    assert pins.places([key("x")]) == ["b"]
    pins.forget([difference("x")], sent_to="a")
    pins.hold([difference("x")], "c", sent_to="")
    assert pins.places([difference("x")]) == ["b"]


def test_of_too_many_streams_the_one_of_the_longest_silence_is_forgotten(there: Known) -> None:
    pins = Pins(there, most_streams=2)
    there.replicas = frozenset("a")
    for frame in (key("x"), key("y"), difference("x"), key("z")):
        pins.places([frame])
    there.replicas = frozenset()
    assert [pins.places([difference(stream)]) for stream in "xyz"] == [["a"], [""], ["a"]]


def test_all_who_ask_for_the_replicas_of_a_deployment_are_told_the_same() -> None:
    one = known("an application", "tails")
    assert known("an application", "tails") is one
    assert known("another", "tails") is not one
