"""The seam of the audits: what the auditor is given, and that every audit ends in a verdict."""

import asyncio

import pytest
from tests.cloud.device import Device, Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import Answers
from tests.cloud.wire import hello, new_sessions, settled, until, wired

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.audits.audited import MOST_AUDITED
from isthmus_cloud.audits.auditing import Answered
from isthmus_cloud.sessions.sessions import Sessions


class Recorder:
    """Agrees with everything that it is given, when it is told to."""

    def __init__(self, agrees: bool = True) -> None:
        self.given: list[tuple[int, pb.Result | None]] = []
        self.stopped = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._agrees = agrees

    async def check(self, audit: pb.Audit, answered: Answered) -> pb.Verdict:
        self.given.append((audit.sequence, await answered(audit.sequence)))
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if not self._agrees:
            raise RuntimeError("secret of the house")
        return pb.Verdict(sequence=audit.sequence, compared=True, agrees=True)


@pytest.fixture
def auditor() -> Recorder:
    return Recorder()


@pytest.fixture
def audited(bundle: Bundle, answerer: Answers, gate: GatedTail, auditor: Recorder) -> Sessions:
    """Sessions of a service whose worker is free, with an auditor."""
    gate.open_for_good()
    return new_sessions(bundle, answerer, auditor=auditor)


def to_audit(head: Head, sequence: int) -> pb.Frame:
    frame = head.frame("cut-16", sequence)
    frame.audited = True
    return frame


def audit_of(head: Head, sequence: int) -> pb.Audit:
    return pb.Audit(sequence=sequence, input=head.frame("input-raw"))


async def test_a_service_that_does_not_audit_says_so(device: Device, head: Head) -> None:
    await device.send(frame=to_audit(head, 1))
    await device.result()
    for _ in range(2):
        await device.send(audit=audit_of(head, 1))
        verdict = (await device.receive()).verdict
        assert (verdict.sequence, verdict.compared) == (1, False)
        assert verdict.reason == "this service does not audit"


async def test_the_auditor_is_given_the_answer_that_the_device_got(
    bundle: Bundle, audited: Sessions, auditor: Recorder, head: Head
) -> None:
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=to_audit(head, 1))
        answered = await wire.result()
        wire.say(audit=audit_of(head, 1))
        verdict = (await wire.receive()).verdict
    assert (verdict.sequence, verdict.compared, verdict.agrees) == (1, True, True)
    assert auditor.given == [(1, answered)]


async def test_an_audit_waits_for_the_answer_of_its_frame(
    bundle: Bundle, answerer: Answers, gate: GatedTail, auditor: Recorder, head: Head
) -> None:
    async with wired(new_sessions(bundle, answerer, auditor=auditor)) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=to_audit(head, 1))
        wire.say(audit=audit_of(head, 1))
        await gate.begun()
        await wire.roundtrip()
        assert auditor.given == []
        gate.open_for_good()
        answered = await wire.result()
        assert (await wire.receive()).verdict.compared
    assert auditor.given == [(1, answered)]


async def test_answers_are_remembered_only_where_an_audit_follows_and_only_a_few(
    bundle: Bundle, audited: Sessions, auditor: Recorder, head: Head
) -> None:
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=head.frame("cut-16", 1))
        await wire.result()
        for sequence in range(2, MOST_AUDITED + 3):
            wire.say(frame=to_audit(head, sequence))
            await wire.result()
        for sequence in (1, 2, 3, 3):
            wire.say(audit=audit_of(head, sequence))
            await wire.receive()
    remembered = [(sequence, answered is not None) for sequence, answered in auditor.given]
    assert remembered == [(1, False), (2, False), (3, True), (3, False)]


async def test_one_audit_at_a_time_and_frames_do_not_wait_for_it(
    bundle: Bundle, audited: Sessions, auditor: Recorder, head: Head
) -> None:
    auditor.may_answer.clear()
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(audit=audit_of(head, 1))
        wire.say(audit=audit_of(head, 2))
        refused = (await wire.receive()).verdict
        assert (refused.sequence, refused.compared) == (2, False)
        wire.say(frame=head.frame("cut-16", 1))
        assert (await wire.result()).sequence == 1
        auditor.may_answer.set()
        assert (await wire.receive()).verdict.sequence == 1
    assert len(auditor.given) == 1


async def test_an_auditor_that_fails_is_no_reason_to_be_silent(
    bundle: Bundle, answerer: Answers, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = new_sessions(bundle, answerer, auditor=Recorder(agrees=False))
    async with wired(sessions) as wire:
        await wire.greet(hello(bundle))
        wire.say(audit=audit_of(head, 1))
        verdict = (await wire.receive()).verdict
    assert (verdict.sequence, verdict.compared) == (1, False)
    assert verdict.reason == "the service failed on this audit"
    assert "secret of the house" in caplog.text


async def test_an_audit_that_is_done_while_no_stream_is_there_lets_the_next_one_begin(
    bundle: Bundle, audited: Sessions, auditor: Recorder, head: Head
) -> None:
    auditor.may_answer.clear()
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=head.frame("cut-16", 1))
        await wire.result()
        wire.say(audit=audit_of(head, 1))
        await wire.roundtrip()
        await wire.break_off()
    assert audited.parked == 1
    auditor.may_answer.set()
    await settled()
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(audit=audit_of(head, 1))
        assert (await wire.receive()).verdict.compared


async def test_answers_that_wait_for_an_audit_are_forgotten_with_the_stream(
    bundle: Bundle, audited: Sessions, auditor: Recorder, head: Head
) -> None:
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(frame=to_audit(head, 1))
        await wire.result()
        with_both = audited.kept_bytes
        await wire.break_off()
    assert 0 < audited.kept_bytes < 0.6 * with_both
    async with wired(audited) as wire:
        await wire.greet(hello(bundle, unanswered=[1]))
        assert (await wire.result()).sequence == 1
        wire.say(audit=audit_of(head, 1))
        assert (await wire.receive()).HasField("verdict")
    assert auditor.given == [(1, None)]


async def test_an_audit_ends_with_its_session(
    bundle: Bundle, audited: Sessions, auditor: Recorder, head: Head
) -> None:
    auditor.may_answer.clear()
    async with wired(audited) as wire:
        await wire.greet(hello(bundle))
        wire.say(audit=audit_of(head, 1))
        await until(lambda: len(auditor.given) == 1)
        wire.half_close()
        await wire.ended()
    assert audited.count == 0
    await until(lambda: auditor.stopped == 1)
