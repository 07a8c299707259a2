"""The fake cloud that users test with: it answers, fails and comes back as it is told."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference import Reference
from tests.tinybundle import CLASSES, PICTURE, PROBABILITIES, tiny_pictures

from isthmus import ConfigError, LinkError, PeerError
from isthmus_edge import Agent
from isthmus_edge.testing import FakeCloud, Received

PICTURES = tiny_pictures(8)
PATIENT = 20.0


@pytest.fixture
def cloud(tiny_bundle: Path) -> Iterator[FakeCloud]:
    with FakeCloud(tiny_bundle) as cloud:
        yield cloud


@pytest.fixture
def agent(tiny_bundle: Path, cloud: FakeCloud) -> Iterator[Agent]:
    with Agent(tiny_bundle, cloud=cloud, candidate="cut-16", silence_s=0.2) as agent:
        yield agent


def row(of_class: int) -> NDArray[np.float32]:
    values = np.zeros(CLASSES, np.float32)
    values[of_class] = 1.0
    return values


def test_it_answers_with_the_outputs_that_it_was_given(tiny_bundle: Path) -> None:
    for answer in (row(3), {PROBABILITIES.name: row(3)[None]}):
        with (
            FakeCloud(tiny_bundle, answer) as cloud,
            Agent(tiny_bundle, cloud, candidate="cut-16") as agent,
        ):
            got = agent.infer(PICTURES[0])
            assert (got.place, got.top(1)) == ("cloud", [("class 3", 1.0)])
            assert (cloud.answered, cloud.connects) == (1, 1)


def test_it_answers_with_what_a_function_makes_of_the_tensors_that_crossed(
    tiny_bundle: Path,
) -> None:
    """With the unsplit model as the function it answers as the real cloud would."""
    reference = Reference(tiny_bundle)

    def tail(received: Received) -> np.ndarray:
        (picture,) = received.tensors
        return reference.unsplit({PICTURE.name: picture})

    with (
        FakeCloud(tiny_bundle, tail) as cloud,
        Agent(tiny_bundle, cloud, candidate="input-raw") as agent,
    ):
        got = agent.infer(PICTURES[1], deadline_ms=6e4)
        assert reference.is_right(got, PICTURES[1])
        (received,) = cloud.received
    assert (received.candidate, received.rung, received.sequence) == ("input-raw", 0, 1)
    assert received.payload_bytes == got.payload_bytes
    assert received.deadline_ms is not None
    assert 0 < received.deadline_ms <= 6e4


def test_frames_of_a_video_that_are_differences_arrive_whole(
    cloud: FakeCloud, agent: Agent
) -> None:
    for _ in range(4):
        agent.infer(PICTURES[0])
    first, *others = (received.tensors[0] for received in cloud.received)
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("fault", ["disconnect", "go_silent", "refuse"])
def test_whatever_it_does_a_frame_ends_once_and_it_can_come_back(
    cloud: FakeCloud, agent: Agent, fault: str
) -> None:
    assert agent.infer(PICTURES[0]).place == "cloud"
    getattr(cloud, fault)()
    assert agent.infer(PICTURES[1]).place == "device"
    cloud.come_back()
    while agent.infer(PICTURES[2]).place != "cloud":
        cloud.wait_for_device(PATIENT)
    stats = agent.stats()
    assert stats.accepted == stats.answered_cloud + stats.answered_device
    assert stats.errors == 0
    assert cloud.connects > (fault == "disconnect")


def test_frames_that_it_holds_are_answered_when_it_lets_go(cloud: FakeCloud, agent: Agent) -> None:
    cloud.hold()
    futures = [agent.submit(picture, deadline_ms=6e4) for picture in PICTURES[:3]]
    agent.stats()
    assert cloud.answered == 0
    cloud.release()
    assert [future.result(PATIENT).place for future in futures] == ["cloud"] * 3


def test_a_delay_passes_before_an_answer(tiny_bundle: Path) -> None:
    """The agent's patience is shorter, so the delay must be what the device answers for."""
    with (
        FakeCloud(tiny_bundle, delay_ms=6e4) as cloud,
        Agent(tiny_bundle, cloud, candidate="cut-16", patience_ms=1.0) as agent,
    ):
        assert agent.infer(PICTURES[0]).place == "device"
        cloud.delay_ms = 0.0
        assert len(cloud.received) == 1


def test_a_function_that_fails_costs_no_frame_and_shows_at_the_end(tiny_bundle: Path) -> None:
    def broken(_: Received) -> np.ndarray:
        raise ZeroDivisionError("in the test's own function")

    cloud = FakeCloud(tiny_bundle, broken)
    with Agent(tiny_bundle, cloud, candidate="cut-16") as agent:
        assert agent.infer(PICTURES[0]).place == "device"
    assert cloud.answered == 0
    with pytest.raises(ZeroDivisionError, match="own function"), cloud:
        pass


@pytest.mark.parametrize(
    ("answer", "words"),
    [(np.zeros(3), r"'probabilities' is \[3\]"), ({"logits": np.zeros(3)}, "no output 'prob")],
)
def test_outputs_that_are_not_the_models_are_refused_at_once(
    tiny_bundle: Path, answer: object, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        FakeCloud(tiny_bundle, answer)  # type: ignore[arg-type]


def test_a_code_that_no_service_has_is_no_refusal(cloud: FakeCloud) -> None:
    with pytest.raises(ConfigError, match="there are OVERLOADED"):
        cloud.refuse("OVRLOADED")  # type: ignore[arg-type]


def test_it_refuses_a_device_that_holds_other_weights(
    tiny_bundle: Path, other_bundle: Path
) -> None:
    with FakeCloud(other_bundle) as cloud, pytest.raises(PeerError, match="weights differ"):
        Agent(tiny_bundle, cloud, require_cloud=True)


def test_a_device_that_does_not_come_is_an_error_with_the_way_out(cloud: FakeCloud) -> None:
    with pytest.raises(LinkError, match="open an agent with cloud="):
        cloud.wait_for_device(0.0)


def test_only_what_was_asked_for_of_a_row_comes_back(tiny_bundle: Path) -> None:
    with (
        FakeCloud(tiny_bundle, row(3)) as cloud,
        Agent(tiny_bundle, cloud, candidate="cut-16", answer_top_k=1) as agent,
    ):
        values = agent.infer(PICTURES[0]).outputs[PROBABILITIES.name].reshape(-1)
    assert np.isfinite(values).sum() == 1


def test_its_thread_ends_with_it(tiny_bundle: Path) -> None:
    before = threading.active_count()
    with FakeCloud(tiny_bundle) as cloud:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    cloud.close()
