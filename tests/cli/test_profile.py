"""`isthmus profile` to a file, by a kit on a device, and `isthmus plan` with what it measured."""

from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.test_modelling import Desk, read
from tests.commands import Ended

from isthmus import open_profile

FLAGS = ("--steps", "1/2", "--formats", "jpeg", "--qualities", 95, "--no-bottleneck", "--quiet")


@pytest.fixture
def desk(isthmus: Isthmus, tmp_path: Path, photos: Path) -> Desk:
    return Desk(isthmus, tmp_path, photos)


def profile(desk: Desk, *flags: object) -> Ended:
    ended = desk.attempt("profile", desk.model, *FLAGS, *flags)
    assert ended.status == 0, ended.err
    return ended


def plan(desk: Desk, *flags: object) -> Ended:
    return desk.attempt("plan", desk.model, "--min-agreement", 0, *FLAGS, *flags)


def test_a_profile_of_this_machine_is_written_and_plans_for_it(desk: Desk, tmp_path: Path) -> None:
    here = tmp_path / "here.json"
    assert f"wrote {here}" in profile(desk, "-o", here).out
    measured = open_profile(here)
    assert measured.has("fp32")
    assert measured.conditions.threads == 1
    planned = read(plan(desk, "--edge", here, "--cloud", here, "--json"))
    assert planned["manifest"]["edge_factor"] == pytest.approx(1.0)


def test_a_kit_is_measured_on_the_device_and_planned_with(
    isthmus: Isthmus, desk: Desk, tmp_path: Path
) -> None:
    kit, edge = tmp_path / "kit", tmp_path / "edge.json"
    written = profile(desk, "--kit", kit)
    assert "isthmus edge profile kit -o edge.json" in written.out
    measured = isthmus("edge", "profile", kit, "-o", edge, "--rounds", 3, "--quiet")
    assert measured.status == 0, measured.err
    planned = plan(desk, "--edge", edge)
    assert planned.status == 0, planned.err


def test_a_profile_of_another_model_is_refused(
    isthmus: Isthmus, desk: Desk, tmp_path: Path
) -> None:
    here = tmp_path / "here.json"
    profile(desk, "-o", here)
    other = here.read_text().replace(open_profile(here).model_sha256, "0" * 64)
    here.write_text(other)
    refused = plan(desk, "--edge", here)
    assert refused.status == 1
    assert "isthmus profile --kit" in refused.err


def test_a_device_that_is_profiled_needs_no_factor(desk: Desk, tmp_path: Path) -> None:
    here = tmp_path / "here.json"
    profile(desk, "-o", here)
    refused = plan(desk, "--edge", here, "--edge-factor", 3)
    assert refused.status == 1
    assert "--edge-factor" in refused.err
