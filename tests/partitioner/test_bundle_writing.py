"""A bundle is written whole or not at all, and opens on both sides."""

import errno
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from tests.partitioner.conftest import Planned

from isthmus import BundleError, open_bundle
from isthmus_partitioner import write_bundle


@pytest.fixture
def out(planned: Planned, tmp_path: Path) -> Path:
    return write_bundle(planned.plan, planned.parts, tmp_path / "deep" / "bundle")


@pytest.mark.parametrize("side", ["device", "cloud"])
def test_a_written_bundle_opens(out: Path, planned: Planned, side: str) -> None:
    bundle = open_bundle(out, side)  # type: ignore[arg-type]
    assert bundle.manifest == planned.plan.manifest
    assert bundle.labels == ("ant", "bee", "cat", "dog", "eel")


def test_nothing_temporary_is_left_beside_it(out: Path) -> None:
    assert list(out.parent.iterdir()) == [out]


def test_the_same_plan_gives_the_same_fingerprint(
    out: Path, planned: Planned, tmp_path: Path
) -> None:
    again = write_bundle(planned.plan, planned.parts, tmp_path / "again")
    assert open_bundle(again, "device").fingerprint == open_bundle(out, "device").fingerprint


def test_a_flipped_byte_is_found(out: Path, planned: Planned) -> None:
    for entry in planned.plan.manifest.files:
        if entry.path.endswith((".onnx", ".json")):
            path = out / entry.path
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            side = "device" if entry.side == "device" else "cloud"
            with pytest.raises(BundleError, match=f"{path.name}: damaged"):
                open_bundle(out, side)  # type: ignore[arg-type]
            shutil.copyfile(planned.parts / entry.path, path)


def test_an_older_bundle_is_replaced(out: Path, planned: Planned) -> None:
    (out / "left-over").write_text("old")
    write_bundle(planned.plan, planned.parts, out)
    assert not (out / "left-over").exists()
    open_bundle(out, "device")
    assert list(out.parent.iterdir()) == [out]


def test_an_empty_directory_may_be_used(planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bundle = open_bundle(write_bundle(planned.plan, planned.parts, tmp_path / "empty"), "cloud")
    assert bundle.manifest == planned.plan.manifest


def test_a_directory_that_is_no_bundle_is_left_alone(planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(planned.plan, planned.parts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(planned.plan, planned.parts, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_full_disk_is_reported_and_cleaned_up(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's copying names the source first, which is not what is full."""

    def full(source: Path, target: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(BundleError, match=r"bundle.*cannot be written \(No space left") as failed:
        write_bundle(planned.plan, planned.parts, tmp_path / "bundle")
    assert str(planned.parts) not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_changed_since_the_plan_is_refused(planned: Planned, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(planned.parts, parts)
    segment = parts / planned.plan.manifest.chains[0].segments[0].file
    segment.write_bytes(b"something else")
    with pytest.raises(BundleError, match=rf"{segment.name}: changed since the plan was made"):
        write_bundle(planned.plan, parts, tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_ctrl_c_leaves_nothing_behind(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_source: Path, _target: Path) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(planned.plan, planned.parts, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_stays_where_a_newer_one_cannot_be_finished(
    out: Path, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_source: Path, target: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(planned.plan, planned.parts, out)
    assert open_bundle(out, "device").manifest == planned.plan.manifest
    assert list(out.parent.iterdir()) == [out]


def test_profile_and_plan_are_in_it(out: Path) -> None:
    assert {path.name for path in (out / "record").iterdir()} == {"plan.json", "profile.json"}
