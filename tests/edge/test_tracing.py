"""One tree of spans for each frame; off, nothing of it is there."""

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, StaticSampler
from opentelemetry.trace import StatusCode
from tests.commands import until
from tests.edge.fakes import FakeService, frame_error, marked_answer
from tests.spans import Kept, application_spans, only, tree
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError, StaleFrameError, WireError
from isthmus.tracing import parse_traceparent
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.spans import SpanTracing
from isthmus_edge.stream.frame import Frame
from isthmus_edge.tracing import NoTracing, tracing_of

Result = TypeVar("Result")

PICTURE = tiny_pictures(1)[0]
PATIENT = 20.0


@pytest.fixture
def kept() -> Iterator[Kept]:
    with application_spans() as kept:
        yield kept


@pytest.fixture
def service() -> FakeService:
    return FakeService()


def config(bundle: Path, **settings: Any) -> AgentConfig:
    usual: dict[str, Any] = {"cloud": "127.0.0.1:1", "candidate": "cut-16"}
    return AgentConfig(bundle=bundle, traces="application", **(usual | settings))


def of_frames(spans: list[ReadableSpan]) -> list[ReadableSpan]:
    """The frames' own."""
    return [each for each in spans if each.name == "frame"]


def test_a_frame_that_the_cloud_answers_is_one_tree(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        answer = agent.infer(PICTURE, deadline_ms=5000)
    assert tree(kept.spans) == {"": ["frame"], "frame": ["wait", "head", "encode", "link"]}
    frame = only(kept.spans, "frame")
    assert frame.status.status_code is StatusCode.UNSET
    assert frame.attributes == {
        "isthmus.sequence": answer.sequence,
        "isthmus.candidate": "cut-16",
        "isthmus.rung": answer.rung,
        "isthmus.outcome": "answered",
        "isthmus.place": "cloud",
        "isthmus.payload_bytes": answer.payload_bytes,
        "isthmus.deadline_ms": 5000.0,
    }
    link = only(kept.spans, "link").attributes
    assert link == {"isthmus.payload_bytes": answer.payload_bytes, "isthmus.cloud_ms": 1.0}


def test_steps_lie_within_their_frame_one_after_the_other(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        agent.infer(PICTURE)
    times = [(each.start_time or 0, each.end_time or 0) for each in kept.spans]
    frame = only(kept.spans, "frame")
    assert all(frame.start_time <= begin <= end <= frame.end_time for begin, end in times)  # type: ignore[operator]
    steps = [only(kept.spans, name) for name in ("wait", "head", "encode", "link")]
    for before, after in pairwise(steps):
        assert before.end_time is not None
        assert after.start_time is not None
        assert before.end_time <= after.start_time


def test_the_message_names_the_frames_span(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        for _ in range(3):
            agent.infer(PICTURE)
    crossed = [parse_traceparent(frame.traceparent) for frame in service.frames]
    told = [(each.trace_id, each.span_id) for each in crossed if each and each.is_sampled]
    spans = [(each.context.trace_id, each.context.span_id) for each in of_frames(kept.spans)]
    assert told == spans
    assert len({trace_id for trace_id, _ in told}) == 3


def test_a_frame_belongs_to_its_callers_span(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    with (
        Agent.open(config(tiny_bundle), transport=service) as agent,
        trace.get_tracer("application").start_as_current_span("request"),
    ):
        agent.infer(PICTURE)
    assert tree(kept.spans) == {
        "": ["request"],
        "request": ["frame"],
        "frame": ["wait", "head", "encode", "link"],
    }


@pytest.mark.parametrize("decision", [Decision.DROP, Decision.RECORD_ONLY])
def test_what_is_not_sampled_is_neither_sent_anywhere_nor_told(
    tiny_bundle: Path, service: FakeService, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Kept(TracerProvider(sampler=StaticSampler(decision), shutdown_on_exit=False))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: silent.provider)
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        agent.infer(PICTURE)
    assert silent.spans == []
    assert [frame.traceparent for frame in service.frames] == [""]


def test_a_frame_that_the_cloud_refuses_is_finished_here(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    service.respond = frame_error(pb.ERROR_CODE_OVERLOADED)
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        agent.infer(PICTURE)
    names = tree(kept.spans)["frame"]
    assert sorted(names) == ["encode", "head", "link", "rest", "wait"]
    assert only(kept.spans, "frame").attributes["isthmus.place"] == "device"  # type: ignore[index]
    assert "isthmus.cloud_ms" not in (only(kept.spans, "link").attributes or {})


def test_a_frame_that_stays_here_has_no_link(tiny_bundle: Path, kept: Kept) -> None:
    settings = config(tiny_bundle, cloud=None, candidate=None)
    with Agent.open(settings) as agent:
        agent.infer(PICTURE)
    assert tree(kept.spans) == {"": ["frame"], "frame": ["wait", "head"]}


def test_a_frame_that_is_sent_twice_is_one_tree(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    missing = frame_error(pb.ERROR_CODE_KEY_FRAME_NEEDED)
    service.respond = lambda frame: (
        missing(frame) if len(service.frames) == 1 else marked_answer(frame)
    )
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        answer = agent.infer(PICTURE)
    first, second = service.frames
    assert first.traceparent == second.traceparent
    assert tree(kept.spans)["frame"] == ["wait", "head", "encode", "link"]
    assert answer.place == "cloud"


def frame_of(sequence: int) -> Frame:
    return Frame(sequence, {}, asyncio.get_running_loop().create_future(), None)


async def test_frames_that_end_otherwise_say_how(kept: Kept) -> None:
    tracing = SpanTracing(kept.provider)
    for sequence in (1, 2, 3):
        tracing.begin(frame_of(sequence))
    tracing.failed(frame_of(1), "stale")
    tracing.failed(frame_of(2), "cancelled")
    tracing.failed(frame_of(3), "error", WireError("x" * 1000))
    tracing.failed(frame_of(3), "error")  # a second end is none
    outcomes = [(each.attributes or {})["isthmus.outcome"] for each in of_frames(kept.spans)]
    assert outcomes == ["stale", "cancelled", "error"]
    states = [each.status.status_code for each in of_frames(kept.spans)]
    assert states == [StatusCode.UNSET, StatusCode.UNSET, StatusCode.ERROR]
    assert of_frames(kept.spans)[2].status.description == "x" * 200
    assert [each.name for each in kept.spans] == ["wait", "frame"] * 3


async def test_frames_that_never_end_are_told_when_the_agent_closes(kept: Kept) -> None:
    ended: list[str] = []
    tracing = SpanTracing(kept.provider, lambda: ended.append("exporter"))
    tracing.begin(frame_of(1))
    await tracing.close()
    assert [each.status.description for each in kept.spans] == ["the agent was closed"]
    assert ended == ["exporter"]


def test_the_page_and_the_devices_spans_agree(
    tiny_bundle: Path, service: FakeService, kept: Kept
) -> None:
    with Agent.open(config(tiny_bundle), transport=service) as agent:
        agent.infer(PICTURE, deadline_ms=5000)
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
    for span in kept.spans:
        if span.attributes:
            row = page.split(f"\n| `{span.name}` | ")[1].split(" |")[0]
            listed = re.sub(r" \([^)]*\)", "", row).split(", ")
            assert sorted(f"isthmus.{name}" for name in listed) == sorted(span.attributes)
    drawn = page.split("## Traces")[1].split("```")[1]
    assert [span.name for span in kept.spans if span.name not in drawn] == []


class Gate:
    """A device that ends nothing until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        self.begun.set()
        assert self.let_go.wait(PATIENT), kind
        return work(), 1.0


def test_stale_and_cancelled_frames_are_told_by_the_agent(tiny_bundle: Path, kept: Kept) -> None:
    gate = Gate()
    settings = AgentConfig(
        bundle=tiny_bundle, traces="application", max_queued=1, when_full="drop-oldest"
    )
    with Agent.open(settings, pace=gate) as agent:
        agent.submit(PICTURE)
        assert gate.begun.wait(PATIENT)
        stale = agent.submit(PICTURE)
        cancelled = agent.submit(PICTURE)
        assert isinstance(stale.exception(PATIENT), StaleFrameError)
        cancelled.cancel()
        until(lambda: agent.stats().cancelled == 1, "the frame is taken back")
        gate.let_go.set()
    told = [(each.attributes or {})["isthmus.outcome"] for each in of_frames(kept.spans)]
    assert told == ["stale", "cancelled", "answered"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"traces": "collector"}, ["collector", "http://HOST:PORT"]),
        ({"traces": "http://collector"}, ["http://collector", "4317"]),
        ({"traces": "http://127.0.0.1:4317", "trace_share": 2.0}, ["trace_share", "2.0"]),
        ({"trace_share": -0.5}, ["trace_share", "-0.5"]),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    tiny_bundle: Path, settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        AgentConfig(bundle=tiny_bundle, **settings)
    assert [word for word in words if word not in str(caught.value)] == []


def test_who_does_not_trace_loads_no_opentelemetry(tiny_bundle: Path) -> None:
    assert isinstance(tracing_of(None, 1.0), NoTracing)
    program = (
        "import sys, numpy as np\n"
        "from isthmus_edge import Agent\n"
        f"with Agent({str(tiny_bundle)!r}, heed_vitals=False) as agent:\n"
        "    (spec,) = agent.manifest.inputs\n"
        "    agent.infer(np.zeros(spec.shape, np.uint8))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
