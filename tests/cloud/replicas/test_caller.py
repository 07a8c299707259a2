"""Calls of batches: one for each, another where one is lost, and what cannot be asked again."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import msgspec
import pytest
from tests.cloud.answering.frames import Jobs
from tests.cloud.device import Head
from tests.cloud.replicas.lines import FakeLine, Ran, spec_of

from isthmus import Bundle, KeyFrameNeededError, ModelError, WireError
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.jobs import Job, TooLateError
from isthmus_cloud.answering.packed import Plain
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.replicas import caller as caller_module
from isthmus_cloud.replicas.caller import RETRY_AFTER_MS, TRIES, Caller
from isthmus_cloud.replicas.calls import Outcome, Reply, Run
from isthmus_cloud.replicas.known import Known
from isthmus_cloud.replicas.line import CallLostError
from isthmus_cloud.replicas.runner import Runner
from isthmus_cloud.replicas.settings import CALLS
from isthmus_cloud.telemetry import CallLost, Happening


def nothing() -> None:
    """Happens before a call is lost."""


@pytest.fixture
def happened() -> list[Happening]:
    return []


@pytest.fixture
def line(bundle: Bundle) -> FakeLine:
    return FakeLine(lambda: Runner(spec_of(bundle), lambda _: None))


@pytest.fixture
def known() -> Known:
    known = Known()
    known.replicas = frozenset({"a", "b"})
    return known


@pytest.fixture
def caller(
    line: FakeLine,
    known: Known,
    tails: Mapping[str, Tail],
    happened: list[Happening],
    monkeypatch: pytest.MonkeyPatch,
) -> Caller:
    """Which does not rest between its tries."""
    monkeypatch.setattr(caller_module, "BACKOFF_S", 0.0)
    parts = {part.name: part for tail in tails.values() for part in tail.parts}
    return Caller(line, known, parts, happened.append, joins=True)


@pytest.fixture
async def jobs(bundle: Bundle, tails: Mapping[str, Tail], head: Head, caller: Caller) -> Jobs:
    named = {cut: replace(tail, model="tiny", version="7") for cut, tail in tails.items()}
    return Jobs(bundle, {c: replace(tail, elsewhere=caller) for c, tail in named.items()}, head)


@pytest.fixture
async def ran(caller: Caller, jobs: Jobs) -> Ran:
    return Ran(caller, jobs)


async def test_a_batch_is_one_call_which_those_of_other_cuts_join_beforehand(
    line: FakeLine, jobs: Jobs, ran: Ran
) -> None:
    own = [jobs.job("cut-16", picture) for picture in (0, 1)]
    ran.joiners = [jobs.job("input-raw", 2), jobs.job("cut-256", 3)]
    joined = list(ran.joiners)
    assert ran(*own) == [None] * 4
    (call,) = line.sent
    assert call.replica in {"a", "b"}
    assert sorted(call.candidates) == ["cut-16", "cut-16", "cut-256", "input-raw"]
    assert all(jobs.is_right(job, "cut-16", picture) for picture, job in enumerate(own))
    assert jobs.is_right(joined[0], "input-raw", 2)
    assert jobs.is_right(joined[1], "cut-256", 3)
    assert ran.parts[-1] == ("cloud/tail-1.onnx", 4)
    for job in (*own, *joined):
        assert job.begun_ns < job.decoded_ns
        assert (job.batch, job.run_ms > 0) == (4, True)


@pytest.mark.parametrize("why", ["replicas of one tail", "a tail without batches"])
async def test_where_nothing_can_join_nothing_is_asked(
    caller: Caller, jobs: Jobs, ran: Ran, why: str
) -> None:
    job, other = jobs.job("cut-16"), jobs.job("input-raw")
    if why == "replicas of one tail":
        caller._joins = False
    else:
        job.tail = replace(job.tail, most=1)
    ran.joiners = [other]
    assert list(chain(*caller.run([job], ran._joining, ran._ran))) == [(job, None)]
    assert (ran.joiners, ran.asked) == ([other], 0)


async def test_a_call_that_is_lost_goes_to_another_replica(
    line: FakeLine, jobs: Jobs, ran: Ran, happened: list[Happening]
) -> None:
    line.losses.extend([nothing] * (TRIES - 1))
    batch = [jobs.job("cut-16", 0), jobs.job("cut-16", 1)]
    assert ran(*batch) == [None, None]
    first, *others = [each.replica for each in line.sent]
    assert first in {"a", "b"}
    assert others == [""] * (TRIES - 1)
    assert jobs.is_right(batch[1], "cut-16", 1)
    lost = CallLost(model="tiny", version="7", frames=2, why="the test has lost it")
    assert happened == [lost] * (TRIES - 1)


async def test_a_call_that_cannot_leave_is_lost_like_any_other(
    line: FakeLine, jobs: Jobs, ran: Ran, happened: list[Happening]
) -> None:
    def no_way_out() -> None:
        raise CallLostError("Ray has ended")

    line.on_send.append(no_way_out)
    assert ran(jobs.job()) == [None]
    assert len(line.sent) == 2
    assert happened == [CallLost(model="tiny", version="7", frames=1, why="Ray has ended")]


async def test_after_so_many_losses_a_frame_is_refused_with_a_time_to_come_back(
    line: FakeLine, jobs: Jobs, ran: Ran
) -> None:
    line.losses.extend([nothing] * 10)
    (error,) = ran(jobs.job())
    assert isinstance(error, OverloadedError)
    assert error.retry_after_ms == RETRY_AFTER_MS
    assert len(line.sent) == TRIES


async def test_a_frame_whose_deadline_is_over_is_not_asked_again(
    line: FakeLine, jobs: Jobs, ran: Ran
) -> None:
    late, patient = jobs.job(received_ns=0), jobs.job()

    def passes() -> None:
        late.deadline_ns = 1

    line.losses.append(passes)
    error, none = ran(late, patient)
    assert isinstance(error, TooLateError)
    assert none is None
    assert [len(each.candidates) for each in line.sent] == [2, 1]


async def test_where_there_is_no_time_to_rest_there_is_no_other_try(
    line: FakeLine, jobs: Jobs, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_module, "BACKOFF_S", 3600.0)
    line.losses.append(nothing)
    (error,) = ran(jobs.job(deadline_ns=time.monotonic_ns() + 60 * 10**9))
    assert isinstance(error, OverloadedError)
    assert len(line.sent) == 1


async def test_what_is_too_late_or_given_up_is_not_sent_unless_others_refer_to_it(
    line: FakeLine, jobs: Jobs, ran: Ran, head: Head
) -> None:
    key_frame = head.film("cut-16", 3)[1]
    late, marked = jobs.job(deadline_ns=1), jobs.job(deadline_ns=1, frame=key_frame)
    gone = jobs.job()
    gone.turn.give_up()
    errors = ran(late, marked, gone)
    assert [type(error) for error in errors] == [TooLateError, TooLateError, WireError]
    assert [each.candidates for each in line.sent] == [["cut-16"]]


async def test_differences_go_to_the_replica_that_holds_what_they_refer_to(
    line: FakeLine, known: Known, jobs: Jobs, ran: Ran, head: Head
) -> None:
    """Frames that stand for themselves go along with the fewest of them."""
    films = {name: head.film("cut-16", 4, seed) for seed, name in enumerate("xy")}
    for client, replica in (("x", "a"), ("y", "b")):
        known.replicas = frozenset({replica})
        assert ran(jobs.job(client=client, frame=films[client][1])) == [None]
    known.replicas = frozenset({"a", "b"})
    line.sent.clear()
    batch = [jobs.job(client=name, frame=films[name][2]) for name in "xy"]
    batch.append(jobs.job(client="x", frame=films["x"][3]))
    batch.append(jobs.job("cut-256", client="z"))
    assert ran(*batch) == [None] * 4
    assert sorted((each.replica, sorted(each.candidates)) for each in line.sent) == [
        ("a", ["cut-16", "cut-16"]),
        ("b", ["cut-16", "cut-256"]),
    ]


async def on_both(known: Known, jobs: Jobs, ran: Ran, head: Head) -> list[Job]:
    """A difference to what "a" keeps, and one to what "b" does; a call went to either before."""
    films = {name: head.film("cut-16", 3, seed) for seed, name in enumerate("ab")}
    for name, film in films.items():
        known.replicas = frozenset({name})
        assert ran(jobs.job(client=name, frame=film[1])) == [None]
    known.replicas = frozenset({"a", "b"})
    return [jobs.job(client=name, frame=film[2]) for name, film in films.items()]


async def test_frames_of_one_replica_do_not_wait_for_another_one(
    line: FakeLine, known: Known, jobs: Jobs, ran: Ran, head: Head, caller: Caller
) -> None:
    of_a, of_b = await on_both(known, jobs, ran, head)
    b_has_ended = threading.Event()

    def hang(replica: str) -> None:
        if replica == "a":
            assert b_has_ended.wait(10)

    line.on_reply = hang
    caller.begin([of_a, of_b])
    ended = []
    for ends in caller.run([of_a, of_b], ran._joining, ran._ran):
        ended += [job for job, error in ends if error is None]
        if of_b in ended:
            b_has_ended.set()
    assert ended == [of_b, of_a]


async def test_what_nobody_has_foreseen_of_one_replica_is_not_the_others_affair(
    line: FakeLine, known: Known, jobs: Jobs, ran: Ran, head: Head, caller: Caller
) -> None:
    both = await on_both(known, jobs, ran, head)

    def fail(replica: str) -> None:
        if replica == "a":
            raise RuntimeError("a defect")

    line.on_reply = fail
    error, none = ran(*both)
    assert (type(error), str(error), none) == (RuntimeError, "a defect", None)
    assert not caller._pins._under_way  # or a replica would seem to be busy for ever


async def test_a_difference_follows_its_key_frame_while_that_is_on_its_way(
    line: FakeLine, jobs: Jobs, ran: Ran, head: Head
) -> None:
    """In the batch of another worker."""
    first, second = (jobs.job(frame=frame) for frame in head.film("cut-16", 3)[1:])
    line.on_send.append(lambda: ran(second))
    assert ran(first) == [None]
    assert line.sent[0].replica == line.sent[1].replica != ""


async def test_a_difference_that_is_sent_before_its_key_frame_goes_to_the_same_replica(
    line: FakeLine, caller: Caller, jobs: Jobs, ran: Ran, head: Head
) -> None:
    """Workers overtake each other once each has its batch."""
    first, second = (jobs.job(frame=frame) for frame in head.film("cut-16", 3)[1:])
    for job in (first, second):
        caller.begin([job])
    for job in (second, first):
        assert len(list(chain(*caller.run([job], ran._joining, ran._ran)))) == 1
    assert line.sent[0].replica == line.sent[1].replica != ""


async def test_with_a_replica_goes_what_differences_refer_to_and_nothing_else(
    line: FakeLine, known: Known, jobs: Jobs, ran: Ran, head: Head
) -> None:
    film = head.film("cut-16", 4)
    known.replicas = frozenset({"a"})
    assert ran(jobs.job(frame=film[1])) == [None]
    line.losses.append(lambda: line.gone.add("a"))
    error, none = ran(jobs.job(frame=film[2]), jobs.job("cut-256", 1, client="z"))
    assert isinstance(error, KeyFrameNeededError)
    assert none is None
    assert [each.replica for each in line.sent] == ["a", "a", ""]
    known.replicas = frozenset({"b"})
    (error,) = ran(jobs.job(frame=film[3]))
    assert isinstance(error, KeyFrameNeededError)
    assert line.sent[-1].replica == "b"  # not where it was
    known.replicas = frozenset({"a"})
    again = head.film("cut-16", 3, seed=1)
    assert ran(jobs.job(frame=again[1])) == [None]
    assert ran(jobs.job(frame=again[2])) == [None]
    assert line.sent[-1].replica == "b"  # where it was decoded in truth


async def test_a_key_frame_that_is_lost_with_its_replica_is_asked_again(
    line: FakeLine, known: Known, jobs: Jobs, ran: Ran, head: Head
) -> None:
    film = head.film("cut-16", 3)
    known.replicas = frozenset({"a"})
    line.losses.append(lambda: line.gone.add("a"))
    assert ran(jobs.job(frame=film[1])) == [None]
    assert ran(jobs.job(frame=film[2])) == [None]
    assert [each.replica for each in line.sent] == ["a", "", "b"]


@pytest.mark.parametrize("count", [1, 3])
async def test_a_reply_to_another_number_of_frames_is_no_answer_to_any(
    line: FakeLine, jobs: Jobs, ran: Ran, count: int
) -> None:
    line.replies.append(msgspec.msgpack.encode(Reply("a", [Outcome()] * count, [])))
    errors = ran(jobs.job(), jobs.job())
    assert [type(error) for error in errors] == [ModelError, ModelError]
    assert str(errors[0]) == f"a replica gives {count} answers to 2 frames"
    assert len(line.sent) == 1


@pytest.mark.parametrize("reply", [b"", b"\xc1", msgspec.msgpack.encode(["a", 7, []])])
async def test_what_is_no_reply_is_no_answer(
    line: FakeLine, jobs: Jobs, ran: Ran, reply: bytes
) -> None:
    line.replies.append(reply)
    (error,) = ran(jobs.job())
    assert isinstance(error, ModelError)
    assert "a replica answers what is no reply" in str(error)


async def test_a_tensor_that_does_not_fit_its_shape_is_that_frames_error(
    line: FakeLine, jobs: Jobs, ran: Ran
) -> None:
    wrong = Outcome({"probabilities": Plain("float32", (2, 3), b"four")})
    line.replies.append(msgspec.msgpack.encode(Reply("a", [wrong, Outcome()], [])))
    error, none = ran(jobs.job(), jobs.job())
    assert isinstance(error, ModelError)
    assert "a replica's answer cannot be read: 4 bytes are no float32 [2, 3]" in str(error)
    assert none is None


@pytest.mark.parametrize("place", [-1, 1])
async def test_a_run_of_frames_that_were_not_sent_is_no_answer(
    line: FakeLine, jobs: Jobs, ran: Ran, place: int
) -> None:
    line.replies.append(msgspec.msgpack.encode(Reply("a", [Outcome()], [Run("x", [place], 1.0)])))
    (error,) = ran(jobs.job())
    assert isinstance(error, ModelError)
    assert "which it was not sent" in str(error)


async def test_what_a_replica_finds_wrong_with_a_frame_is_that_frames_error(
    jobs: Jobs, ran: Ran, head: Head
) -> None:
    damaged = head.frame("cut-16")
    damaged.payloads[0].data = b"damaged"
    error, none = ran(jobs.job(frame=damaged), jobs.job())
    assert isinstance(error, WireError)
    assert "'boundary'" in str(error)
    assert none is None


def test_each_replica_is_given_two_batches_and_one_that_nobody_knows_of_too(
    caller: Caller, known: Known
) -> None:
    for replicas, at_once in ((frozenset(), 1), (frozenset("abc"), 3)):
        known.replicas = replicas
        assert (caller.replicas, caller.at_once) == (len(replicas), at_once)
        for _ in range(CALLS * at_once):
            assert caller.is_free
            caller.begin(())
        assert not caller.is_free
        for _ in range(CALLS * at_once):
            caller.end()
        assert caller.is_free
