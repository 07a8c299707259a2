"""`isthmus profile`, `plan` and `build`: step by step, as tables, as JSON, and refused."""

import argparse
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import onnx
import pytest
from tests.cli.conftest import PHOTOS, Isthmus
from tests.cli.models import LABELS, float_image, with_unknown_op
from tests.commands import Ended, assert_explained
from tests.partitioner.networks import residual, saved

from isthmus import ConfigError, open_bundle
from isthmus_cli import main
from isthmus_cli import plan as plan_verb
from isthmus_cli.modelling import plan_config
from isthmus_partitioner import PlanConfig

STEPS = ("profile", "plan", "build")
SLOW_DEVICE = ("--edge-network-ms", 500, "--agreement-floor", 0)
QUICK = ("--steps", "1/4", "0.5", "--formats", "jpeg", "--qualities", 95, 85, "--no-bottleneck")


class Desk:
    """A model, a work directory, and the three commands on them."""

    def __init__(self, isthmus: Isthmus, folder: Path, photos: Path) -> None:
        self._isthmus = isthmus
        self._photos = photos
        self.model = saved(residual(), folder / "residual.onnx")
        self.work = folder / "work"
        self.out = folder / "residual.bundle"

    def do(self, verb: str, *flags: object) -> Ended:
        """Run it on the model; fails unless all goes well."""
        out = ("--out", self.out) if verb == "build" else ()
        ended = self.attempt(verb, self.model, *SLOW_DEVICE, *out, *flags)
        assert ended.status == 0, ended.err
        return ended

    def attempt(self, verb: str, model: object, *flags: object) -> Ended:
        """Run it on any model, whatever becomes of it."""
        return self._isthmus(verb, model, "--pictures", self._photos, "--work", self.work, *flags)


@pytest.fixture
def desk(isthmus: Isthmus, tmp_path: Path, photos: Path) -> Desk:
    return Desk(isthmus, tmp_path, photos)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A folder in which a bundle was built in one go, with its work directory."""
    folder = tmp_path_factory.mktemp("built")
    model = saved(residual(), folder / "residual.onnx")
    folders = ("--pictures", photos, "--work", folder / "work", "--out", folder / "residual.bundle")
    flags = (*SLOW_DEVICE, *QUICK, "--quiet", "--max-cuts", 1)
    before = signal.getsignal(signal.SIGTERM)
    status = main([str(each) for each in ("build", model, *folders, *flags)])
    signal.signal(signal.SIGTERM, before)
    assert status == 0
    return folder


@pytest.fixture
def known(desk: Desk, built: Path) -> Desk:
    """A desk whose model was profiled before."""
    shutil.copytree(built / "work", desk.work)
    return desk


def read(ended: Ended) -> dict[str, Any]:
    """JSON by the book: neither NaN nor Infinity."""
    report: dict[str, Any] = json.loads(ended.out, parse_constant=pytest.fail)
    return report


def steps_in(ended: Ended) -> list[str]:
    """Lines on stderr, but the one that LiteRT itself writes there once in a process."""
    return [line for line in ended.err.splitlines() if "XNNPACK delegate" not in line]


def test_the_steps_one_by_one_print_tables_and_use_what_was_done_before(desk: Desk) -> None:
    profiled, planned, built = (desk.do(verb) for verb in STEPS)
    assert "profiling" in profiled.err
    for line in steps_in(profiled):
        seconds, unit, step = line.split(maxsplit=2)
        assert (float(seconds) >= 0, unit, bool(step)) == (True, "s", True)
    assert "layer " in profiled.out
    assert "cloud ms" in profiled.out
    assert "stem" in profiled.out
    assert "profiling" not in planned.err
    for name in ("local", "input-raw", "input-jpeg", "input-webp"):
        assert name in planned.out
    assert "sending" not in built.err
    assert planned.out in built.out
    fingerprint = open_bundle(desk.out, "device").fingerprint
    assert f"bundle {desk.out}, fingerprint {fingerprint[:12]}" in built.out
    assert f"next: isthmus cloud {desk.out}" in built.out


def test_the_steps_one_by_one_print_json_and_quietly(known: Desk) -> None:
    ended = [known.do(verb, *QUICK, "--json", "--quiet") for verb in STEPS]
    assert [steps_in(each) for each in ended] == [[], [], []]
    profiled, planned, built = map(read, ended)
    assert profiled["fp32_ms"] > 0
    assert {node["name"] for node in profiled["nodes"]} >= {"stem", "inner", "outer", "last"}
    assert planned["record"]["evaluation_items"] == PHOTOS // 2
    assert planned["record"]["evaluation_sources"] == PHOTOS // 2
    candidates = {c["id"]: c for c in planned["manifest"]["candidates"]}
    (raw,) = candidates["input-raw"]["rungs"]
    assert raw["figures"]["payload_bytes"] == 32 * 32 * 3
    bundle = open_bundle(known.out, "cloud")
    assert built == {
        "bundle": str(known.out),
        "fingerprint": bundle.fingerprint,
        "kept": [candidate.id for candidate in bundle.manifest.kept],
    }


def test_a_bundle_is_built_in_one_go(built: Path) -> None:
    for side in ("device", "cloud"):
        manifest = open_bundle(built / "residual.bundle", side).manifest
        assert manifest.model_name == "residual"


def test_the_wires_flags_make_the_ladders(known: Desk) -> None:
    plan = read(known.do("plan", *QUICK, "--lossless-pictures", "--json", "--quiet"))
    candidates = {
        c["id"]: c for c in [*plan["manifest"]["candidates"], *plan["record"]["rejected"]]
    }
    whole = {name for name, c in candidates.items() if c["cut"] == "input"}
    assert whole == {"input-raw", "input-jpeg", "input-lossless"}
    rungs = [rung["encodings"][0] for rung in candidates["input-jpeg"]["rungs"]]
    assert [rung["quality"] for rung in rungs] == [95, 85]
    cuts = [c for c in candidates.values() if c["cut"] not in {"input", "local"}]
    encodings = [[rung["encodings"][0] for rung in cut["rungs"]] for cut in cuts]
    ladders = [[e["step"] for e in column if e["kind"] == "symbols"] for column in encodings]
    assert max(map(len, ladders)) == 2
    for finer, coarser in (ladder for ladder in ladders if len(ladder) == 2):
        assert coarser == pytest.approx(2 * finer)
    assert {note["bottleneck"] for note in plan["record"]["transforms"]} == {None}


def test_without_flags_the_wire_is_what_the_partitioner_has_as_default(
    isthmus: Isthmus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said twice: a default that changes there changes here."""
    seen: list[PlanConfig] = []

    def refuse(options: argparse.Namespace) -> NoReturn:
        seen.append(plan_config(options))
        raise ConfigError("seen enough")

    monkeypatch.setattr(plan_verb, "workbench_of", refuse)
    isthmus("plan", "model.onnx")
    isthmus("plan", "model.onnx", *QUICK, "--lossless-pictures")
    assert seen == [
        PlanConfig(),
        PlanConfig(
            steps=(0.25, 0.5),
            pictures=("jpeg",),
            qualities=(95, 85),
            lossless_pictures=True,
            bottleneck=False,
        ),
    ]


def test_a_float_model_is_profiled_as_one_of_pictures_and_what_was_assumed_is_said(
    desk: Desk, tmp_path: Path
) -> None:
    model = saved(float_image(), tmp_path / "float.onnx")
    ended = desk.attempt("profile", model, "--json")
    assert ended.status == 0, ended.err
    for word in ("note: assumed", "'image'", "ImageNet", "--mean", "--std", "0-255 scale"):
        assert word in ended.err
    assert (desk.work / "float.picture.onnx").is_file()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--mean", "127"), ("--std",)),
        (("--std", "64"), ("--mean",)),
        (("--mean", "127", "127", "--std", "64"), ("--mean", "one value", "three")),
        (("--mean", "127", "--std", "0"), ("std", "above 0")),
        (("--mean", "127", "--std", "64", "--layout", "nhwc"), ("'image'", "channels", "layout")),
    ],
    ids=" ".join,
)
def test_preprocessing_that_cannot_be_is_named(
    desk: Desk, tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    model = saved(float_image(), tmp_path / "float.onnx")
    assert_explained(desk.attempt("profile", model, "--quiet", *flags), *words)


def torn(path: Path) -> None:
    onnx.save(residual(), path)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("verb", STEPS)
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_text("not a model"), "not an ONNX file"),
        (lambda path: path.write_bytes(b""), "holds no ONNX graph"),
        (torn, "not an ONNX file, or not all of it"),
        (Path.mkdir, "cannot be read"),
        (lambda path: None, "no such file"),
    ],
    ids=["text", "empty", "torn", "folder", "missing"],
)
def test_what_is_not_an_onnx_file_is_named(
    desk: Desk, tmp_path: Path, verb: str, make: Callable[[Path], object], what: str
) -> None:
    path = tmp_path / "model.onnx"
    make(path)
    ended = desk.attempt(verb, path)
    assert_explained(ended, str(path), what)
    assert ended.out == ""


def test_an_op_that_the_runtime_lacks_is_named_with_its_node(desk: Desk, tmp_path: Path) -> None:
    model = saved(with_unknown_op(residual()), tmp_path / "strange.onnx")
    for verb in STEPS:
        ended = desk.attempt(verb, model)
        assert_explained(ended, str(model), "'answer'", "Frobnicate", "export for another opset")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--steps", "1/4", "0.25"), ("--steps 0.25 0.25", "twice", "each once")),
        (("--formats", "jpeg", "jpeg"), ("--formats jpeg jpeg", "each once")),
        (("--formats", "webp"), ("--formats webp", "jpeg", "add it")),
        (("--qualities", "90", "90"), ("--qualities 90 90", "each once")),
        (("--labels", "nowhere.txt"), ("nowhere.txt", "labels")),
    ],
    ids=" ".join,
)
def test_a_setting_that_cannot_be_used_is_named_with_what_can(
    desk: Desk, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(desk.attempt("plan", desk.model, "--quiet", *flags), *words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--steps", "1/0"), ("--steps", "'1/0'", "no number and no fraction")),
        (("--steps", "half"), ("--steps", "'half'")),
        (("--steps", "0"), ("--steps", "'0'", "above 0")),
        (("--agreement-floor", "2"), ("--agreement-floor", "'2'", "0-1")),
        (("--edge-factor", "0"), ("--edge-factor", "'0'", "above 0")),
        (("--edge-network-ms", "-5"), ("--edge-network-ms", "'-5'", "above 0")),
        (("--divergence-budget", "nan"), ("--divergence-budget", "'nan'", "above 0")),
        (("--max-cuts", "-1"), ("--max-cuts", "'-1'", "whole number from 0")),
        (("--qualities", "0"), ("--qualities", "'0'", "1-100")),
        (("--qualities", "101"), ("--qualities", "'101'", "1-100")),
        (("--formats", "gif"), ("--formats", "'gif'", "webp")),
        (("--qualities", "best"), ("--qualities", "'best'")),
    ],
    ids=" ".join,
)
def test_a_flag_that_cannot_be_read_is_wrong_usage(
    isthmus: Isthmus, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = isthmus("plan", "model.onnx", *flags)
    assert ended.status == 2
    assert all(word in ended.err for word in words)


def test_a_label_for_each_class_is_wanted(desk: Desk, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(LABELS[:2]), encoding="utf-8")
    ended = desk.attempt("plan", desk.model, "--quiet", "--labels", names)
    assert_explained(ended, "2 labels for 5 classes")
    assert not desk.work.exists()


def test_a_folder_without_pictures_is_named(isthmus: Isthmus, desk: Desk, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = isthmus("profile", desk.model, "--pictures", empty, "--work", desk.work)
    assert_explained(ended, str(empty), "no pictures")


def test_a_folder_of_pictures_that_is_not_there_is_named(
    isthmus: Isthmus, desk: Desk, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    ended = isthmus("profile", desk.model, "--pictures", nowhere, "--work", desk.work)
    assert_explained(ended, str(nowhere), "no such")


def test_a_picture_of_ones_own_that_cannot_be_decoded_is_named(
    isthmus: Isthmus, desk: Desk, photos: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for photo in photos.iterdir():
        (mixed / photo.name).write_bytes(photo.read_bytes())
    (mixed / "broken.png").write_bytes(b"this is no picture")
    ended = isthmus("profile", desk.model, "--pictures", mixed, "--work", desk.work)
    assert_explained(ended, str(mixed / "broken.png"), "cannot be decoded")


def test_a_folder_that_is_no_bundle_is_not_overwritten(desk: Desk) -> None:
    desk.out.mkdir()
    (desk.out / "holiday.txt").write_text("do not lose me")
    ended = desk.attempt("build", desk.model, *SLOW_DEVICE, "--quiet", "--out", desk.out)
    assert_explained(ended, str(desk.out), "not a bundle", "choose another directory")
    assert (desk.out / "holiday.txt").read_text() == "do not lose me"


def test_a_work_directory_that_cannot_be_made_is_named(desk: Desk) -> None:
    desk.work.write_text("in the way")
    ended = desk.attempt("profile", desk.model, "--quiet")
    assert_explained(ended, str(desk.work), "work directory", "choose another directory")
