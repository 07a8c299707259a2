"""Audits: what is compared, when, and what is refused."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.cloud.device import GUARD_S, Device, Head, connected
from tests.cloud.serving import answering, listening
from tests.tinybundle import CLASSES, PROBABILITIES
from tests.widebundle import TONE

from isthmus import Bundle, encode_answer
from isthmus.agreement.classification import Classes
from isthmus.agreement.closeness import Closeness
from isthmus.agreement.distance import Tensors, Vectors
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import ServiceConfig
from isthmus_cloud.answering.budget import ByteBudget
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.load import LoadGauge
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.audits.auditing import Answered, Auditor, NoAuditor, UnsplitAuditor, auditing
from isthmus_cloud.audits.comparing import Comparison, NotComparedError
from isthmus_cloud.audits.unsplit import Unsplit

ROOM_BYTES = 1_000_000


async def at_once() -> None:
    """No frame is here."""


@pytest.fixture(scope="module")
def unsplit(bundle: Bundle) -> Unsplit:
    found = Unsplit.of(bundle)
    assert found is not None
    return found


COMPARISON = Comparison(Classes(PROBABILITIES.name), (PROBABILITIES,))


@contextmanager
def auditor_with(unsplit: Unsplit, **changes: Any) -> Iterator[UnsplitAuditor]:
    settings: dict[str, Any] = {
        "unsplit": unsplit,
        "comparison": COMPARISON,
        "budget": ByteBudget(ROOM_BYTES),
        "quiet": at_once,
    }
    with UnsplitAuditor(**(settings | changes)) as auditor:
        yield auditor


@pytest.fixture
def auditor(unsplit: Unsplit) -> Iterator[UnsplitAuditor]:
    with auditor_with(unsplit) as auditor:
        yield auditor


def answered(row: AnyArray, top_k: int = 0) -> pb.Result:
    return pb.Result(sequence=1, outputs=[encode_answer(PROBABILITIES, row, top_k)])


def told(result: pb.Result | None) -> Answered:
    """The frame was answered so, long ago."""

    async def answer(_sequence: int) -> pb.Result | None:
        return result

    return answer


def audit_of(head: Head, picture: int = 0, candidate: str = "input-raw") -> pb.Audit:
    return pb.Audit(sequence=1, input=head.frame(candidate, picture=picture))


def turned(row: AnyArray) -> AnyArray:
    """Each class has another one's probability."""
    return np.roll(row, 1, axis=1)


async def test_the_unsplit_models_own_answer_agrees_and_another_does_not(
    auditor: UnsplitAuditor, head: Head
) -> None:
    for picture in range(len(head.pictures)):
        audit, truth = audit_of(head, picture), head.unsplit(picture)
        right = await auditor.check(audit, told(answered(truth)))
        wrong = await auditor.check(audit, told(answered(turned(truth))))
        assert (right.compared, right.agrees, right.reason) == (True, True, "")
        assert right.divergence < 1e-5
        assert (wrong.compared, wrong.agrees) == (True, False)
        assert wrong.divergence > 0.1


async def test_of_the_greatest_values_alone_the_first_class_is_compared(
    auditor: UnsplitAuditor, head: Head
) -> None:
    """What was not sent tells nothing, for or against."""
    audit, truth = audit_of(head), head.unsplit()
    right = await auditor.check(audit, told(answered(truth, top_k=3)))
    assert (right.compared, right.agrees) == (True, True)
    assert right.divergence < 1e-5
    without_the_best = truth.copy()
    without_the_best[0, truth.argmax()] = 0.0
    wrong = await auditor.check(audit, told(answered(without_the_best, top_k=3)))
    assert (wrong.compared, wrong.agrees) == (True, False)


async def test_an_answer_that_is_not_remembered_is_not_compared(
    auditor: UnsplitAuditor, head: Head
) -> None:
    verdict = await auditor.check(audit_of(head), told(None))
    assert (verdict.sequence, verdict.compared, verdict.agrees) == (1, False, False)
    assert "remembered" in verdict.reason


def longer(frame: pb.Frame) -> None:
    frame.payloads[0].data += b"\0"


def shorter(frame: pb.Frame) -> None:
    frame.payloads[0].data = frame.payloads[0].data[:-1]


def twice(frame: pb.Frame) -> None:
    frame.payloads.append(frame.payloads[0])


def unheard_of(frame: pb.Frame) -> None:
    frame.candidate = "x" * 10_000


def of_no_rung(frame: pb.Frame) -> None:
    frame.rung = 7


def a_difference(frame: pb.Frame) -> None:
    frame.reference = 3


@pytest.mark.parametrize("spoil", [longer, shorter, twice, unheard_of, of_no_rung, a_difference])
async def test_what_is_not_as_the_plan_says_is_not_compared(
    unsplit: Unsplit, head: Head, spoil: Callable[[pb.Frame], None]
) -> None:
    audit, budget = audit_of(head), ByteBudget(ROOM_BYTES)
    spoil(audit.input)
    with auditor_with(unsplit, budget=budget) as auditor:
        verdict = await auditor.check(audit, told(answered(head.unsplit())))
    assert not verdict.compared
    assert 0 < len(verdict.reason) <= 200
    assert budget.taken_bytes == 0


@pytest.mark.parametrize("candidate", ["input-jpeg-q95", "cut-256"])
async def test_only_what_carries_inputs_exactly_is_a_reference(
    auditor: UnsplitAuditor, head: Head, candidate: str
) -> None:
    verdict = await auditor.check(
        audit_of(head, candidate=candidate), told(answered(head.unsplit()))
    )
    assert not verdict.compared
    assert "input-raw can" in verdict.reason


async def test_an_audit_that_does_not_fit_is_not_compared(unsplit: Unsplit, head: Head) -> None:
    audit = audit_of(head)
    for room, fits in ((unsplit.frame_bytes(audit.input), True), (100, False)):
        with auditor_with(unsplit, budget=ByteBudget(room)) as auditor:
            verdict = await auditor.check(audit, told(answered(head.unsplit())))
            assert verdict.compared == fits


async def test_an_audit_counts_while_it_waits_for_the_answer_of_its_frame(
    unsplit: Unsplit, head: Head
) -> None:
    """The next one that does not fit beside it is refused at once."""
    answer: asyncio.Future[pb.Result | None] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def answered_later(_sequence: int) -> pb.Result | None:
        asked.set()
        return await answer

    audit = audit_of(head)
    budget = ByteBudget(unsplit.frame_bytes(audit.input))
    with auditor_with(unsplit, budget=budget) as auditor:
        waiting = asyncio.create_task(auditor.check(audit, answered_later))
        await asyncio.wait_for(asked.wait(), GUARD_S)
        assert budget.taken_bytes == unsplit.frame_bytes(audit.input)
        assert not (await auditor.check(audit, told(answered(head.unsplit())))).compared
        answer.set_result(answered(head.unsplit()))
        assert (await waiting).compared
    assert budget.taken_bytes == 0


async def test_an_audit_waits_until_no_frame_is_here(unsplit: Unsplit, head: Head) -> None:
    frames_gone, asked = asyncio.Event(), asyncio.Event()

    async def quiet() -> None:
        asked.set()
        await frames_gone.wait()

    with auditor_with(unsplit, quiet=quiet, quiet_within_s=GUARD_S) as auditor:
        checking = asyncio.create_task(
            auditor.check(audit_of(head), told(answered(head.unsplit())))
        )
        await asyncio.wait_for(asked.wait(), GUARD_S)
        assert not checking.done()
        frames_gone.set()
        assert (await checking).compared


async def test_a_service_that_stays_busy_gives_no_verdict(unsplit: Unsplit, head: Head) -> None:
    """Nor does the audit that waits behind it, and both give their bytes back."""

    async def never() -> None:
        await asyncio.Event().wait()

    budget = ByteBudget(ROOM_BYTES)
    with auditor_with(unsplit, quiet=never, quiet_within_s=0.0, budget=budget) as auditor:
        checks = [auditor.check(audit_of(head), told(answered(head.unsplit()))) for _ in range(2)]
        verdicts = await asyncio.gather(*checks)
    assert [verdict.compared for verdict in verdicts] == [False, False]
    assert "without frames" in verdicts[0].reason
    assert budget.taken_bytes == 0


async def test_an_audit_that_is_given_up_leaves_the_way_to_the_next(
    unsplit: Unsplit, head: Head
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def quiet() -> None:
        asked.set()
        await gone.wait()

    budget = ByteBudget(ROOM_BYTES)
    with auditor_with(unsplit, quiet=quiet, quiet_within_s=GUARD_S, budget=budget) as auditor:
        given_up = asyncio.create_task(
            auditor.check(audit_of(head), told(answered(head.unsplit())))
        )
        await asyncio.wait_for(asked.wait(), GUARD_S)
        given_up.cancel()
        await asyncio.wait({given_up})
        assert budget.taken_bytes == 0
        gone.set()
        assert (await auditor.check(audit_of(head), told(answered(head.unsplit())))).compared


async def test_the_service_is_quiet_when_its_last_frame_has_gone() -> None:
    gauge = LoadGauge(workers=1)
    await asyncio.wait_for(gauge.quiet(), GUARD_S)
    gauge.came()
    gauge.came()
    waiting = asyncio.create_task(gauge.quiet())
    await asyncio.sleep(0)
    gauge.left()
    await asyncio.sleep(0)
    assert not waiting.done()
    gauge.left()
    await asyncio.wait_for(waiting, GUARD_S)


class Watched(Unsplit):
    """Says on which thread it runs, and how that one yields."""

    def __init__(self, inner: Unsplit) -> None:
        super().__init__(inner._routes)
        self.ran_on: list[tuple[str, int]] = []

    def run(self, frame: pb.Frame) -> Sequence[AnyArray]:
        nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self.ran_on.append((threading.current_thread().name, nice))
        return super().run(frame)


@pytest.mark.skipif(sys.platform != "linux", reason="priorities belong to processes elsewhere")
async def test_audits_run_on_one_thread_that_yields_to_all_others(
    unsplit: Unsplit, head: Head
) -> None:
    watched = Watched(unsplit)
    with auditor_with(watched) as auditor:
        for picture in range(3):
            await auditor.check(audit_of(head, picture), told(answered(head.unsplit(picture))))
    assert watched.ran_on == [("audit_0", 19)] * 3
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


class Half(Comparison):
    """Every frame agrees by half, as boxes do."""

    def closeness(self, unsplit: Sequence[AnyArray], answered: pb.Result) -> Closeness:
        return Closeness(0.5, 0.0, 1.0, 0.25)


async def test_a_share_of_agreement_is_a_chance_to_agree(unsplit: Unsplit, head: Head) -> None:
    draws = iter([0.2, 0.7])
    half = Half(COMPARISON.metric, COMPARISON.outputs)
    with auditor_with(unsplit, comparison=half, draw=lambda: next(draws)) as auditor:
        verdicts = [await auditor.check(audit_of(head), told(pb.Result())) for _ in range(2)]
    assert [verdict.agrees for verdict in verdicts] == [True, False]
    assert {verdict.divergence for verdict in verdicts} == {0.25}


def result_of(outputs: Mapping[Any, AnyArray]) -> pb.Result:
    return pb.Result(outputs=[encode_answer(spec, row, 0) for spec, row in outputs.items()])


def test_outputs_that_the_head_has_computed_are_not_compared() -> None:
    row, tone = np.full((1, CLASSES), 0.1, np.float32), np.ones((1, 3), np.float32)
    both = (PROBABILITIES, TONE)
    all_outputs = Comparison(Tensors(both), both)
    assert all_outputs.closeness([row, tone], result_of({PROBABILITIES: row})).agreement == 1
    assert all_outputs.closeness([row, tone], result_of({TONE: -tone})).agreement == 0
    for metric in (Classes(PROBABILITIES.name), Vectors(PROBABILITIES.name)):
        with pytest.raises(NotComparedError, match="computed on the device"):
            Comparison(metric, both).closeness([row, tone], result_of({TONE: tone}))


def test_outputs_that_the_plan_did_not_judge_are_not_compared() -> None:
    row, tone = np.full((1, CLASSES), 0.1, np.float32), np.ones((1, 3), np.float32)
    both = (PROBABILITIES, TONE)
    judged = Comparison(Vectors(TONE.name), both)
    sent = result_of({PROBABILITIES: -row, TONE: 2 * tone})
    assert judged.closeness([row, tone], sent).agreement == 1
    assert judged.closeness([row, tone], result_of({TONE: -tone})).agreement == 0


async def reason_of(auditor: Auditor) -> str:
    verdict = await auditor.check(pb.Audit(sequence=5), told(None))
    assert (verdict.sequence, verdict.compared) == (5, False)
    return verdict.reason


async def test_a_bundle_that_cannot_be_audited_says_why(bundle: Bundle) -> None:
    def changed(**fields: Any) -> Bundle:
        manifest = msgspec.structs.replace(bundle.manifest, **fields)
        return Bundle(bundle.path, manifest, bundle.fingerprint, bundle.labels)

    with auditing(changed(metric="beauty"), at_once, ROOM_BYTES) as auditor:
        assert "how to compare by 'beauty'" in await reason_of(auditor)
    lossy = tuple(c for c in bundle.manifest.candidates if c.id != "input-raw")
    with auditing(changed(candidates=lossy), at_once, ROOM_BYTES) as auditor:
        assert "raw inputs exactly" in await reason_of(auditor)
    with auditing(bundle, at_once, ROOM_BYTES) as auditor:
        assert isinstance(auditor, UnsplitAuditor)
    assert "does not audit" in await reason_of(NoAuditor())


@pytest.fixture
async def device(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail]
) -> AsyncIterator[Device]:
    """Welcomed by a service that audits."""
    with (
        answering(bundle.manifest, tails) as answerer,
        auditing(bundle, at_once, ROOM_BYTES) as auditor,
    ):
        async with (
            listening(config, bundle, answerer, auditor) as running,
            connected(running.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            yield device


async def test_a_frame_that_was_not_announced_is_not_compared(device: Device, head: Head) -> None:
    await device.send(frame=head.frame("cut-256"))
    await device.result()
    await device.send(audit=audit_of(head))
    message = await device.receive()
    assert not message.verdict.compared
    assert "remembered" in message.verdict.reason
