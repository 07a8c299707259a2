"""Frames of one stream are decoded in order of arrival, whichever worker comes first."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
from tests.cloud.device import Head

from isthmus import Bundle, KeyFrameNeededError, SymbolCoder, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import StreamMemory
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.memory import Turn
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.routes import Route, routes_of


@pytest.fixture(scope="module")
def route(bundle: Bundle, tails: Mapping[str, Tail]) -> Route:
    return routes_of(bundle.manifest, tails)["cut-16"]


@pytest.fixture(scope="module")
def film(head: Head) -> list[pb.Frame]:
    """One frame alone, one that is marked, then differences."""
    return head.film("cut-16", frames=5)


@pytest.fixture(scope="module")
def in_order(route: Route, film: list[pb.Frame]) -> list[AnyArray]:
    """The tensors of the film, decoded one by one."""
    kept, tensors = None, []
    for frame in film:
        (tensor,), kept = route.decode(frame, SymbolCoder(), kept)
        tensors.append(tensor)
    return tensors


def turns_of(memory: StreamMemory, route: Route, frames: list[pb.Frame]) -> list[Turn]:
    return [memory.turn(route, frame) for frame in frames]


def test_the_film_has_differences_to_differences(film: list[pb.Frame]) -> None:
    assert [frame.reference > 0 for frame in film] == [False, False, True, True, True]
    assert [frame.reference for frame in film[2:]] == [frame.mark for frame in film[1:-1]]


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])), ids=str)
def test_workers_may_come_in_any_order(
    route: Route, film: list[pb.Frame], in_order: list[AnyArray], order: tuple[int, ...]
) -> None:
    memory, coder = StreamMemory(), SymbolCoder()
    turns = turns_of(memory, route, film)
    for index in order:
        assert np.array_equal(memory.decode(turns[index], coder)[0], in_order[index])


def test_many_workers_at_once_decode_each_frame_rightly(route: Route, head: Head) -> None:
    film = head.film("cut-16", frames=120, seed=1)
    kept, expected = None, []
    for frame in film:
        (tensor,), kept = route.decode(frame, SymbolCoder(), kept)
        expected.append(tensor)
    memory = StreamMemory()
    turns = turns_of(memory, route, film)
    with ThreadPoolExecutor(4) as workers:
        decoded = list(workers.map(lambda turn: memory.decode(turn, SymbolCoder()), turns))
    for (tensor,), right in zip(decoded, expected, strict=True):
        assert np.array_equal(tensor, right)


def test_a_frame_that_stands_for_itself_waits_for_nobody(
    route: Route, film: list[pb.Frame], head: Head, in_order: list[AnyArray]
) -> None:
    memory, coder = StreamMemory(), SymbolCoder()
    turns = turns_of(memory, route, [*film[1:3], film[0], film[3]])
    assert np.array_equal(memory.decode(turns[2], coder)[0], in_order[0])
    assert [turn.frame is None for turn in turns[:2]] == [False, False]
    assert np.array_equal(memory.decode(turns[3], coder)[0], in_order[3])


def test_the_error_of_one_frame_is_raised_to_its_own_worker(
    route: Route, film: list[pb.Frame], in_order: list[AnyArray]
) -> None:
    broken = pb.Frame()
    broken.CopyFrom(film[2])
    broken.payloads[0].data = b"broken"
    memory, coder = StreamMemory(), SymbolCoder()
    turns = turns_of(memory, route, [film[1], broken, film[2], film[3]])
    assert np.array_equal(memory.decode(turns[3], coder)[0], in_order[3])
    with pytest.raises(WireError, match="'boundary'"):
        memory.decode(turns[1], coder)
    assert np.array_equal(memory.decode(turns[2], coder)[0], in_order[2])


def test_a_frame_that_was_given_up_is_not_decoded_and_what_refers_to_it_says_so(
    route: Route, film: list[pb.Frame], in_order: list[AnyArray]
) -> None:
    memory, coder = StreamMemory(), SymbolCoder()
    turns = turns_of(memory, route, film)
    turns[2].give_up()
    with pytest.raises(KeyFrameNeededError):
        memory.decode(turns[3], coder)
    assert np.array_equal(memory.decode(turns[1], coder)[0], in_order[1])


def test_what_is_given_up_leaves_the_line_and_the_others_keep_their_order(
    route: Route, film: list[pb.Frame], in_order: list[AnyArray]
) -> None:
    memory, coder = StreamMemory(), SymbolCoder()
    kept, *others = turns_of(memory, route, film[1:4])
    for _ in range(100):
        memory.turn(route, film[4]).give_up()
    last = memory.turn(route, film[4])
    assert len(memory._line) == 4
    assert np.array_equal(memory.decode(last, coder)[0], in_order[4])
    for turn, expected in zip((*others, kept), (*in_order[2:4], in_order[1]), strict=True):
        assert np.array_equal(memory.decode(turn, coder)[0], expected)


def test_a_refused_frame_is_not_held_by_its_own_error(route: Route, film: list[pb.Frame]) -> None:
    """Error, traceback and turn must be no circle: what it holds would outlive the answer."""
    memory = StreamMemory()
    turn = memory.turn(route, film[3])
    with pytest.raises(KeyFrameNeededError):
        memory.decode(turn, SymbolCoder())
    assert (turn.frame, turn.error) == (None, None)
