"""Who goes next, and who goes together."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.cloud.answering.frames import Jobs, clients_of
from tests.cloud.device import Head

from isthmus import Bundle
from isthmus_cloud.answering.crowd import MOST_OUT
from isthmus_cloud.answering.jobs import NEVER_NS, Job
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.answering.waiting import Waiting
from isthmus_cloud.engines.batch_times import BatchTimes

MS = 1_000_000


def waiting_with(*jobs: Job, joins: bool = True) -> Waiting:
    waiting = Waiting(joins)
    for job in jobs:
        waiting.add(job)
    return waiting


@pytest.fixture
def timed(bundle: Bundle, tails: Mapping[str, Tail], head: Head) -> Jobs:
    """Jobs whose parts take 10 ms for one item, 16 for four; batches of up to four."""
    return Jobs(bundle, with_times(tails), head)


@pytest.fixture
def longer(bundle: Bundle, tails: Mapping[str, Tail], head: Head) -> Jobs:
    """The same with one part more in the tail of the input, which nobody is to run."""
    own = with_times(tails)
    first, *rest = own["input"].parts
    own["input"] = replace(own["input"], parts=(first, replace(first, name="more"), *rest))
    return Jobs(bundle, own, head)


def with_times(tails: Mapping[str, Tail]) -> dict[str, Tail]:
    parts: dict[str, Part] = {}
    for tail in tails.values():
        for part in tail.parts:
            times = BatchTimes((1, 4), (10.0, 16.0))
            parts.setdefault(part.name, replace(part, times=times))
    return {
        name: replace(tail, parts=tuple(parts[part.name] for part in tail.parts), most=4)
        for name, tail in tails.items()
    }


def test_nothing_waits_in_the_beginning() -> None:
    assert Waiting().take(0) == []
    assert len(Waiting()) == 0


async def test_clients_take_turns_whoever_came_first(timed: Jobs) -> None:
    many = [timed.job(client="greedy") for _ in range(6)]
    one = timed.job(client="modest")
    waiting = waiting_with(*many, one)
    assert clients_of(waiting.take(0)) == ["greedy", "modest", "greedy", "greedy"]
    assert clients_of(waiting.take(0)) == ["greedy"] * 3
    assert len(waiting) == 0


async def test_the_most_urgent_frames_of_different_cuts_go_first(timed: Jobs) -> None:
    early = timed.job("input-raw", received_ns=1)
    urgent = timed.job("cut-16", received_ns=2, deadline_ns=500 * MS)
    waiting = waiting_with(early, urgent, joins=False)
    assert waiting.take(0) == [urgent]
    assert waiting.take(0) == [early]


async def test_a_frame_with_a_deadline_passes_those_of_its_client_that_have_none(
    timed: Jobs,
) -> None:
    first, second = timed.job(), timed.job(deadline_ns=100 * MS)
    waiting = waiting_with(first, second)
    assert waiting.take(0) == [second, first]


async def test_frames_of_all_candidates_of_a_cut_are_one_batch(timed: Jobs) -> None:
    fine, coarse = timed.job("cut-256"), timed.job("cut-16")
    assert waiting_with(fine, coarse).take(0) == [fine, coarse]


async def test_a_batch_begins_where_others_can_join_it_on_its_way(longer: Jobs) -> None:
    deep, whole = longer.job("cut-16"), longer.job("input-raw")
    waiting = waiting_with(deep, whole)
    assert waiting.take(0) == [whole]
    own = whole.tail
    assert waiting.joining(own.parts[1:], 3, own, 3) == []  # that is too early
    assert waiting.joining(own.parts[2:], 3, own, 3) == [deep]
    assert waiting.joining(own.parts[2:], 3, own, 3) == []


async def test_an_urgent_frame_does_not_wait_for_a_batch_that_it_could_join(longer: Jobs) -> None:
    """The other way takes 30 ms."""
    urgent = longer.job("cut-16", deadline_ns=25 * MS)
    waiting = waiting_with(urgent, longer.job("input-raw"))
    assert waiting.take(0) == [urgent]


async def test_no_more_join_than_there_is_room_for(timed: Jobs) -> None:
    deep = [timed.job("cut-16", client=number) for number in range(3)]
    waiting = waiting_with(*deep)
    own = timed.job("input-raw").tail
    assert waiting.joining(own.parts[1:], 0, own, 0) == []
    assert waiting.joining(own.parts[1:], 2, own, 0) == deep[:2]
    assert len(waiting) == 1


async def test_no_more_of_a_batchs_own_tail_join_than_pay_for_the_whole_of_it(timed: Jobs) -> None:
    deep = timed.job("cut-16")
    whole = [timed.job("input-raw", client=number) for number in range(3)]
    own = whole[0].tail
    waiting = waiting_with(*whole, deep)
    assert waiting.joining(own.parts[1:], 3, own, 0) == [deep]
    assert waiting.joining(own.parts[1:], 3, own, 0) == []
    assert waiting.joining(own.parts[1:], 3, own, 2) == whole[:2]
    assert waiting.joining(own.parts[1:], 1, own, 2) == whole[2:]


async def test_nothing_joins_where_joins_are_off(timed: Jobs) -> None:
    deep, whole = timed.job("cut-16"), timed.job("input-raw")
    waiting = waiting_with(deep, whole, joins=False)
    assert waiting.take(0) == [deep]
    assert waiting.joining(deep.tail.parts[1:], 3, whole.tail, 3) == []


async def test_a_batch_under_pressure_stays_as_great_as_it_pays(timed: Jobs) -> None:
    """Deadlines are for the beginning; smaller batches would only make more frames late."""
    urgent = timed.job(client=0, deadline_ns=1 * MS)
    others = [timed.job(client=number) for number in (1, 2, 3)]
    assert waiting_with(urgent, *others).take(0) == [urgent, *others]


async def test_turns_are_remembered_between_batches(timed: Jobs) -> None:
    """A batch of one at a time: a client that was served waits for those that were not."""
    jobs = [timed.job(client="greedy", deadline_ns=100 * MS) for _ in range(5)]
    waiting = waiting_with(*jobs)
    assert waiting.take(0) == jobs[:4]
    modest = timed.job(client="modest")
    waiting.add(modest)
    assert waiting.take(0) == [modest, jobs[4]]


async def test_a_client_counts_those_that_go_before_it_by_turns(timed: Jobs) -> None:
    waiting = waiting_with(*(timed.job(client="greedy") for _ in range(300)))
    assert waiting.ahead("modest")[0] == 1
    assert waiting.ahead("greedy")[0] == 300


async def test_a_client_counts_what_the_frames_before_it_take(longer: Jobs) -> None:
    """Four take 16 ms in each part; the whole network has three, what is behind the cut two."""
    whole = [longer.job("input-raw", client="greedy") for _ in range(3)]
    waiting = waiting_with(*whole, longer.job("cut-16", client="modest"))
    assert waiting.ahead("new") == (2, 12 + 8)
    assert waiting.ahead("modest") == (3, 12 + 12 + 8)
    for job in whole:
        waiting.remove(job)
    assert waiting.ahead("new") == (1, 8)


async def test_what_waits_for_a_tail_that_is_forgotten_is_handed_back(timed: Jobs) -> None:
    deep, whole = timed.job("cut-16"), timed.job("input-raw")
    waiting = waiting_with(deep, whole)
    assert waiting.forget(deep.tail) == [deep]
    assert len(waiting) == 1
    assert waiting.take(0) == [whole]
    assert waiting.take(0) == []


async def test_what_is_taken_back_is_not_run(timed: Jobs) -> None:
    first, second = timed.job(), timed.job()
    waiting = waiting_with(first, second)
    assert waiting.remove(first)
    assert not waiting.remove(first)
    assert waiting.take(0) == [second]


async def test_room_is_made_by_the_latest_frame_of_whoever_has_most(timed: Jobs) -> None:
    greedy = [timed.job(client="greedy") for _ in range(4)]
    modest = timed.job(client="modest")
    waiting = waiting_with(*greedy, modest)
    assert waiting.make_room("greedy", 1, 0) == []
    assert waiting.make_room("new", 1, 0) == [greedy[-1]]
    assert waiting.make_room("modest", 1, 0) == [greedy[-2]]
    assert waiting.make_room("modest", 1, 0) == []
    assert len(waiting) == 3
    assert waiting_with(modest).make_room("new", 1, 0) == []


async def test_room_for_bytes_is_made_by_as_many_as_it_takes_or_by_none(timed: Jobs) -> None:
    first = [timed.job(client="first", taken_bytes=100) for _ in range(4)]
    second = [timed.job(client="second", taken_bytes=100) for _ in range(3)]
    waiting = waiting_with(*first, *second)
    assert waiting.make_room("new", 0, 501) == []
    assert len(waiting) == 7
    assert waiting.make_room("new", -1, 250) == [first[3], first[2], second[2]]
    assert waiting.make_room("new", 0, 201) == []
    assert waiting.make_room("new", 0, 200) == [first[1], second[1]]
    assert len(waiting) == 2


async def test_one_frame_never_puts_out_a_crowd(timed: Jobs) -> None:
    jobs = [timed.job(client=number % 20, taken_bytes=100) for number in range(60)]
    waiting = waiting_with(*jobs)
    assert waiting.make_room("new", 0, MOST_OUT * 100 + 1) == []
    assert len(waiting) == 60
    assert waiting.make_room("new", 0, MOST_OUT * 100) == jobs[40 : 40 + MOST_OUT]
    assert len(waiting) == 60 - MOST_OUT


async def test_a_batch_is_held_back_until_it_is_full_or_the_first_has_waited(timed: Jobs) -> None:
    jobs = [timed.job(client=number, received_ns=number * MS) for number in range(4)]
    waiting = waiting_with(*jobs[:3])
    assert waiting.hold_until_ns(5) == 5 * MS
    waiting.add(jobs[3])
    assert waiting.hold_until_ns(5) == 0


async def test_a_batch_is_not_held_back_beyond_a_deadline(timed: Jobs) -> None:
    """Two take 24 ms."""
    waiting = waiting_with(timed.job(received_ns=0, deadline_ns=30 * MS))
    assert waiting.hold_until_ns(100) == 6 * MS
    assert Waiting().hold_until_ns(100) == NEVER_NS


async def test_a_tail_that_takes_single_items_is_never_joined(
    bundle: Bundle, tails: Mapping[str, Tail], head: Head
) -> None:
    """A tensor without a batch axis crosses at its cut."""
    own = with_times(tails)
    own["cut"] = replace(own["cut"], most=1)
    jobs = Jobs(bundle, own, head)
    deep = [jobs.job("cut-16", client=number) for number in range(2)]
    waiting = waiting_with(*deep)
    other = jobs.job("input-raw").tail
    assert waiting.joining(other.parts[1:], 3, other, 3) == []
    assert waiting.take(0) == deep[:1]
