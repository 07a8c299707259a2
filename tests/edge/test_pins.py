"""`ID` and `ID@RUNG`: how one way to answer is named."""

from pathlib import Path

import pytest
from tests.edge.fakes import FakeService, wide_item
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError, Manifest, open_bundle
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.pins import pinned


@pytest.fixture(scope="module")
def manifest(wide_bundle: Path) -> Manifest:
    return open_bundle(wide_bundle, "device").manifest


def test_a_candidate_by_its_id_alone_is_at_the_rung_that_the_plan_chose(
    manifest: Manifest,
) -> None:
    assert pinned(manifest, "floats") == manifest.candidate("floats")
    assert pinned(manifest, "floats").chosen == 2


@pytest.mark.parametrize("rung", range(4))
def test_a_rung_is_named_behind_the_candidate(manifest: Manifest, rung: int) -> None:
    candidate = pinned(manifest, f"floats@{rung}")
    assert (candidate.id, candidate.chosen) == ("floats", rung)
    assert candidate.encodings == manifest.candidate("floats").rungs[rung].encodings


@pytest.mark.parametrize("rung", ["4", "-1", "x", "", "00", "²", "1.0", "9" * 5000])
def test_a_rung_that_is_not_there_is_refused_with_those_that_are(
    manifest: Manifest, rung: str
) -> None:
    with pytest.raises(ConfigError, match=r"no rung .*it has, from the finest: 0, 1, 2, 3"):
        pinned(manifest, f"floats@{rung}")


@pytest.mark.parametrize("name", ["nonsense", "nonsense@0", "@0", "", "floats@0@0"])
def test_an_unknown_candidate_is_refused_with_the_known_ones(manifest: Manifest, name: str) -> None:
    with pytest.raises(ConfigError, match="it has: local, input, floats, pair"):
        pinned(manifest, name)


@pytest.mark.parametrize(("name", "rung"), [("floats", 2), ("floats@3", 3), ("local", 0)])
def test_the_figures_of_an_agent_name_what_every_frame_is_pinned_to(
    wide_bundle: Path, name: str, rung: int
) -> None:
    """From the start on; a frame that is pinned otherwise is no news."""
    config = AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1", candidate=name)
    with Agent.open(config, transport=FakeService()) as agent:
        before = agent.stats()
        agent.infer(wide_item(tiny_pictures(1)[0]), candidate="pair")
        after = agent.stats()
    for stats in (before, after, agent.stats()):
        assert (stats.candidate, stats.rung) == (name.partition("@")[0], rung)
        assert stats.switches == ()


def test_a_frame_that_is_pinned_alone_names_nothing(wide_bundle: Path) -> None:
    with Agent.open(AgentConfig(bundle=wide_bundle)) as agent:
        agent.infer(wide_item(tiny_pictures(1)[0]), candidate="local")
        assert (agent.stats().candidate, agent.stats().rung) == (None, None)
