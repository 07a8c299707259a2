"""Where verbs write: nothing that is read is lost, and what cannot be is said before the work."""

import os
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.test_modelling import Desk
from tests.commands import assert_explained
from tests.edge.kits import build_kit

from isthmus import ConfigError
from isthmus.manifest import MANIFEST_NAME
from isthmus.profiles import KIT_NAME
from isthmus_cli.targets import require_apart, require_file, require_folder


@pytest.fixture
def desk(isthmus: Isthmus, tmp_path: Path, photos: Path) -> Desk:
    return Desk(isthmus, tmp_path, photos)


def full(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("keep me")
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_is_read_is_no_target_whatever_leads_to_it(tmp_path: Path) -> None:
    model = full(tmp_path / "m", "cls.onnx") / "cls.onnx"
    (tmp_path / "link").symlink_to(tmp_path / "m")
    for out in (model, tmp_path / "link" / "cls.onnx", tmp_path / "m" / ".." / "m" / "cls.onnx"):
        with pytest.raises(
            ConfigError, match=r"cls\.onnx: .* it is what this .* reads; .* with -o"
        ):
            require_file(out, [tmp_path / "other", model])
    require_file(tmp_path / "m" / "cls.json", [model])


def test_no_file_is_written_into_a_folder_that_is_read(tmp_path: Path) -> None:
    bundle = full(tmp_path / "cls.bundle", MANIFEST_NAME)
    for out in (bundle / MANIFEST_NAME, bundle / "device" / "new.html", bundle):
        with pytest.raises(ConfigError, match=r"it is in .*cls\.bundle, which .* reads"):
            require_file(out, [bundle])
    require_file(tmp_path / "cls.bundle.html", [bundle])


@pytest.mark.parametrize("out", ["", "none/p.json", "file/p.json", "x" * 300 + "/p.json"])
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, out: str) -> None:
    full(tmp_path, "file")
    with pytest.raises(ConfigError, match=r"(cannot be written \(.*\)|is a directory); .*-o"):
        require_file(tmp_path / out, [])


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is no ordinary file"):
        require_file(tmp_path / "pipe", [])


def test_looking_whether_a_file_can_be_written_leaves_nothing_and_the_older_one(
    tmp_path: Path,
) -> None:
    before = contents(full(tmp_path, "p.json"))
    require_file(tmp_path / "p.json", [])
    require_folder(tmp_path / "new" / "cls.bundle", MANIFEST_NAME, "bundle", [])
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 1


def test_an_older_bundle_is_replaced_but_not_over_what_is_read(tmp_path: Path) -> None:
    bundle = full(tmp_path / "cls.bundle", MANIFEST_NAME, "tail.onnx")
    require_folder(bundle, MANIFEST_NAME, "bundle", [tmp_path / "m.onnx"])
    for read in (bundle / "tail.onnx", bundle):
        with pytest.raises(ConfigError, match=rf"cls\.bundle: would be replaced, and .* {read}"):
            require_folder(bundle, MANIFEST_NAME, "bundle", [read])


def test_a_folder_that_is_no_bundle_or_cannot_be_is_refused(tmp_path: Path) -> None:
    other = full(tmp_path / "m", "holiday.txt")
    for out in (other, other / "holiday.txt"):
        with pytest.raises(ConfigError, match=r"exists and is not a bundle \(it has no bundle"):
            require_folder(out, MANIFEST_NAME, "bundle", [])
    with pytest.raises(ConfigError, match=r"the bundle cannot be written .*Not a directory"):
        require_folder(other / "holiday.txt" / "x", MANIFEST_NAME, "bundle", [])
    require_folder(full(tmp_path / "empty"), MANIFEST_NAME, "bundle", [])


def test_a_model_does_not_lie_where_results_are_kept(tmp_path: Path) -> None:
    head = full(tmp_path / "work", "head.onnx") / "head.onnx"
    with pytest.raises(ConfigError, match=r"head\.onnx: lies in .*work, .* with --work"):
        require_apart(tmp_path / "work", [head])
    require_apart(tmp_path / "work2", [head])


def test_a_profile_does_not_replace_its_model(desk: Desk) -> None:
    before = desk.model.read_bytes()
    ended = desk.attempt("profile", desk.model, "-o", desk.model)
    assert_explained(ended, "isthmus profile", str(desk.model), "another file with -o")
    assert desk.model.read_bytes() == before
    assert not desk.work.exists()


@pytest.mark.parametrize(
    ("verb", "flag", "words"),
    [
        ("profile", "-o", ("cannot be written", "with -o")),
        ("profile", "--kit", ("kit cannot be written", "another directory")),
        ("build", "--out", ("bundle cannot be written", "another directory")),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_the_work(
    desk: Desk, tmp_path: Path, verb: str, flag: str, words: tuple[str, ...]
) -> None:
    target = full(tmp_path, "file") / "file" / "below"
    ended = desk.attempt(verb, desk.model, flag, target, "--json")
    assert_explained(ended, str(target), *words)
    assert not desk.work.exists()


@pytest.mark.parametrize(("verb", "flag"), [("profile", "--kit"), ("build", "--out")])
def test_a_folder_of_other_things_is_refused_before_the_work(
    desk: Desk, tmp_path: Path, verb: str, flag: str
) -> None:
    before = contents(tmp_path)
    ended = desk.attempt(verb, desk.model, flag, tmp_path)
    assert_explained(ended, str(tmp_path), str(desk.model), "another directory")
    full(tmp_path / "other", "holiday.txt")
    ended = desk.attempt(verb, desk.model, flag, tmp_path / "other")
    assert_explained(ended, str(tmp_path / "other"), "exists and is not a", "another directory")
    assert not desk.work.exists()
    assert before.items() <= contents(tmp_path).items()


def test_a_bundle_does_not_replace_the_work_directory(desk: Desk) -> None:
    for out in (desk.work, desk.work / "parts", desk.work.parent):
        ended = desk.attempt("build", desk.model, "--out", out)
        assert_explained(ended, str(out), "would be replaced")
    assert not desk.work.exists()


def test_a_model_in_the_work_directory_is_refused_before_it_is_replaced(desk: Desk) -> None:
    desk.work.mkdir()
    model = desk.work / "head.onnx"
    shutil.copyfile(desk.model, model)
    assert_explained(desk.attempt("plan", model), str(model), str(desk.work), "--work")
    assert list(desk.work.iterdir()) == [model]


def test_a_report_does_not_replace_a_part_of_its_bundle(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny.bundle"))
    before = contents(copy)
    for out in (copy / MANIFEST_NAME, copy / "report.html"):
        assert_explained(isthmus("report", copy, "-o", out), str(out), str(copy), "-o")
    monkeypatch.chdir(copy)
    assert_explained(isthmus("report", "."), "tiny.html", "-o")
    assert contents(copy) == before


def test_a_device_profile_is_not_written_into_its_kit(isthmus: Isthmus, tmp_path: Path) -> None:
    kit = build_kit(tmp_path / "kit")
    before = contents(kit)
    for out in (kit / KIT_NAME, kit / "edge.json"):
        assert_explained(isthmus("edge", "profile", kit, "-o", out), str(out), str(kit), "-o")
    below = full(tmp_path, "file") / "file" / "edge.json"
    assert_explained(isthmus("edge", "profile", kit, "-o", below), str(below), "Not a directory")
    assert contents(kit) == before
