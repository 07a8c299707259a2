"""An agent as a program makes it: from a bundle and settings, with pictures as they come."""

import asyncio
import io
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError, LinkError, PictureError, load_picture
from isthmus_edge import Agent, AgentConfig, Connection, OnEnd, OnMessage
from isthmus_edge.opening import opened_elsewhere
from isthmus_edge.testing import FakeCloud

PICTURES = tiny_pictures(8)
PATIENT = 20.0


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Larger than the model takes, and not square."""
    pixels = np.random.default_rng(3).integers(0, 255, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((90, 60)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


# Settings


def test_a_bundle_may_be_named_by_text_and_the_settings_are_those_of_the_config(
    tiny_bundle: Path,
) -> None:
    with Agent(str(tiny_bundle), candidate="local", max_queued=3, patience_ms=5) as agent:
        answer = agent.infer(PICTURES[0])
        config = AgentConfig(bundle=tiny_bundle, candidate="local", max_queued=3, patience_ms=5.0)
        assert agent._config == config
    assert (answer.place, answer.candidate) == ("device", "local")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"candidat": "local"}, "'candidat' is no setting of an agent; did you mean 'candidate'"),
        ({"max_queue": 2}, "did you mean 'max_queued'"),
        ({"zzz": 1}, "there are: tls_ca, insecure"),
        ({"max_queued": "two"}, "max_queued = 'two': Expected `int`"),
        ({"max_queued": True}, "max_queued = True: Expected `int`"),
        ({"patience_ms": "long"}, "patience_ms = 'long'"),
        ({"tls_ca": 3}, "tls_ca = 3: give a path"),
        ({"token": 12345}, "^token: Expected `str"),
        ({"cloud": "a"}, "cloud address 'a': use HOST:PORT"),
        ({"cloud": ["127.0.0.1:1", 5]}, "cloud = .*: Expected `str`"),
        ({"when_full": "panic"}, "when_full 'panic': use 'wait' or"),
        ({"max_queued": 0}, "max_queued must be at least 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_the_way_out(
    tiny_bundle: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Agent(tiny_bundle, **settings)


def test_a_bundle_that_is_no_path_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigError, match="bundle = 3: give a path"):
        Agent(3)  # type: ignore[arg-type]


def test_a_cloud_that_cannot_be_connected_to_is_named(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="cloud = 5: give HOST:PORT"):
        Agent(tiny_bundle, cloud=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_answer_cannot_be_asked_for(tiny_bundle: Path, k: int) -> None:
    with Agent(tiny_bundle) as agent, pytest.raises(ConfigError, match=f"top\\({k}\\)"):
        agent.infer(PICTURES[0]).top(k)


def test_a_cloud_may_be_a_transport_and_be_required(tiny_bundle: Path) -> None:
    with FakeCloud(tiny_bundle) as cloud:
        with Agent(tiny_bundle, cloud=cloud, require_cloud=True, candidate="cut-16") as agent:
            assert agent.infer(PICTURES[0]).place == "cloud"
        cloud.disconnect()
        with pytest.raises(LinkError, match="cannot reach the cloud at localhost:1"):
            Agent(tiny_bundle, cloud=cloud, require_cloud=True)


def test_an_agent_that_cannot_open_leaves_no_thread(tiny_bundle: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError, match="cut-16"):
        Agent(tiny_bundle, candidate="b99")
    begun = set(threading.enumerate()) - before
    assert [thread.name for thread in begun if thread.name.startswith("isthmus")] == []


# Opening from an event loop


class SlowCloud(FakeCloud):
    """Lets nobody connect before `may_come` is set."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(bundle)
        self.is_asked, self.may_come = threading.Event(), threading.Event()

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        self.is_asked.set()
        assert self.may_come.wait(PATIENT)
        return super().connect(on_message, on_end)


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def test_the_callers_loop_goes_on_while_an_agent_opens(tiny_bundle: Path) -> None:
    with SlowCloud(tiny_bundle) as cloud:
        opening = asyncio.create_task(Agent.open_async(tiny_bundle, cloud, candidate="cut-16"))
        await asyncio.to_thread(cloud.is_asked.wait, PATIENT)
        assert not opening.done()
        cloud.may_come.set()
        async with await opening as agent:
            assert (await agent.infer_async(PICTURES[0])).place == "cloud"


async def test_who_is_cancelled_while_an_agent_opens_leaves_none_behind(tiny_bundle: Path) -> None:
    with SlowCloud(tiny_bundle) as cloud:
        opening = asyncio.create_task(Agent.open_async(tiny_bundle, cloud))
        await asyncio.to_thread(cloud.is_asked.wait, PATIENT)
        (thread,) = (each for each in threading.enumerate() if each.name == "isthmus-opening")
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        cloud.may_come.set()
        await asyncio.to_thread(thread.join, PATIENT)
        assert not names_of_threads() & {"isthmus-agent", "isthmus-opening"}


async def test_who_is_cancelled_just_when_it_is_open_leaves_none_behind() -> None:
    """The result is there, but the loop has not passed it on yet."""
    closed: list[str] = []
    opening = asyncio.create_task(opened_elsewhere(lambda: "agent", closed.append))
    await asyncio.sleep(0)
    while "isthmus-opening" in names_of_threads():
        pass
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert closed == ["agent"]


async def test_what_cannot_be_opened_is_said_where_it_is_awaited(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'max_queued'"):
        await Agent.open_async(tiny_bundle, max_queue=2)


# Pictures


def test_a_picture_is_taken_as_a_file_its_content_or_pixels_of_any_size(
    tiny_bundle: Path, photo: Path
) -> None:
    pixels = np.asarray(Image.open(photo))
    with Agent(tiny_bundle) as agent:
        expected = agent.infer(load_picture(photo, 32)).top(10)
        for frame in (photo, str(photo), photo.read_bytes(), pixels, {"picture": pixels}):
            assert agent.infer(frame).top(10) == expected


async def test_an_asynchronous_caller_hands_in_pictures_too(tiny_bundle: Path, photo: Path) -> None:
    async with Agent(tiny_bundle) as agent:
        expected = agent.infer(load_picture(photo, 32)).top(10)
        assert (await agent.infer_async(photo)).top(10) == expected
        with pytest.raises(PictureError, match=r"gone\.png: no such file"):
            await agent.infer_async("gone.png")


def gif(_: Path) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, "gif")
    return target.getvalue()


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (lambda photo: photo.parent / "gone.png", "gone.png: no such file"),
        (lambda photo: photo.parent, "it is a folder and no regular file"),
        (lambda photo: photo.read_bytes()[:-40], "a picture of .* B: cannot be decoded"),
        (lambda photo: b"no picture", "a picture of 10 B: cannot be decoded"),
        (lambda photo: b"", "a picture of 0 B"),
        (gif, "cannot be decoded"),
        (lambda photo: np.zeros((0, 5, 3), np.uint8), r"\[0, 5, 3\] is no picture"),
    ],
)
def test_what_is_no_whole_picture_is_refused_before_acceptance(
    tiny_bundle: Path, photo: Path, damaged: Any, words: str
) -> None:
    with Agent(tiny_bundle) as agent:
        with pytest.raises(PictureError, match=words):
            agent.infer(damaged(photo))
        assert agent.stats().accepted == 0


# What it tells


def test_an_answer_of_the_cloud_says_where_its_time_went(tiny_bundle: Path) -> None:
    with (
        FakeCloud(tiny_bundle) as cloud,
        Agent(tiny_bundle, cloud, candidate="cut-16") as agent,
    ):
        answer = agent.infer(PICTURES[0])
    took = answer.timings
    assert took.rest_ms is None
    parts = (took.queue_ms, took.head_ms, took.encode_ms, took.network_ms, took.cloud_tail_ms)
    assert None not in (*parts, took.cloud_queue_ms, took.cloud_decode_ms)
    assert all(part is not None and part >= 0 for part in parts)
    assert took.head_ms
    assert took.encode_ms
    assert took.queue_ms + took.head_ms + took.encode_ms <= answer.latency_ms


@pytest.mark.parametrize("candidate", ["cut-16", "local"])
def test_an_answer_of_the_device_says_what_it_took_and_nothing_of_a_cloud(
    tiny_bundle: Path, candidate: str
) -> None:
    with (
        FakeCloud(tiny_bundle) as cloud,
        Agent(tiny_bundle, cloud, candidate=candidate) as agent,
    ):
        cloud.refuse()
        took = agent.infer(PICTURES[0]).timings
    assert took.head_ms
    assert (took.rest_ms is not None) is (candidate == "cut-16")
    assert (took.encode_ms is not None) is (candidate == "cut-16")
    assert (took.network_ms, took.cloud_tail_ms, took.cloud_queue_ms) == (None, None, None)


def test_figures_tell_what_the_process_holds(tiny_bundle: Path) -> None:
    with Agent(tiny_bundle) as agent:
        assert agent.stats().rss_bytes > 10_000_000


# Callbacks


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_whatever_it_may_hurts_no_frame(
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def callback(_: object) -> None:
        raise error("in a caller's callback")

    with Agent(tiny_bundle) as agent:
        futures = [agent.submit(picture) for picture in PICTURES[:1]]
        futures[0].add_done_callback(callback)
        for picture in PICTURES[1:]:
            futures.append(agent.submit(picture))
            futures[-1].add_done_callback(callback)
        assert {future.result(PATIENT).place for future in futures} == {"device"}
        assert agent.stats().answered_device == len(PICTURES)
    assert any(record.levelno == logging.ERROR for record in caplog.records)
