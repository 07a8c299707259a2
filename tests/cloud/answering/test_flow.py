"""Batches of real tails: each frame's answer is that which it has by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.cloud.answering.frames import Jobs
from tests.cloud.device import Head

from isthmus import Bundle, ModelError, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering import decoding
from isthmus_cloud.answering.decoding import Decoder
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.flow import Flow
from isthmus_cloud.answering.jobs import Job, TooLateError
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.engines.batch_times import BatchTimes
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.seam import Program, Value


class Runs:
    """Notes what was run, and lets frames join that the test has put here."""

    def __init__(self) -> None:
        self.sizes: list[tuple[str, int]] = []
        self.joiners: list[Job] = []
        self.own: list[tuple[Tail, int]] = []  # and how many of it were to join, each time
        self.most: list[int] = []  # how many were to join at all

    def ran(self, part: Part, jobs: Sequence[Job], took_ms: float) -> None:
        assert took_ms > 0
        self.sizes.append((part.name, len(jobs)))

    def joining(self, rest: Sequence[Part], most: int, own: Tail, most_own: int) -> list[Job]:
        self.own.append((own, most_own))
        self.most.append(most)
        able = [job for job in self.joiners if job.tail.entry_to(rest) is not None][:most]
        self.joiners = [job for job in self.joiners if job not in able]
        return able


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def timed(bundle: Bundle, tails: Mapping[str, Tail], head: Head) -> Jobs:
    """Jobs of up to four in a batch; in the first part of the whole way no more than two pay."""
    whole = tails["input"]
    ms = {whole.parts[0].name: (10.0, 15.0, 40.0)}
    timed = {
        part: replace(part, times=BatchTimes((1, 2, 4), ms.get(part.name, (1.0, 1.0, 1.0))))
        for tail in tails.values()
        for part in tail.parts
    }
    own = {
        name: replace(tail, parts=tuple(timed[part] for part in tail.parts), most=4)
        for name, tail in tails.items()
    }
    return Jobs(bundle, own, head)


@pytest.fixture
def flow(runs: Runs) -> Iterator[Flow[Job]]:
    decoder = Decoder(helpers=2)
    yield Flow(decoder, runs.joining, runs.ran)
    decoder.close()


@pytest.fixture(params=[0, 1 << 30], ids=["side by side", "one after the other"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However frames are decoded."""
    monkeypatch.setattr(decoding, "PARALLEL_BYTES", request.param)


def ends(flow: Flow[Job], jobs: Sequence[Job]) -> dict[Job, Exception | None]:
    """What became of each; none ends twice."""
    done = list(flow.run(jobs))
    assert len({job for job, _ in done}) == len(done)
    return dict(done)


class FailsOn:
    """A program that fails on a batch of which one item has this output, any shape."""

    def __init__(self, program: Program, poison: np.ndarray) -> None:
        self._program = program
        self._poison = poison.reshape(-1)
        self.inputs, self.outputs, self.sizes = program.inputs, program.outputs, program.sizes

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        outputs = self._program.run(feeds)
        items = np.asarray(outputs[0]).reshape(-1, self._poison.size)
        if np.isclose(items, self._poison, atol=1e-6).all(axis=1).any():
            raise ModelError("poisoned")
        return outputs


class TakesFour:
    """A program of batches of four, as an engine with fixed sizes has them."""

    sizes = (4,)

    def __init__(self, program: Program) -> None:
        self._program = program
        self.inputs, self.outputs = program.inputs, program.outputs

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        assert {len(np.asarray(value)) for value in feeds.values()} == {4}
        return self._program.run(feeds)


@pytest.mark.usefixtures("both_ways")
async def test_a_batch_of_different_steps_and_pictures_answers_each_frame(
    flow: Flow[Job], runs: Runs, jobs: Jobs
) -> None:
    asked = [("cut-16", 0), ("cut-256", 1), ("cut-16", 2), ("cut-256", 3), ("cut-16", 4)]
    batch = [jobs.job(candidate, picture, client=picture) for candidate, picture in asked]
    assert ends(flow, batch) == dict.fromkeys(batch)
    for job, (candidate, picture) in zip(batch, asked, strict=True):
        assert jobs.is_right(job, candidate, picture)
        assert job.batch == 5
    assert runs.sizes == [("cloud/entry-cut.onnx", 5), ("cloud/tail-1.onnx", 5)]


async def test_frames_cut_deeper_join_on_the_way(flow: Flow[Job], runs: Runs, jobs: Jobs) -> None:
    whole = [jobs.job("input-raw", 0, client=0), jobs.job("input-jpeg-q95", 1, client=1)]
    runs.joiners = deep = [jobs.job("cut-16", picture, client=picture) for picture in (2, 3, 4)]
    assert ends(flow, whole) == dict.fromkeys([*whole, *deep])
    for picture, job in enumerate([*whole, *deep]):
        candidate = ("input-raw", "input-jpeg-q95", "cut-16")[min(picture, 2)]
        assert jobs.is_right(job, candidate, picture)
    assert runs.sizes == [
        ("cloud/tail-0.onnx", 2),
        ("cloud/entry-cut.onnx", 3),
        ("cloud/tail-1.onnx", 5),
    ]


async def test_frames_join_one_that_came_alone(flow: Flow[Job], runs: Runs, jobs: Jobs) -> None:
    whole = jobs.job("input-raw", 0)
    runs.joiners = [jobs.job("cut-256", 1, client="other")]
    deep = runs.joiners[0]
    assert ends(flow, [whole]) == {whole: None, deep: None}
    assert jobs.is_right(whole, "input-raw", 0)
    assert jobs.is_right(deep, "cut-256", 1)


async def test_frames_of_its_own_tail_join_until_it_has_as_many_as_pay(
    flow: Flow[Job], runs: Runs, timed: Jobs
) -> None:
    """Of the whole way fewer pay than of what is left of it."""
    first, own, deep = timed.job("input-raw", 0), timed.job("input-raw", 1), timed.job("cut-16", 2)
    pay, fit = first.tail.most_from(0), first.tail.most_from(1)
    assert 2 <= pay < fit
    runs.joiners = [own]
    assert ends(flow, [first]) == {first: None, own: None}
    assert runs.own == [(first.tail, pay - 1), (first.tail, pay - 2)]
    assert runs.most == [fit - 1, fit - 2]
    runs.joiners, runs.own, runs.most = [deep], [], []
    full = [timed.job("input-raw", number, client=number) for number in range(pay)]
    assert set(ends(flow, full)) == {*full, deep}
    assert (runs.own[0], runs.most[0]) == ((first.tail, 0), fit - pay)


@pytest.mark.usefixtures("both_ways")
async def test_a_frame_that_cannot_be_decoded_fails_alone(
    flow: Flow[Job], runs: Runs, jobs: Jobs, head: Head
) -> None:
    bad = pb.Frame()
    bad.CopyFrom(head.frame("cut-16", 1, 1))
    bad.payloads[0].data = b"no symbols"
    batch = [jobs.job(picture=0), jobs.job(frame=bad, client="bad"), jobs.job(picture=2)]
    done = ends(flow, batch)
    assert isinstance(done[batch[1]], WireError)
    assert jobs.is_right(batch[0], "cut-16", 0)
    assert jobs.is_right(batch[2], "cut-16", 2)
    assert runs.sizes[0] == ("cloud/entry-cut.onnx", 2)


async def test_a_newcomer_that_cannot_be_decoded_does_not_stop_the_batch(
    flow: Flow[Job], runs: Runs, jobs: Jobs, head: Head
) -> None:
    bad = pb.Frame()
    bad.CopyFrom(head.frame("cut-16", 1, 1))
    bad.payloads[0].data = b"no symbols"
    whole = jobs.job("input-raw", 0)
    runs.joiners = [jobs.job(frame=bad, client="bad")]
    (newcomer,) = runs.joiners
    done = ends(flow, [whole])
    assert isinstance(done[newcomer], WireError)
    assert jobs.is_right(whole, "input-raw", 0)


async def test_a_late_frame_is_not_run(flow: Flow[Job], jobs: Jobs) -> None:
    late, fine = jobs.job(deadline_ns=1), jobs.job(picture=1)
    done = ends(flow, [late, fine])
    assert isinstance(done[late], TooLateError)
    assert jobs.is_right(fine, "cut-16", 1)


async def test_a_frame_on_which_the_tail_fails_fails_alone(
    flow: Flow[Job], runs: Runs, bundle: Bundle, tails: Mapping[str, Tail], head: Head
) -> None:
    jobs = Jobs(bundle, tails, head)
    sample = jobs.job(picture=3)
    ends(flow, [sample])
    poison = sample.outputs["probabilities"][0]
    cut = tails["cut"]
    last = replace(cut.parts[1], program=FailsOn(cut.parts[1].program, poison))
    poisoned = Jobs(bundle, {**tails, "cut": replace(cut, parts=(cut.parts[0], last))}, head)
    batch = [poisoned.job(picture=picture, client=picture) for picture in range(6)]
    done = ends(flow, batch)
    failed = [job for job, error in done.items() if error is not None]
    assert failed == [batch[3]]
    assert isinstance(done[batch[3]], ModelError)
    assert all(poisoned.is_right(batch[p], "cut-16", p) for p in (0, 1, 2, 4, 5))


async def test_a_newcomer_on_whose_entry_the_tail_fails_fails_alone(
    flow: Flow[Job], runs: Runs, bundle: Bundle, tails: Mapping[str, Tail], head: Head
) -> None:
    cut = tails["cut"]
    sample = Jobs(bundle, tails, head).job("cut-256", 3)
    whole = cut.parts[0].program.run(Decoder(0).batch([sample])[0][1])
    entry = replace(cut.parts[0], program=FailsOn(cut.parts[0].program, np.asarray(whole[0])[0]))
    last = replace(cut.parts[1], times=BatchTimes((1, 8), (1.0, 1.1)))  # a batch always pays
    own = {
        "cut": replace(cut, parts=(entry, last)),
        "input": replace(tails["input"], parts=(tails["input"].parts[0], last)),
    }
    poisoned = Jobs(bundle, own, head)
    batch = [poisoned.job("input-raw", 0)]
    joiners = [poisoned.job("cut-256", picture, client=picture) for picture in range(5)]
    runs.joiners = list(joiners)
    done = ends(flow, batch)
    assert [job for job, error in done.items() if error is not None] == [joiners[3]]
    assert isinstance(done[joiners[3]], ModelError)
    assert all(poisoned.is_right(joiners[p], "cut-256", p) for p in (0, 1, 2, 4))
    assert poisoned.is_right(batch[0], "input-raw", 0)


async def test_a_divided_batch_is_joined_by_nobody(
    flow: Flow[Job], runs: Runs, bundle: Bundle, tails: Mapping[str, Tail], head: Head
) -> None:
    """Or a stream of poison would make it greater again and again."""
    sample = Jobs(bundle, tails, head).job("input-raw", 3)
    ends(flow, [sample])
    shared = tails["input"].parts[1]

    class Later(FailsOn):
        """Another frame comes when a batch has failed."""

        def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
            try:
                return super().run(feeds)
            except ModelError:
                runs.joiners = [late]
                raise

    last = replace(shared, program=Later(shared.program, sample.outputs["probabilities"]))
    own = {name: replace(tails[name], parts=(tails[name].parts[0], last)) for name in tails}
    poisoned = Jobs(bundle, own, head)
    batch = [poisoned.job("input-raw", picture, client=picture) for picture in (2, 3)]
    late = poisoned.job("cut-256", 1)
    done = ends(flow, batch)
    assert late not in done
    assert [job for job, error in done.items() if error is not None] == [batch[1]]


async def test_a_batch_is_padded_to_a_size_that_the_engine_takes(
    flow: Flow[Job], bundle: Bundle, tails: Mapping[str, Tail], head: Head
) -> None:
    cut = tails["cut"]
    fixed = tuple(replace(part, program=TakesFour(part.program)) for part in cut.parts)
    jobs = Jobs(bundle, {**tails, "cut": replace(cut, parts=fixed)}, head)
    batch = [jobs.job(picture=picture, client=picture) for picture in range(3)]
    assert ends(flow, batch) == dict.fromkeys(batch)
    assert all(jobs.is_right(job, "cut-16", picture) for picture, job in enumerate(batch))
    assert {job.batch for job in batch} == {3}


async def test_newcomers_that_cannot_be_divided_fail_and_the_batch_goes_on(
    flow: Flow[Job], runs: Runs, bundle: Bundle, tails: Mapping[str, Tail], head: Head
) -> None:
    """What there is of them lies in a device's memory that cannot be read any more."""

    class Unreadable(OrtEngine):
        def to_host(self, value: Value) -> AnyArray:
            raise ModelError("the device is lost")

    class Fails:
        def __init__(self, program: Program) -> None:
            self.inputs, self.outputs, self.sizes = program.inputs, program.outputs, program.sizes

        def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
            raise ModelError("the entry fails")

    entry, last = tails["cut"].parts
    lost = replace(
        tails["cut"],
        engine=Unreadable(Cores(1)),
        parts=(replace(entry, program=Fails(entry.program)), last),
    )
    jobs = Jobs(bundle, {**tails, "cut": lost}, head)
    whole = jobs.job("input-raw", 0)
    runs.joiners = newcomers = [jobs.job("cut-16", picture, client=picture) for picture in (1, 2)]
    done = ends(flow, [whole])
    assert [str(done[job]) for job in newcomers] == ["the device is lost"] * 2
    assert done[whole] is None
    assert jobs.is_right(whole, "input-raw", 0)


async def test_a_deadline_that_was_over_as_it_came_is_none_of_minus_some_ms(jobs: Jobs) -> None:
    late = jobs.job(received_ns=5_000_000, deadline_ns=4_600_000).lateness(6_000_000)
    assert str(late) == (
        "the frame waited 1 ms for a worker, its deadline was 0 ms; it was not run"
    )
