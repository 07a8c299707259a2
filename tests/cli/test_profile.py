"""`isthmus profile` to a file, by a kit on a device, and `isthmus plan` with what it measured."""

import signal
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.test_modelling import Desk, read
from tests.commands import Ended, assert_explained
from tests.partitioner.networks import residual, saved

from isthmus import open_profile
from isthmus_cli import main

FLAGS = ("--steps", "1/2", "--formats", "jpeg", "--qualities", 95, "--no-bottleneck", "--quiet")


@pytest.fixture
def desk(isthmus: Isthmus, tmp_path: Path, photos: Path) -> Desk:
    return Desk(isthmus, tmp_path, photos)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> str:
    """A profile that `isthmus profile` made of the model of any desk."""
    folder = tmp_path_factory.mktemp("measured")
    model, here = saved(residual(), folder / "residual.onnx"), folder / "here.json"
    folders = ("--pictures", photos, "--work", folder / "work", "-o", here)
    before = signal.getsignal(signal.SIGTERM)
    status = main([str(each) for each in ("profile", model, *folders, *FLAGS)])
    signal.signal(signal.SIGTERM, before)
    assert status == 0
    return here.read_text()


def profile(desk: Desk, *flags: object) -> Ended:
    ended = desk.attempt("profile", desk.model, *FLAGS, *flags)
    assert ended.status == 0, ended.err
    return ended


def plan(desk: Desk, *flags: object) -> Ended:
    return desk.attempt("plan", desk.model, "--min-agreement", 0, *FLAGS, *flags)


def test_a_profile_of_this_machine_is_written_and_plans_for_it(desk: Desk, tmp_path: Path) -> None:
    here = tmp_path / "here.json"
    assert f"wrote {here}" in profile(desk, "-o", here).out
    found = open_profile(here)
    assert found.has("fp32")
    assert found.conditions.threads == 1
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


def test_a_profile_of_another_model_is_refused(desk: Desk, tmp_path: Path, measured: str) -> None:
    here = tmp_path / "here.json"
    here.write_text(measured)
    here.write_text(measured.replace(open_profile(here).model_sha256, "0" * 64))
    for flag in ("--edge", "--cloud"):
        refused = plan(desk, flag, here)
        assert_explained(refused, "isthmus profile --kit", str(desk.model), "0" * 64)
    assert not desk.work.exists()


def test_a_device_that_is_profiled_needs_no_factor(
    desk: Desk, tmp_path: Path, measured: str
) -> None:
    here = tmp_path / "here.json"
    here.write_text(measured)
    for flag in ("--edge-factor", "--edge-network-ms"):
        refused = plan(desk, "--edge", here, flag, 3)
        assert_explained(refused, flag, f"--edge {here}", "leave one of the two out")
    assert not desk.work.exists()


@pytest.mark.parametrize(
    "flags",
    [("--edge-factor", 20), ("--edge-network-ms", 50), ("--edge", "edge.json")],
    ids=lambda flags: str(flags[0]),
)
def test_several_threads_are_measured_as_the_device_and_nothing_else_is(
    desk: Desk, flags: tuple[object, ...]
) -> None:
    refused = desk.attempt("profile", desk.model, "--threads", 2, *flags)
    assert_explained(refused, f"profile: {flags[0]}: with --threads 2", "or --threads out")
    assert not desk.work.exists()


@pytest.mark.parametrize("flags", [("-o", "p2.json"), ("--threads", 2)])
def test_what_a_kit_would_not_do_is_refused(
    desk: Desk, tmp_path: Path, flags: tuple[object, ...]
) -> None:
    refused = desk.attempt("profile", desk.model, "--kit", tmp_path / "kit", *flags)
    assert_explained(refused, f"profile: {flags[0]}: --kit", "isthmus edge profile")
    assert [path.name for path in tmp_path.iterdir()] == [desk.model.name]
