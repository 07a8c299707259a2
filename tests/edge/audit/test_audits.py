"""Which frames are audited, when their raw inputs travel, and what verdicts lead to."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.doctored import build_doctored_bundle
from tests.edge.fakes import FakeService, PlannedPace, marked_answer
from tests.tinybundle import PICTURE, tiny_pictures

from isthmus import (
    Bundle,
    Candidate,
    ConfigError,
    Lossless,
    Manifest,
    Raw,
    SymbolCoder,
    decode_frame,
    encode_manifest,
    open_bundle,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, LinkEstimate
from isthmus_edge.audit.audits import (
    SENT_WITHIN_S,
    VERDICT_WITHIN_S,
    Audits,
    is_sampled,
    raw_input_way,
)
from isthmus_edge.audit.drift import LEAST
from isthmus_edge.events import Events
from isthmus_edge.stream.frame import Frame

GUARD_S = 20.0


class FakeRoad:
    """Tells of a link, and keeps what is sent on it."""

    def __init__(self, bandwidth_bps: float = 1e9) -> None:
        self.link: LinkEstimate | None = LinkEstimate(bandwidth_bps, 1.0, 0.0)
        self.link_queue_ms = 0.0
        self.sent: list[tuple[int, pb.Frame]] = []

    def estimate(self) -> LinkEstimate | None:
        return self.link

    def audit(self, sequence: int, raw_input: pb.Frame) -> None:
        self.sent.append((sequence, raw_input))


class Bench:
    """Audits of every frame with a clock of the test's own; frames come one after the other."""

    def __init__(self, manifest: Manifest, share: float = 1.0) -> None:
        self.now = 1_000.0
        self.road = FakeRoad()
        self.distrusted: list[tuple[str, int]] = []
        self.events = Events()
        config = AgentConfig(bundle=Path(), audit_share=share)
        self.audits = Audits(
            manifest,
            config,
            lambda candidate, rung: self.distrusted.append((candidate, rung)),
            self.events,
            lambda: self.now,
        )
        self.audits.connect(self.road)
        self.candidate = manifest.candidate("cut")
        self.picture = tiny_pictures(1)[0]
        self._sequence = 0

    def begin(self, pinned: Candidate | None = None, candidate: Candidate | None = None) -> bool:
        """A frame is sent; whether it says that an audit follows."""
        self._sequence += 1
        tensors: Mapping[str, np.ndarray] = {PICTURE.name: self.picture}
        future = asyncio.get_running_loop().create_future()
        frame = Frame(self._sequence, tensors, future, None, pinned)
        self.audits.begin(frame, candidate or self.candidate)
        message = pb.Frame(sequence=self._sequence)
        self.audits.sending(message)
        return message.audited

    async def end(self, *, in_cloud: bool = True) -> None:
        """It ends after 10 ms, is encoded, and the link is idle for 50 ms."""
        self.now += 0.01
        self.audits.idle()
        self.audits.ended(self._sequence, in_cloud=in_cloud)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=GUARD_S)
        self.now += 0.05

    async def frame(self) -> None:
        self.begin()
        await self.end()

    def told(self, *, agrees: bool = True, compared: bool = True) -> None:
        sequence = self.road.sent[-1][0]
        self.audits.told(pb.Verdict(sequence=sequence, compared=compared, agrees=agrees))


@pytest.fixture(scope="module")
def doctored(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("doctored") / "bundle"
    return open_bundle(build_doctored_bundle(tiny_bundle, folder, "none"), "device")


@pytest.fixture
def bench(doctored: Bundle) -> Bench:
    return Bench(doctored.manifest)


async def warm(bench: Bench) -> None:
    """Until the lulls are known, and nothing is outstanding."""
    for _ in range(4):
        await bench.frame()
    bench.told()


def test_sampling_is_even_and_in_step_with_no_period() -> None:
    sampled = [number for number in range(1, 10_001) if is_sampled(number, 0.05)]
    assert len(sampled) == pytest.approx(500, abs=5)
    for period in (2, 3, 10, 25, 30):
        by_phase = np.bincount([number % period for number in sampled], minlength=period)
        assert by_phase.min() > 0.6 * 500 / period
    assert not any(is_sampled(number, 0.0) for number in range(1, 1000))
    assert all(is_sampled(number, 1.0) for number in range(1, 1000))


async def test_the_raw_input_follows_as_it_was_when_the_frame_came(
    bench: Bench, doctored: Bundle
) -> None:
    await warm(bench)
    before = bench.picture.copy()
    assert bench.begin()
    bench.picture[:] = 0  # the caller has its buffer back
    await bench.end()
    await bench.frame()
    sequence, raw_input = bench.road.sent[-1]
    assert sequence == 5
    candidate = doctored.manifest.candidate(raw_input.candidate)
    cut = doctored.manifest.cut_of(candidate)
    (arrived,), kept = decode_frame(raw_input, candidate, cut, SymbolCoder(), None)
    assert np.array_equal(arrived, before)
    assert (kept, raw_input.mark, raw_input.reference) == (None, 0, 0)


async def test_one_audit_is_outstanding_at_a_time_and_the_others_are_counted(bench: Bench) -> None:
    await warm(bench)
    sent = len(bench.road.sent)
    assert bench.begin()
    await bench.end()
    assert [bench.begin() for _ in range(3)] == [False] * 3
    assert bench.audits.stats().dropped >= 3
    await bench.end()
    assert len(bench.road.sent) == sent + 1


async def test_frames_that_are_not_the_policys_or_exact_are_not_audited(
    bench: Bench, doctored: Bundle
) -> None:
    assert not bench.begin(pinned=bench.candidate)
    assert not bench.begin(candidate=doctored.manifest.candidate("input-raw"))
    assert bench.audits.stats().dropped == 0


async def test_without_a_share_nothing_is_kept(doctored: Bundle) -> None:
    bench = Bench(doctored.manifest, share=0.0)
    for _ in range(5):
        assert not bench.begin()
        await bench.end()
    assert bench.road.sent == []


async def test_an_answer_of_the_device_is_not_audited(bench: Bench) -> None:
    await warm(bench)
    sent = len(bench.road.sent)
    assert bench.begin()
    await bench.end(in_cloud=False)
    await bench.end()
    assert len(bench.road.sent) == sent
    assert bench.begin()  # the next one may be


@pytest.mark.parametrize("obstacle", ["thin", "unsure", "queue", "down"])
async def test_nothing_is_sent_where_a_frame_would_wait_for_it(bench: Bench, obstacle: str) -> None:
    """It is dropped in the end, and counted; frames go on."""
    await warm(bench)
    sent = len(bench.road.sent)
    match obstacle:
        case "thin":
            bench.road.link = LinkEstimate(1e5, 1.0, 0.0)  # 3 KB take a quarter of a second
        case "unsure":
            bench.road.link = LinkEstimate(1e8, 1.0, bandwidth_spread=3.0)
        case "queue":
            bench.road.link_queue_ms = 30.0
        case "down":
            bench.road.link = None
    assert bench.begin()
    await bench.end()
    for _ in range(20):
        assert not bench.begin()
        await bench.end()
    dropped = bench.audits.stats().dropped
    bench.now += SENT_WITHIN_S
    assert bench.begin()  # the place is free again
    assert bench.audits.stats().dropped == dropped + 1
    assert len(bench.road.sent) == sent


async def test_a_verdict_that_never_comes_is_not_waited_for(bench: Bench) -> None:
    await warm(bench)
    await bench.frame()
    await bench.frame()
    sent = len(bench.road.sent)
    assert not bench.begin()
    await bench.end()
    bench.now += VERDICT_WITHIN_S + 1.0
    assert bench.begin()
    await bench.end()
    await bench.frame()
    assert len(bench.road.sent) == sent + 1


async def test_a_link_that_breaks_takes_the_audit_with_it(bench: Bench) -> None:
    await warm(bench)
    await bench.frame()
    await bench.frame()
    dropped = bench.audits.stats().dropped
    bench.audits.lost()
    bench.told(agrees=False)
    assert bench.audits.stats().dropped == dropped + 1
    assert bench.audits.stats().checked == 1  # that of the warming up


@pytest.mark.parametrize("step", ["encoding", "sending"])
async def test_an_audit_that_fails_in_a_way_nobody_foresaw_makes_place_for_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await warm(bench)
    dropped = bench.audits.stats().dropped

    def fail(*_: object) -> None:
        raise MemoryError(step)

    with monkeypatch.context() as broken:
        if step == "encoding":
            broken.setattr("isthmus_edge.audit.audits._encoded", fail)
        else:
            broken.setattr(bench.road, "audit", fail)
        assert bench.begin()
        await bench.end()
    assert bench.audits.stats().dropped == dropped + 1
    assert bench.begin()


async def test_a_drift_is_acted_on_and_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await warm(bench)
    while not bench.distrusted:
        await bench.frame()
        bench.told(agrees=False)
        assert bench.audits.stats().checked < 3 * LEAST
    assert bench.distrusted == [("cut", 1)]
    (event,) = bench.events.kept
    assert event.text.startswith("drift: cut@1 ")
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [event.text]


async def test_a_service_that_does_not_compare_changes_nothing_and_is_counted(
    bench: Bench,
) -> None:
    await warm(bench)
    for _ in range(3 * LEAST):
        await bench.frame()
        await bench.frame()
        bench.told(compared=False)
    stats = bench.audits.stats()
    assert stats.not_compared >= 2 * LEAST
    assert (stats.checked, bench.distrusted, bench.events.kept) == (1, [], ())


async def test_verdicts_that_nobody_asked_for_are_ignored(bench: Bench) -> None:
    bench.audits.told(pb.Verdict(sequence=1, compared=True))
    assert bench.begin()
    bench.audits.told(pb.Verdict(sequence=1, compared=True))
    assert bench.audits.stats().checked == 0


def test_a_callback_that_fails_does_not_harm(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: str) -> None:
        raise ValueError("of the caller's own")

    events = Events(fail)
    events.add("something")
    assert [event.text for event in events.kept] == ["something"]
    assert "on_event failed" in caplog.text


def with_candidates(manifest: Manifest, *changed: Candidate) -> Manifest:
    return msgspec.structs.replace(manifest, candidates=(manifest.local, *changed))


def kept(candidate: Candidate, *, is_kept: bool) -> Candidate:
    return msgspec.structs.replace(candidate, kept=is_kept)


def test_the_way_of_raw_inputs_need_not_be_kept_but_whole_inputs_must_be_allowed(
    tiny_bundle: Path,
) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    raw, jpeg = manifest.candidate("input-raw"), manifest.candidate("input-jpeg-q95")
    cut = manifest.candidate("cut-16")
    left_out = kept(raw, is_kept=False)
    assert raw_input_way(with_candidates(manifest, left_out, jpeg, cut)).id == "input-raw"
    with pytest.raises(ConfigError, match=r"audit_share.*--no-raw-input"):
        raw_input_way(with_candidates(manifest, left_out, kept(jpeg, is_kept=False), cut))
    with pytest.raises(ConfigError, match=r"input-raw, input-lossless.*input-jpeg-q95, cut-16"):
        raw_input_way(with_candidates(manifest, jpeg, cut))


def test_of_several_ways_the_one_of_fewest_bytes_is_taken(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    raw = manifest.candidate("input-raw")
    figures = msgspec.structs.replace(raw.figures, payload_bytes=2000)
    rung = msgspec.structs.replace(raw.rungs[0], encodings=(Lossless(),), figures=figures)
    lossless = msgspec.structs.replace(raw, id="input-lossless", rungs=(*raw.rungs, rung))
    way = raw_input_way(with_candidates(manifest, raw, lossless))
    assert (way.id, way.encodings) == ("input-lossless", (Lossless(),))
    assert raw.encodings == (Raw(),)


def test_a_bundle_that_allows_no_audits_is_refused_when_the_agent_opens(
    doctored: Bundle, tmp_path: Path, tiny_bundle: Path
) -> None:
    folder = build_doctored_bundle(tiny_bundle, tmp_path / "bundle", "none")
    manifest = open_bundle(folder, "device").manifest
    changed = with_candidates(manifest, manifest.candidate("cut"))
    (folder / "bundle.json").write_bytes(encode_manifest(changed))
    with pytest.raises(ConfigError, match="audit_share"):
        Agent.open(AgentConfig(bundle=folder, audit_share=0.1))
    Agent.open(AgentConfig(bundle=folder)).close()


def agree_never(audit: pb.Audit) -> pb.Verdict:
    return pb.Verdict(sequence=audit.sequence, compared=True, agrees=False, divergence=1.0)


@pytest.fixture
def agent_of(doctored: Bundle) -> Callable[[FakeService], Agent]:
    def opened(service: FakeService) -> Agent:
        config = AgentConfig(
            bundle=doctored.path,
            cloud="127.0.0.1:1",
            audit_share=1.0,
            rate_control=False,
            silence_s=GUARD_S,
            patience_ms=GUARD_S * 1e3,
        )
        return Agent.open(config, transport=service, pace=PlannedPace(doctored.manifest))

    return opened


def test_an_agent_leaves_a_rung_that_never_agrees(agent_of: Callable[[FakeService], Agent]) -> None:
    service = FakeService()
    service.judge = agree_never
    with agent_of(service) as agent:
        answers = [agent.infer(tiny_pictures(1)[0])]
        while answers[-1].rung == 1 and len(answers) < 2_000:
            answers.append(agent.infer(tiny_pictures(1)[0]))
        stats = agent.stats()
    assert (answers[-1].candidate, answers[-1].rung) == ("cut", 0)
    assert len(stats.events) == 1
    assert stats.audits.by_rung["cut@1"].checked >= LEAST
    flagged = {frame.sequence for frame in service.frames if frame.audited}
    assert {audit.sequence for audit in service.audits} <= flagged


def test_audits_leave_the_memory_of_a_video_alone(
    agent_of: Callable[[FakeService], Agent],
) -> None:
    """The same picture again and again: from the third on, frames are differences."""
    service = FakeService()
    service.judge = lambda audit: pb.Verdict(sequence=audit.sequence, compared=True, agrees=True)
    service.respond = marked_answer
    with agent_of(service) as agent:
        while agent.stats().audits.checked < 3 and len(service.frames) < 2_000:
            agent.infer(tiny_pictures(1)[0])
    assert len(service.audits) >= 3
    assert [frame.sequence for frame in service.frames[2:] if not frame.reference] == []
