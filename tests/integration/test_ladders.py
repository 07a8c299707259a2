"""Two inputs and chains, stages, answers: every rung answers rightly over the real cloud."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud
from tests.reference import Reference
from tests.widebundle import ORDERS, wide_items

from isthmus import Manifest
from isthmus_edge import Agent, AgentConfig

ITEMS = wide_items(6)


@pytest.fixture(scope="module")
def cloud(wide_bundle: Path) -> Iterator[Cloud]:
    with Cloud(wide_bundle) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def reference(wide_bundle: Path) -> Reference:
    return Reference(wide_bundle, ORDERS)


@pytest.fixture(scope="module")
def agent(wide_bundle: Path, cloud: Cloud) -> Iterator[Agent]:
    """A busy machine is no reason to take the cloud for dead."""
    config = AgentConfig(
        bundle=wide_bundle,
        cloud=cloud.address,
        connect_timeout_s=PATIENCE_S,
        silence_s=PATIENCE_S,
        patience_ms=PATIENCE_S * 1e3,
    )
    with Agent.open(config) as agent:
        yield agent


def ways_of(manifest: Manifest) -> list[tuple[str, int]]:
    """Every candidate at every rung of its ladder."""
    return [(c.id, rung) for c in manifest.candidates for rung in range(len(c.rungs))]


def test_every_rung_of_every_candidate_gives_the_right_answer(
    agent: Agent, reference: Reference
) -> None:
    for name, rung in ways_of(agent.manifest):
        futures = [agent.submit(item, candidate=f"{name}@{rung}") for item in ITEMS]
        for item, future in zip(ITEMS, futures, strict=True):
            answer = future.result(PATIENCE_S)
            assert (answer.candidate, answer.rung) == (name, rung)
            assert answer.place == ("device" if name == "local" else "cloud")
            assert reference.is_right(answer, item), (name, rung)


def test_candidate_and_rung_may_change_with_every_frame(agent: Agent, reference: Reference) -> None:
    ways = ways_of(agent.manifest)
    sent = [
        (item, agent.submit(item, candidate=f"{name}@{rung}"))
        for item in ITEMS
        for name, rung in ways
    ]
    answers = [(item, future.result(PATIENCE_S)) for item, future in sent]
    assert [(answer.candidate, answer.rung) for _, answer in answers] == ways * len(ITEMS)
    assert all(reference.is_right(answer, item) for item, answer in answers)


def test_the_reference_tells_one_rung_from_another(reference: Reference) -> None:
    """Or the tests above could not fail."""
    for name in ("floats", "pair"):
        by_rung = [[reference.expected(name, item, rung) for item in ITEMS] for rung in (2, 3)]
        apart = [abs(fine - coarse).max() for fine, coarse in zip(*by_rung, strict=True)]
        assert max(apart) > 1e-3
