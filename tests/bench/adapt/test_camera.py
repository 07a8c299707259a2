"""A camera takes its frames on schedule and forgets none of them."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from isthmus import AgentClosedError, LinkError
from isthmus_bench.adapt import camera
from isthmus_bench.adapt.camera import Camera, Shot
from isthmus_edge import Answer

FPS = 1000.0


def answer(sequence: int) -> Answer:
    return Answer(
        sequence=sequence,
        outputs={"out": np.zeros(1)},
        candidate="cut",
        rung=0,
        place="cloud",
        latency_ms=1.0,
        payload_bytes=10,
        labels=(),
    )


class Agent:
    """Ends frames as its script says: a sequence number, an error, or None for never."""

    def __init__(self, *script: int | Exception | None) -> None:
        self._script = script
        self.ways: list[str | None] = []

    def submit(self, index: int, way: str | None) -> "Future[Answer]":
        self.ways.append(way)
        future: Future[Answer] = Future()
        match self._script[index]:
            case int() as sequence:
                future.set_result(answer(sequence))
            case AgentClosedError() as refusal:
                raise refusal
            case Exception() as error:
                future.set_exception(error)
        return future


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_DRAIN_S", 0.0)


def test_every_tick_is_a_frame_whatever_becomes_of_it() -> None:
    script = Agent(1, LinkError("broken"), AgentClosedError("closed"), None)
    taken = Camera(script.submit, Shot(frames=4, fps=FPS))
    answered, failed, refused, lost = taken.finish()
    assert [f.tick_s for f in (answered, failed, refused, lost)] == pytest.approx(
        [0.0, 0.001, 0.002, 0.003]
    )
    assert (answered.candidate, answered.place, answered.payload_bytes) == ("cut", "cloud", 10)
    assert answered.latency_ms is not None
    assert failed.latency_ms is refused.latency_ms is lost.latency_ms is None
    assert failed.error == "LinkError: broken"
    assert refused.error == "refused: closed"
    assert lost.error.startswith("lost")
    assert (taken.accepted, taken.lost, taken.doubled()) == (3, 1, 0)


def test_a_frame_whose_end_is_told_late_is_not_called_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits for a future may wake before the callbacks of that future have run."""
    monkeypatch.setattr(camera, "_DRAIN_S", 60.0)
    is_done = threading.Event()
    threads = []

    def submit(_index: int, _way: str | None) -> "Future[Answer]":
        future: Future[Answer] = Future()

        def dawdle(_: "Future[Answer]") -> None:
            is_done.set()
            threading.Event().wait(0.2)  # the camera's own callback comes after this one

        def end() -> None:
            future.set_result(answer(1))

        future.add_done_callback(dawdle)
        threads.append(threading.Thread(target=end))
        return future

    taken = Camera(submit, Shot(frames=1, fps=FPS))
    while not taken.accepted:
        threading.Event().wait(0.001)
    threads[0].start()
    assert is_done.wait(60.0)
    (ended,) = taken.finish()
    threads[0].join()
    assert (ended.error, ended.candidate, taken.lost) == ("", "cut", 0)


def test_two_frames_with_one_number_are_a_doubled_answer() -> None:
    taken = Camera(Agent(1, 2, 2).submit, Shot(frames=3, fps=FPS))
    taken.finish()
    assert (taken.lost, taken.doubled()) == (0, 1)


def test_frames_take_turns_on_the_ways_they_are_told() -> None:
    agent = Agent(*range(7))
    Camera(agent.submit, Shot(frames=7, fps=FPS, turns=("a", None), every=2)).finish()
    assert agent.ways == ["a", "a", None, None, "a", "a", None]
