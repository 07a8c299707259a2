"""The cloud dies, comes back, or comes back as another: the device answers whatever happens."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud, until
from tests.reference import Reference
from tests.tinybundle import tiny_pictures
from tests.widebundle import wide_items

from isthmus_edge import Agent, AgentConfig, Answer

PICTURES = tiny_pictures(4)


@pytest.fixture
def cloud(own_cloud: Cloud) -> Cloud:
    """It is killed in most of these tests."""
    return own_cloud


@pytest.fixture
def agent(tiny_bundle: Path, cloud: Cloud) -> Iterator[Agent]:
    """An agent that takes the cut whenever there is a link."""
    config = AgentConfig(bundle=tiny_bundle, cloud=cloud.address, candidate="cut-256")
    with Agent.open(config) as agent:
        yield agent


@pytest.fixture
def reference(tiny_bundle: Path) -> Reference:
    return Reference(tiny_bundle)


def answered(agent: Agent, reference: Reference) -> Answer:
    """The right answer to one more frame, wherever it comes from."""
    answer = agent.submit(PICTURES[0]).result(PATIENCE_S)
    assert reference.is_right(answer, PICTURES[0])
    return answer


def until_the_cloud_answers(agent: Agent, reference: Reference) -> None:
    until(lambda: answered(agent, reference).place == "cloud", "the cloud answers")


def test_frames_in_flight_when_the_cloud_is_killed_are_answered_by_the_device(
    agent: Agent, cloud: Cloud, reference: Reference, tiny_bundle: Path
) -> None:
    until_the_cloud_answers(agent, reference)
    cloud.process.send_signal(signal.SIGSTOP)  # or it might answer before it dies
    in_flight = [agent.submit(picture) for picture in PICTURES]
    cloud.process.kill()
    answers = [future.result(PATIENCE_S) for future in in_flight]
    assert [answer.place for answer in answers] == ["device"] * len(PICTURES)
    assert all(
        reference.is_right(answer, picture)
        for answer, picture in zip(answers, PICTURES, strict=True)
    )
    with Cloud(tiny_bundle, cloud.address):
        until_the_cloud_answers(agent, reference)
    stats = agent.stats()
    assert stats.accepted == stats.answered_cloud + stats.answered_device
    assert (stats.errors, stats.pending, stats.duplicates) == (0, 0, 0)


def test_whatever_the_cut_the_device_finishes_the_frame_on_its_chain(wide_bundle: Path) -> None:
    """From two inputs, from tensors that skip a segment, and with outputs that the head gave."""
    reference = Reference(wide_bundle)
    names = [c.id for c in reference.manifest.candidates if not c.is_local]
    with Cloud(wide_bundle, "127.0.0.1:0", "--window", len(names)) as cloud:
        config = AgentConfig(
            bundle=wide_bundle,
            cloud=cloud.address,
            patience_ms=PATIENCE_S * 1e3,
            silence_s=PATIENCE_S,
        )
        with Agent.open(config) as agent:
            items = wide_items(len(names))
            cloud.process.send_signal(signal.SIGSTOP)
            pairs = list(zip(items, names, strict=True))
            in_flight = [agent.submit(item, candidate=name) for item, name in pairs]
            cloud.process.kill()
            answers = [future.result(PATIENCE_S) for future in in_flight]
    assert [(a.candidate, a.place) for a in answers] == [(name, "device") for name in names]
    assert all(reference.is_right(a, item) for a, item in zip(answers, items, strict=True))
    sent = [answer for answer in answers if answer.payload_bytes > 0]
    assert len(sent) >= len(names) - config.max_queued  # some may have waited for the device still


def test_a_cloud_that_comes_back_with_other_weights_is_left_alone(
    agent: Agent, cloud: Cloud, reference: Reference, other_bundle: Path
) -> None:
    until_the_cloud_answers(agent, reference)
    cloud.process.kill()
    cloud.ended()

    def refused() -> bool:
        assert answered(agent, reference).place == "device"
        return agent.stats().link_state == "refused"

    with Cloud(other_bundle, cloud.address):
        until(refused, "the link is refused for good")
        assert answered(agent, reference).place == "device"


def test_a_device_that_starts_before_the_cloud_finds_it_when_it_comes(
    tiny_bundle: Path, reference: Reference
) -> None:
    with Cloud(tiny_bundle) as first:
        address = first.address  # free again when it has ended
    config = AgentConfig(bundle=tiny_bundle, cloud=address, require_cloud=False, candidate="cut-16")
    with Agent.open(config) as agent:
        assert answered(agent, reference).place == "device"
        with Cloud(tiny_bundle, address):
            until_the_cloud_answers(agent, reference)
