"""A source at work: losses, pictures that are none, agents that are replaced."""

import errno
import json
import os
import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import stats_of

from isthmus import AgentClosedError, LinkError, Manifest, PictureError, StaleFrameError
from isthmus_edge import Answer, Inputs, Stats
from isthmus_edge.daemon.feed import Desk, Feed, pauses
from isthmus_edge.daemon.output import ROOM, Output
from isthmus_edge.daemon.sections import CameraSection, OutputSection
from isthmus_edge.daemon.serving import Serving
from isthmus_edge.daemon.sources import Fate, Item, Source, SourceLostError
from isthmus_edge.daemon.sources.video import CameraSource

SECTION = OutputSection(stdout=True, top=1)


def answer(sequence: int = 1) -> Answer:
    return Answer(
        sequence=sequence,
        outputs={"y": np.array([[0.25, 0.75]], np.float32)},
        candidate="local",
        rung=0,
        place="device",
        latency_ms=1.0,
        payload_bytes=0,
        labels=("cat", "dog"),
    )


class FakeAgent:
    """Answers at once, unless told otherwise."""

    def __init__(self) -> None:
        self.taken: list[object] = []
        self.respond: Callable[[Future[Answer]], None] = lambda end: end.set_result(answer())
        self.refusal: BaseException | None = None
        self.closed_within_s: float | None = None

    @property
    def manifest(self) -> Manifest:
        raise AssertionError("nobody asks for it here")

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(frame)
        end: Future[Answer] = Future()
        self.respond(end)
        return end

    def stats(self) -> Stats:
        return stats_of(accepted=len(self.taken), answered_device=len(self.taken))

    def close(self, timeout_s: float) -> None:
        self.closed_within_s = timeout_s
        self.refusal = AgentClosedError("closed")


class ListSink:
    name = "list"

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.room = 1_000_000

    def write(self, line: bytes) -> None:
        if len(self.lines) == self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(json.loads(line))

    def close(self) -> None:
        pass


class Script:
    """A source that does what the test has written down: items, losses, an end."""

    kind = "script"
    dropped = 0

    def __init__(self, *acts: Item | Exception | None, comes_back: bool = True) -> None:
        self.comes_back = comes_back
        self._acts = list(acts)

    def items(self) -> Generator[Item | None]:
        while self._acts:
            act = self._acts.pop(0)
            if isinstance(act, Exception):
                raise act
            yield act

    def stop(self) -> None:
        self._acts.clear()


class House:
    """A feed with all that is around it."""

    def __init__(self, source: Source, agent: FakeAgent) -> None:
        self.told: list[str] = []
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.sink = ListSink()
        self.serving = Serving(agent)
        self.output = Output([self.sink], self.tell)
        self.feed = Feed(
            "tray", source, Desk(self.serving, self.output, SECTION), self.tell, retry_s=0.001
        )

    def tell(self, event: str, level: int = 0, **fields: Any) -> None:
        self.told.append(event)
        self.events.put(event)

    def run(self) -> None:
        """To the end of the source."""
        is_over = threading.Event()
        self.feed.start(is_over.set)
        assert is_over.wait(PATIENCE_S)
        assert self.output.close(PATIENCE_S)


def picture(name: str, fates: list[Fate] | None = None) -> Item:
    settled = (lambda _: None) if fates is None else fates.append
    return Item(name, np.zeros((2, 2, 3), np.uint8), settled=settled)


def test_every_picture_becomes_a_line() -> None:
    fates: list[Fate] = []
    house = House(Script(picture("a", fates), None, picture("b", fates)), FakeAgent())
    house.run()
    assert [line["item"] for line in house.sink.lines] == ["a", "b"]
    line = house.sink.lines[0]
    assert line["source"] == "tray"
    assert line["top"] == [{"label": "dog", "score": 0.75}]
    assert line["place"] == "device"
    assert fates == ["answered", "answered"]
    status = house.feed.status()
    assert (status.state, status.taken, status.answered) == ("ended", 2, 2)


def test_a_lost_source_is_told_once_and_tried_until_it_is_back() -> None:
    lost = SourceLostError("the camera is gone")
    house = House(Script(picture("a"), lost, lost, lost, picture("b")), FakeAgent())
    house.run()
    assert [line["item"] for line in house.sink.lines] == ["a", "b"]
    assert house.told == ["source_running", "source_lost", "source_running", "source_ended"]


class Hanging:
    """A camera that hangs after its first frame until it is let go; when opened again it works."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.is_over = threading.Event()

    def open(self) -> Generator[NDArray[np.uint8]]:
        yield np.zeros((2, 2, 3), np.uint8)
        if not self.let_go.is_set():
            assert self.let_go.wait(PATIENCE_S)
            raise SourceLostError("unplugged")
        assert self.is_over.wait(PATIENCE_S)


def test_a_camera_that_fell_silent_is_opened_again_when_it_works() -> None:
    camera = Hanging()
    section = CameraSection(device="x", silence_s=0.01)
    house = House(CameraSource("camera", section, camera.open), FakeAgent())
    house.feed.start()
    assert house.events.get(timeout=PATIENCE_S) == "source_running"
    assert house.events.get(timeout=PATIENCE_S) == "source_lost"
    camera.let_go.set()
    assert house.events.get(timeout=PATIENCE_S) == "source_running"
    house.feed.stop()
    camera.is_over.set()
    assert house.feed.join(PATIENCE_S)
    assert house.output.close(PATIENCE_S)


def test_a_source_that_does_not_come_back_fails_with_its_reason() -> None:
    house = House(Script(SourceLostError("no such film"), comes_back=False), FakeAgent())
    house.run()
    status = house.feed.status()
    assert (status.state, status.detail) == ("failed", "no such film")
    assert house.told == ["source_failed"]


def test_pauses_double_up_to_a_bound() -> None:
    assert list(islice(pauses(1.0, 30.0), 7)) == [1, 2, 4, 8, 16, 30, 30]


def test_a_picture_that_is_none_is_told_counted_and_the_next_one_answered() -> None:
    fates: list[Fate] = []
    torn = Item("torn", PictureError("torn.jpg: cannot be decoded"), settled=fates.append)
    house = House(Script(torn, picture("b", fates)), FakeAgent())
    house.run()
    assert house.sink.lines[0]["error"] == "torn.jpg: cannot be decoded"
    assert house.sink.lines[1]["item"] == "b"
    assert fates == ["unreadable", "answered"]
    status = house.feed.status()
    assert (status.unreadable, status.answered, status.errors) == (1, 1, 0)
    assert "frame_failed" in house.told


def test_an_answer_that_no_output_takes_is_not_counted_as_one() -> None:
    fates: list[Fate] = []
    torn = Item("torn", PictureError("torn.jpg: cannot be decoded"), settled=fates.append)
    house = House(Script(picture("a", fates), torn, picture("b", fates)), FakeAgent())
    house.sink.room = 0
    house.run()
    assert fates == ["unwritten"] * 3
    status = house.feed.status()
    assert (status.state, status.taken, status.unwritten) == ("ended", 3, 3)
    assert (status.answered, status.unreadable, status.errors) == (0, 0, 0)


def test_a_frame_that_ends_in_an_error_is_reported() -> None:
    agent = FakeAgent()
    agent.respond = lambda end: end.set_exception(LinkError("no way"))
    fates: list[Fate] = []
    house = House(Script(picture("a", fates)), agent)
    house.run()
    assert house.sink.lines[0]["error"] == "no way"
    assert fates == ["failed"]


def test_a_stale_frame_is_dropped_without_noise() -> None:
    agent = FakeAgent()
    agent.respond = lambda end: end.set_exception(StaleFrameError("a newer one came"))
    house = House(Script(picture("a")), agent)
    house.run()
    assert house.feed.status().dropped == 1
    assert "frame_failed" not in house.told


def test_an_agent_that_was_closed_ends_the_feed_and_the_frame_is_reported() -> None:
    agent = FakeAgent()
    agent.refusal = AgentClosedError("the agent is closed")
    house = House(Script(picture("a"), picture("b")), agent)
    house.run()
    assert [line["error"] for line in house.sink.lines] == ["the agent is closed"]
    assert house.feed.status().state == "stopped"


def test_a_defect_of_ours_ends_one_picture_not_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = FakeAgent()
    agent.refusal = ZeroDivisionError("ours")
    house = House(Script(picture("a"), picture("b")), agent)
    house.run()
    assert house.feed.status().state == "ended"
    assert "ZeroDivisionError" in caplog.text
    assert [line["error"] for line in house.sink.lines] == ["ours", "ours"]
    assert house.feed.status().errors == 2


def test_a_stopped_feed_ends_its_frames_first() -> None:
    agent = FakeAgent()
    under_way: queue.SimpleQueue[Future[Answer]] = queue.SimpleQueue()
    agent.respond = under_way.put
    house = House(Script(picture("a")), agent)
    house.feed.start()
    frame = under_way.get(timeout=PATIENCE_S)
    house.feed.stop()
    assert not house.feed.join(0)
    frame.set_result(answer())
    assert house.feed.join(PATIENCE_S)
    assert house.feed.is_over
    assert house.output.close(PATIENCE_S)
    assert [line["item"] for line in house.sink.lines] == ["a"]


def test_another_agent_takes_over_and_the_old_one_ends_what_it_accepted() -> None:
    old, new = FakeAgent(), FakeAgent()
    serving = Serving(old)
    serving.submit(Path("a.png"))
    before = serving.change(new)
    assert before is old
    serving.submit(Path("b.png"))
    assert serving.retire(old, 3.0).accepted == 1
    assert old.closed_within_s == 3.0
    serving.submit(Path("c.png"))
    serving.stats()
    assert (old.taken, new.taken) == ([Path("a.png")], [Path("b.png"), Path("c.png")])
    assert serving.counts().accepted == 3
    assert serving.counts().answered_device == 3


def test_a_frame_that_the_old_agent_refuses_goes_to_the_new_one() -> None:
    old, new = FakeAgent(), FakeAgent()
    serving = Serving(old)

    class Late(FakeAgent):
        """Is replaced while a frame is handed in."""

        def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
            serving.change(new)
            raise AgentClosedError("closed")

    serving.change(Late())
    assert serving.submit(Path("a.png")).result().candidate == "local"
    assert new.taken == [Path("a.png")]


def test_a_change_can_be_undone() -> None:
    old, new = FakeAgent(), FakeAgent()
    serving = Serving(old)
    serving.change_back(serving.change(new))
    serving.submit(Path("a.png"))
    assert (len(old.taken), len(new.taken)) == (1, 0)
    serving.stats()
    assert serving.counts().accepted == 1


def test_a_name_that_is_no_unicode_is_written_as_its_bytes() -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    torn = Item(name, PictureError(f"{name}: cannot be decoded"))
    house = House(Script(torn, picture(name), picture("caf\u00e9.jpg")), FakeAgent())
    house.run()
    assert [line["item"] for line in house.sink.lines] == [
        r"caf\xe9.jpg",
        r"caf\xe9.jpg",
        "caf\u00e9.jpg",
    ]
    assert house.sink.lines[0]["error"] == r"caf\xe9.jpg: cannot be decoded"


def test_a_desk_whose_output_stalls_is_left_for_the_next_one_and_at_the_end() -> None:
    stalled, next_one = Output([], lambda *_, **__: None), Output([], lambda *_, **__: None)
    desk = Desk(Serving(FakeAgent()), stalled, SECTION)
    for _ in range(ROOM):
        assert stalled.reserve()
    places: queue.SimpleQueue[Output] = queue.SimpleQueue()
    threading.Thread(target=lambda: places.put(desk.place()), daemon=True).start()
    desk.change(next_one, SECTION)
    assert not stalled.close(0.0)
    assert places.get(timeout=PATIENCE_S) is next_one
    assert not next_one.close(0.0)
    with pytest.raises(AgentClosedError, match="takes no picture"):
        desk.place()
    for output, promised in ((stalled, ROOM), (next_one, 1)):
        for _ in range(promised):
            output.put(lambda: b"", lambda _written: None)
        assert output.close(PATIENCE_S)
