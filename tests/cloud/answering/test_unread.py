"""What a device does not read takes memory that frames do not get."""

import pytest
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers
from tests.cloud.wire import Wire, begin, until, wired

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import OverloadedError
from isthmus_cloud.answering.budget import ByteBudget
from isthmus_cloud.answering.unread import Unread
from isthmus_cloud.sessions.sessions import Sessions


def result(sequence: int) -> pb.CloudMessage:
    return pb.CloudMessage(result=pb.Result(sequence=sequence))


def test_what_waits_counts_until_it_is_taken_or_dropped() -> None:
    budget = ByteBudget(10)
    unread = Unread(budget)
    each_bytes = result(1).ByteSize()
    for sequence in (3, 1, 2, 4):
        unread.put(sequence, result(sequence))
    unread.put(4, result(4))  # another in its place
    assert budget.taken_bytes == 4 * each_bytes > 10
    with pytest.raises(OverloadedError):
        budget.take(1)
    unread.drop(1)
    unread.drop(7)
    assert [message.result.sequence for message in iter(unread.take, None)] == [3, 2, 4]
    assert budget.taken_bytes == 0
    unread.put(1, result(1))
    unread.clear()
    assert (len(unread), budget.taken_bytes) == (0, 0)


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
