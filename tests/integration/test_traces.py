"""A frame's spans on both machines are one tree, and the service counts what it tells of."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from tests.spans import Kept, application_spans, only, tree
from tests.tinybundle import tiny_pictures

from isthmus_cloud import Core, RunningService, ServiceConfig, listening
from isthmus_cloud.deployments.deployment import Loader
from isthmus_cloud.deployments.loading import LocalTails
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.telemetry import Observer, Observers
from isthmus_cloud.telemetry.metrics import Levels, PrometheusObserver
from isthmus_cloud.telemetry.spans import SpanObserver
from isthmus_edge import Agent

FRAMES = 4
STEPS = {"wait", "head", "encode", "link", "cloud.frame"}


@pytest.fixture
def device() -> Iterator[Kept]:
    """The spans of the device's process."""
    with application_spans() as kept:
        yield kept


@asynccontextmanager
async def serving(bundle: Path, observer: Observer) -> AsyncIterator[RunningService]:
    """A real service of one bundle."""
    config = ServiceConfig(bundle=bundle, threads=1, provider="cpu")
    async with Core(config, observer) as core:
        loader = Loader(
            desk=core.desk,
            tails_of=LocalTails(
                open_engine=lambda _: OrtEngine(Cores(1)),
                cores=Cores(1),
                max_batch=config.max_batch,
                announce=lambda _: None,
            ),
            window=config.window,
        )
        core.deployments.activate(await loader.load(bundle))
        async with listening(config, core) as service:
            yield service


def by_trace(spans: list[ReadableSpan]) -> list[list[ReadableSpan]]:
    """Those of each trace, in the order in which the traces began."""
    found: dict[int, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda each: each.start_time or 0):
        found.setdefault(span.context.trace_id, []).append(span)
    return list(found.values())


async def answered(bundle: Path, address: str, traces: str | None = None) -> list[str]:
    """Where frames of a device were answered that must ask the cloud."""
    pictures = tiny_pictures(FRAMES)
    agent = await Agent.open_async(
        bundle,
        address,
        candidate="cut-16",
        require_cloud=True,
        patience_ms=20_000.0,
        traces=traces,
    )
    async with agent:
        return [(await agent.infer_async(picture)).place for picture in pictures]


async def test_a_frame_is_one_tree_from_the_device_to_the_tail(
    tiny_bundle: Path, device: Kept
) -> None:
    cloud, metrics = Kept(), PrometheusObserver()
    observer = Observers([SpanObserver(cloud.provider), metrics])
    async with serving(tiny_bundle, observer) as service:
        core = service.core
        metrics.watch(
            Levels(
                streams=lambda: core.streams,
                sessions_parked=lambda: core.sessions.parked,
                frames_waiting=lambda: core.desk.waiting,
                bytes_in_flight=lambda: core.desk.bytes_in_flight,
            )
        )
        places = await answered(tiny_bundle, service.address, traces="application")
        assert metrics.registry.get_sample_value("isthmus_frames_waiting") == 0
        assert metrics.registry.get_sample_value("isthmus_bytes_in_flight") == 0
    assert places == ["cloud"] * FRAMES

    batches = [each for each in cloud.spans if each.name == "cloud.batch"]
    frames = by_trace(device.spans + [each for each in cloud.spans if each not in batches])
    assert len(frames) == FRAMES
    for spans in frames:
        told = tree(spans)
        assert told.pop("") == ["frame"]
        assert set(told.pop("frame")) == STEPS
        stages = told.pop("cloud.frame")
        assert stages[:2] == ["queue", "decode"]
        assert set(stages[2:]) == {"tail"}
        assert told == {}
        assert_linked(only(spans, "frame"), [s for s in spans if s.name == "tail"], batches)
        assert_in_time([s for s in spans if s.name in {"queue", "decode", "tail"}])
    (counted,) = (each for each in metrics.registry.collect() if each.name == "isthmus_frames")
    counts = {each.labels["candidate"]: each.value for each in counted.samples if each.value < 1e9}
    assert counts["cut-16"] == sum(counts.values()) == FRAMES


def assert_linked(
    frame: ReadableSpan, tails: list[ReadableSpan], batches: list[ReadableSpan]
) -> None:
    """A frame's tails and the batches point at each other."""
    own = [
        batch
        for batch in batches
        if any(link.context.span_id == frame.context.span_id for link in batch.links)
    ]
    links = [link.context.span_id for tail in tails for link in tail.links]
    assert sorted(links) == sorted(batch.context.span_id for batch in own)  # of several workers
    assert own


def assert_in_time(stages: list[ReadableSpan]) -> None:
    """One machine's stages follow each other: the two machines' clocks are never compared."""
    for before, after in pairwise(sorted(stages, key=lambda each: each.start_time or 0)):
        assert before.start_time is not None
        assert after.start_time is not None
        assert before.start_time <= after.start_time


async def test_a_device_that_traces_nothing_is_served_all_the_same(
    tiny_bundle: Path, device: Kept
) -> None:
    cloud = Kept()
    async with serving(tiny_bundle, SpanObserver(cloud.provider)) as service:
        assert await answered(tiny_bundle, service.address) == ["cloud"] * FRAMES
    assert device.spans == []
    frames = by_trace(cloud.spans)
    assert [tree(spans)[""] for spans in frames] == [["cloud.frame"]] * FRAMES
