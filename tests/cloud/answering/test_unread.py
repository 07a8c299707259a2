"""What a device does not read takes memory that frames do not get."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from tests.cloud.device import Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers, fake_tail
from tests.cloud.wire import Wire, begin, until, wired

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import (
    Answerer,
    Batching,
    Desk,
    DeskLimits,
    OverloadedError,
    StreamMemory,
)
from isthmus_cloud.answering.budget import ByteBudget
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.jobs import NEVER_NS
from isthmus_cloud.answering.unread import SHARE, UnreadRoom
from isthmus_cloud.sessions.sessions import Sessions

BIG_BYTES = 8 * 1024


class GreatAnswer:
    """A tail that always answers this."""

    provider = "fake"

    def __init__(self, answer: AnyArray) -> None:
        self._answer = answer

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]:
        return [self._answer]


def result(sequence: int, size_bytes: int = 0) -> pb.CloudMessage:
    outputs = [pb.Tensor(name="x" * size_bytes)] if size_bytes else []
    return pb.CloudMessage(result=pb.Result(sequence=sequence, outputs=outputs))


def test_what_waits_counts_until_it_is_taken_or_dropped() -> None:
    budget = ByteBudget(10)
    unread = UnreadRoom(budget, 10).session()
    each_bytes = result(1).ByteSize()
    for sequence in (3, 1, 2, 4):
        unread.put(sequence, result(sequence))
    unread.put(4, result(4))  # another in its place
    assert budget.taken_bytes == unread.size_bytes == 4 * each_bytes > 10
    with pytest.raises(OverloadedError):
        budget.take(1)
    unread.drop(1)
    unread.drop(7)
    assert [message.result.sequence for message in iter(unread.take, None)] == [3, 2, 4]
    assert budget.taken_bytes == 0
    unread.put(1, result(1))
    unread.clear()
    assert (len(unread), unread.size_bytes, budget.taken_bytes) == (0, 0, 0)


def test_a_session_that_leaves_more_than_its_share_gets_nothing_run() -> None:
    unread = UnreadRoom(ByteBudget(1), SHARE * (BIG_BYTES + 100)).session()
    unread.put(1, result(1, BIG_BYTES))
    unread.check()
    unread.put(2, result(2, BIG_BYTES))
    with pytest.raises(OverloadedError, match=r"answers of 16\d+ bytes were not read"):
        unread.check()
    unread.take()
    unread.check()


def test_those_that_have_most_give_back_their_latest_but_not_what_is_told_next() -> None:
    budget = ByteBudget(1)
    room = UnreadRoom(budget, 1)
    modest, greedy, single = (room.session() for _ in range(3))
    for sequence in (1, 2):
        modest.put(sequence, result(sequence, BIG_BYTES))
    for sequence in (5, 6, 7, 8):
        greedy.put(sequence, result(sequence, BIG_BYTES if sequence != 7 else 0))
    single.put(9, result(9, 8 * BIG_BYTES))
    assert room.excess(0) == []
    assert room.excess(1) == [(greedy, 8)]
    found = room.excess(2 * BIG_BYTES)
    assert found == [(greedy, 8), (greedy, 6), (modest, 2)]
    assert room.excess(3 * BIG_BYTES) == []
    before_bytes = budget.taken_bytes
    for unread, sequence in found:
        unread.shed(sequence)
    assert budget.taken_bytes < before_bytes - 2 * BIG_BYTES
    assert room.excess(1) == []
    told = [message.WhichOneof("kind") for message in iter(greedy.take, None)]
    assert told == ["result", "error", "result", "error"]
    modest.clear()
    single.clear()
    assert (budget.taken_bytes, room.surplus_bytes) == (0, 0)


async def test_a_device_that_does_not_read_closes_the_service_for_nobody() -> None:
    limit_bytes = 8 * BIG_BYTES
    with Desk(DeskLimits(max_bytes_in_flight=limit_bytes)) as desk:
        hoard = desk.unread()
        for sequence in range(1, 9):
            hoard.put(sequence, result(sequence, BIG_BYTES))
        desk.admit("other", 200, NEVER_NS)
        assert desk.bytes_in_flight <= limit_bytes
        kinds = [message.WhichOneof("kind") for message in iter(hoard.take, None)]
        assert kinds == ["result"] * 7 + ["error"]
        assert desk.bytes_in_flight == 200


async def test_answers_that_a_crowd_does_not_read_fit_and_make_room(
    bundle: Bundle, head: Head
) -> None:
    """A frame's answer has its memory from the start: it takes the place of the frame."""
    (probabilities,) = bundle.manifest.outputs
    great = msgspec.structs.replace(probabilities, shape=(1, 25_000), batch_axis=0)
    manifest = msgspec.structs.replace(bundle.manifest, outputs=(great,))
    answer = GreatAnswer(np.zeros((1, 25_000), np.float32))
    tails = {name: fake_tail(manifest, name, answer) for name in ("input", "cut")}
    limit_bytes, memory, refused = 2_500_000, StreamMemory(), 0
    with Desk(DeskLimits(max_bytes_in_flight=limit_bytes), Batching()) as desk:
        answerer = Answerer(manifest, tails, desk)
        crowd = [desk.unread() for _ in range(20)]
        for unread in crowd:
            for sequence in (1, 2):
                try:
                    frame = head.frame("cut-16", sequence)
                    ended = await answerer.begin(frame, 1, 0, memory, unread)
                    unread.put(sequence, pb.CloudMessage(result=ended))
                except OverloadedError:
                    refused += 1
        assert refused == 0  # the first made room for the last
        assert desk.bytes_in_flight <= limit_bytes
        for _ in range(5):
            desk.admit("other", 500, NEVER_NS)
        assert desk.bytes_in_flight <= limit_bytes
        told = [[each.WhichOneof("kind") for each in iter(unread.take, None)] for unread in crowd]
        assert all(kinds in (["result", "result"], ["result", "error"]) for kinds in told)
        assert sum(kinds.count("error") for kinds in told) > 1


async def test_no_frame_that_waits_pays_for_answers_that_nobody_reads(
    answerer: Answers, gate: GatedTail, frames: list[pb.Frame]
) -> None:
    """Each session has a single one, which stays."""
    desk, memory = answerer.desk, StreamMemory()
    begun = [answerer.answerer.begin(frame, 1, 0, memory, "greedy") for frame in frames]
    await gate.begun()
    each_bytes = desk.bytes_in_flight // len(frames)
    unread = desk.unread()
    unread.put(1, result(1, desk.limits.max_bytes_in_flight - desk.bytes_in_flight + each_bytes))
    with pytest.raises(OverloadedError, match="do not fit"):
        desk.admit("other", each_bytes // 2, NEVER_NS)
    assert desk.waiting == len(frames) - 1
    unread.clear()
    gate.open_for_good()
    assert [(await frame).sequence for frame in begun] == [1, 2, 3, 4]


async def test_a_device_that_has_left_too_much_is_told_when_it_reads(
    sessions: Sessions,
    answerer: Answers,
    gate: GatedTail,
    bundle: Bundle,
    frames: list[pb.Frame],
) -> None:
    answerer.desk._unread.share_bytes = 50  # two answers are more
    async with wired(sessions) as wire:
        await begin(wire, bundle, [])
        wire.stall()
        for frame in frames[:3]:
            wire.say(frame=frame)
        await until(lambda: answerer.load().frames_waiting == 2)  # all are let in
        gate.open_for_good()
        await answerer.quiet()
        await until(lambda: answered(wire) == 2)  # one is being written
        wire.say(frame=frames[3])
        await until(lambda: answered(wire) == 3)
        wire.read()
        assert [(await wire.result()).sequence for _ in range(3)] == [1, 2, 3]
        error = await wire.error()
        assert (error.sequence, error.code) == (4, pb.ERROR_CODE_OVERLOADED)
        assert "were not read" in error.message
    assert gate.runs == 3


@pytest.mark.parametrize("way", ["reads", "cancels", "goes", "breaks off"])
async def test_outcomes_of_a_device_that_does_not_read_are_in_the_memory_for_frames(
    sessions: Sessions,
    answerer: Answers,
    gate: GatedTail,
    bundle: Bundle,
    frames: list[pb.Frame],
    way: str,
) -> None:
    async with wired(sessions) as wire:
        await begin(wire, bundle, frames)
        gate.open_for_good()
        wire.stall()
        await answerer.quiet()
        await until(lambda: answered(wire) == len(frames) - 1)  # one is being written
        assert answerer.bytes_in_flight > 3 * 40  # ten numbers each
        match way:
            case "reads":
                wire.read()
                assert [(await wire.result()).sequence for _ in frames] == [1, 2, 3, 4]
            case "cancels":
                wire.say(cancel=pb.Cancel(sequences=[2, 3, 4]))
                await until(lambda: answered(wire) == 0)
            case "goes":
                sessions.end(wire.stream._held)
            case "breaks off":
                await wire.break_off()
        assert answerer.bytes_in_flight == 0


def answered(wire: Wire) -> int:
    return len(wire.stream._held._outcomes)
