"""What crosses between a front end and a replica, and back."""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.cloud.device import Head

from isthmus import Bundle, IsthmusError, KeyFrameNeededError, ModelError, SymbolCoder, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import StreamMemory, TooLateError
from isthmus_cloud.answering.chain import MOST_MARKS
from isthmus_cloud.answering.items import Item
from isthmus_cloud.answering.memory import Turn
from isthmus_cloud.answering.packed import Packed, Plain
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.routes import Route, routes_of
from isthmus_cloud.replicas.calls import Problem, error_of, problem_of

ARRAYS: Mapping[str, NDArray[np.generic]] = {
    "bytes": np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
    "halves": np.array([[0.5, np.nan]], np.float16),
    "bits": np.array([True, False]),
    "nothing": np.empty((0, 4), np.float32),
    "one": np.array(7, np.int64),
    "not in C order": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_tensor_comes_out_as_it_went_in(name: str) -> None:
    array = ARRAYS[name]
    crossed = msgspec.msgpack.decode(msgspec.msgpack.encode(Plain.of(array)), type=Plain)
    back = crossed.array()
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize(
    "plain",
    [
        Plain("uint8", (4,), b"12345"),
        Plain("float32", (1,), b"123"),
        Plain("uint8", (-1, 3), b"1234"),
        Plain("no type", (1,), b"1"),
        Plain("object", (1,), bytes(8)),
    ],
    ids=str,
)
def test_bytes_that_are_no_such_tensor_are_refused(plain: Plain) -> None:
    with pytest.raises(WireError, match="bytes are no"):
        plain.array()


@pytest.fixture
def route(bundle: Bundle, tails: Mapping[str, Tail]) -> Route:
    return routes_of(bundle.manifest, tails)["cut-16"]


def test_a_frame_crosses_as_its_device_has_sent_it(route: Route, head: Head) -> None:
    """With the name of its stream where it refers to that, or is referred to."""
    memory, other = StreamMemory(), StreamMemory()
    film = head.film("cut-16", 3)
    packed = [memory.turn(route, frame).packed() for frame in film]
    assert packed == [
        Packed("cut-16", film[0].SerializeToString()),
        Packed("cut-16", film[1].SerializeToString(), {}, memory.name, film[1].mark),
        Packed(
            *("cut-16", film[2].SerializeToString(), {}, memory.name),
            *(film[2].mark, film[2].reference),
        ),
    ]
    assert other.turn(route, film[1]).packed().stream not in {"", memory.name}


def test_a_frame_that_was_decoded_or_given_up_is_not_there_to_be_packed(
    route: Route, head: Head
) -> None:
    film = head.film("cut-16", 2)
    decoded, given_up = (StreamMemory().turn(route, film[1]) for _ in range(2))
    decoded.decode(SymbolCoder())
    given_up.give_up()
    for turn in (decoded, given_up):
        with pytest.raises(WireError, match="nobody waits for it"):
            turn.packed()


def differs_from_nothing(turn: Turn) -> bool:
    """Whether it is refused for want of its reference, before it is sent anywhere."""
    try:
        turn.packed()
    except KeyFrameNeededError:
        return True
    return False


def test_a_difference_to_what_has_not_come_is_not_sent_nor_what_refers_to_it(
    route: Route, head: Head
) -> None:
    memory = StreamMemory()
    film = head.film("cut-16", 6)
    turns = [memory.turn(route, film[index]) for index in (1, 3, 4)]
    assert [differs_from_nothing(turn) for turn in turns] == [False, True, True]
    turns = [memory.turn(route, film[index]) for index in (2, 3, 4)]  # as if the first had not been
    assert [differs_from_nothing(turn) for turn in turns] == [False, False, False]
    older = pb.Frame()
    older.CopyFrom(film[5])
    older.reference = film[1].mark
    assert not differs_from_nothing(memory.turn(route, older))


def test_a_difference_to_an_older_frame_is_sent_for_that_one_may_be_kept_still(
    route: Route, head: Head
) -> None:
    memory = StreamMemory()
    film = head.film("cut-16", 4)
    for frame in (*film[1:], film[2]):
        assert not differs_from_nothing(memory.turn(route, frame))


def test_what_was_given_up_before_it_was_sent_is_nothing_to_refer_to_until_a_key_frame(
    route: Route, head: Head
) -> None:
    memory = StreamMemory()
    film, later = head.film("cut-16", 5), head.film("cut-16", 3, seed=1)
    sent, given_up, *after = (memory.turn(route, frame) for frame in film[1:])
    sent.packed()
    sent.give_up()  # it is over
    given_up.give_up()
    key_frame = memory.turn(route, later[1])
    assert all(map(differs_from_nothing, after))
    assert not differs_from_nothing(key_frame)
    assert not differs_from_nothing(memory.turn(route, later[2]))


def test_a_stream_without_key_frames_remembers_few_marks(route: Route, head: Head) -> None:
    memory = StreamMemory()
    difference = head.film("cut-16", 3)[2]
    for mark in range(1, 1000):
        difference.mark = mark
        memory.turn(route, difference).give_up()
    assert sum(map(memory.has, range(1000))) == MOST_MARKS


def test_an_item_crosses_as_its_tensors(tails: Mapping[str, Tail], head: Head) -> None:
    packed = Item(tails["input"].cut, {"picture": head.pictures[0]}).packed()
    assert (packed.candidate, packed.frame, packed.stream) == ("", b"", "")
    assert np.array_equal(packed.tensors["picture"].array(), head.pictures[0])


@pytest.mark.parametrize("kind", [KeyFrameNeededError, WireError, TooLateError, ModelError])
def test_an_error_is_on_this_side_what_it_was_on_that(kind: Callable[[str], IsthmusError]) -> None:
    back = error_of(problem_of(kind("what was wrong")))
    assert (type(back), str(back)) == (kind, "what was wrong")


def test_what_nobody_has_foreseen_is_a_failure_of_the_replica() -> None:
    back = error_of(problem_of(ZeroDivisionError("by zero")))
    assert (type(back), str(back)) == (ModelError, "ZeroDivisionError: by zero")
    assert type(error_of(Problem("of a later release", "x"))) is ModelError
