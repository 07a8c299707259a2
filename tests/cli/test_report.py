"""`isthmus report` and `isthmus inspect` on a bundle, and on what is none."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from tests.cli.conftest import Isthmus
from tests.cli.models import flip_byte
from tests.commands import assert_explained

from isthmus import Manifest, open_bundle
from isthmus.manifest import MANIFEST_NAME
from isthmus_partitioner.report.words import plain


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle, to be changed."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny.bundle"))


def manifest_of(bundle: Path) -> Manifest:
    return open_bundle(bundle, "device").manifest


def test_a_report_is_one_file_and_says_what_it_lacks(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page" / "report.html"
    out.parent.mkdir()
    ended = isthmus("report", tiny_bundle, "-o", out)
    assert (ended.status, ended.err) == (0, "")
    assert str(out) in ended.out
    assert "no profile" in ended.out
    assert list(out.parent.iterdir()) == [out]
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert all(f'"id":"{c.id}"' in page for c in manifest_of(tiny_bundle).candidates)


def test_a_report_is_named_after_its_bundle(
    isthmus: Isthmus, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = isthmus("report", copy, "--json")
    told = json.loads(ended.out)
    assert (ended.status, told["report"]) == (0, "tiny.html")
    assert told["size_bytes"] == (tmp_path / "tiny.html").stat().st_size
    assert told["fingerprint"] == open_bundle(copy, "cloud").fingerprint


@pytest.mark.parametrize("verb", ["report", "inspect"])
def test_what_is_no_bundle_is_named(isthmus: Isthmus, tmp_path: Path, verb: str) -> None:
    nothing = tmp_path / "nothing"
    assert_explained(isthmus(verb, nothing), str(nothing), "isthmus build")
    nothing.mkdir()
    (nothing / MANIFEST_NAME).write_text("{")
    assert_explained(isthmus(verb, nothing), str(nothing), "build the bundle again")


def test_a_manifest_that_is_too_large_is_not_read(
    isthmus: Isthmus, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (copy / MANIFEST_NAME).open("ab") as file:
        file.truncate(1 << 30)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert_explained(isthmus("inspect", copy), MANIFEST_NAME, "larger than any manifest")


def test_a_page_that_cannot_be_written_is_named(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert_explained(isthmus("report", tiny_bundle, "-o", tmp_path), str(tmp_path), "-o")
    out = tmp_path / "none" / "report.html"
    assert_explained(isthmus("report", tiny_bundle, "-o", out), str(out), "-o")
    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "report.html"
    assert_explained(isthmus("report", tiny_bundle, "-o", out), str(out), "No space left")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["tiny_bundle", "wide_bundle"])
def test_a_bundle_is_shown_whole(
    isthmus: Isthmus, request: pytest.FixtureRequest, which: str
) -> None:
    bundle: Path = request.getfixturevalue(which)
    opened = open_bundle(bundle, "cloud")
    manifest = opened.manifest
    ended = isthmus("inspect", bundle)
    assert (ended.status, ended.err) == (0, "")
    words = [opened.fingerprint, manifest.model_sha256, manifest.measured_on, manifest.metric]
    words += [chain.id for chain in manifest.chains]
    words += [spec.name for spec in (*manifest.inputs, *manifest.outputs)]
    words += [segment.file for chain in manifest.chains for segment in chain.segments]
    words += [part for cut in manifest.cuts for part in cut.tail]
    words += [tensor.wire.name for cut in manifest.cuts for tensor in cut.tensors]
    words += [entry.path for entry in manifest.files]
    assert [word for word in words if word not in ended.out] == []
    lines = ended.out.splitlines()
    for candidate in manifest.candidates:
        assert any(candidate.id in line and candidate.reason in line for line in lines)
        for rung in candidate.rungs:
            assert any(candidate.id in ln and str(rung.figures.payload_bytes) in ln for ln in lines)
    assert f"all {len(manifest.files)} files are what the manifest says" in ended.out


def test_an_inspection_as_json_is_manifest_and_files(isthmus: Isthmus, tiny_bundle: Path) -> None:
    told = json.loads(isthmus("inspect", tiny_bundle, "--json").out)
    manifest = manifest_of(tiny_bundle)
    assert msgspec.convert(told["manifest"], Manifest) == manifest
    assert (told["manifest"]["batched"], told["unbatched"]) == (True, "")
    assert {file["path"]: file["state"] for file in told["files"]} == {
        entry.path: "ok" for entry in manifest.files
    }


@pytest.mark.parametrize(
    ("state", "number"), [("missing", 1), ("wrong size", 1), ("wrong sha256", 1), ("unreadable", 3)]
)
def test_a_file_that_is_not_right_is_marked_and_ends_in_status_1(
    isthmus: Isthmus, copy: Path, state: str, number: int
) -> None:
    broken = copy / "cloud" / "tail-1.onnx"
    match state:
        case "missing":
            broken.unlink()
        case "wrong size":
            broken.write_bytes(broken.read_bytes() + b"\0")
        case "wrong sha256":
            flip_byte(broken)
        case _:
            shutil.rmtree(broken.parent)
            broken.parent.write_text("a file where a folder was")
    ended = isthmus("inspect", copy)
    (line,) = (row for row in ended.out.splitlines() if "tail-1.onnx" in row and state in row)
    assert line.split()[0] == "cloud"
    assert f"{number} of 6 files are not what the manifest says" in ended.out
    assert_explained(ended, "cloud/", state, "isthmus build")


def test_a_name_cannot_steer_the_terminal() -> None:
    assert plain("con\x1b[31mv\n\u202e\u2028") == r"con\x1b[31mv\n\u202e\u2028"
    assert plain("naïve 卷积 :0/b") == "naïve 卷积 :0/b"
