"""`ID` and `ID@RUNG`: how one way to answer is named."""

from pathlib import Path

import pytest

from isthmus import ConfigError, Manifest, open_bundle
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
