"""What the doctor says of bundles: whole ones, half ones, and those that do not fit."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.edge.doctor.machine import a_machine, assert_bad, states
from tests.edge.doctor.test_memory import limit, meminfo
from tests.edge.doctor.test_runtimes import FakeChild
from tests.twinbundle import build_twin_bundle

from isthmus import (
    ConfigError,
    FileEntry,
    Manifest,
    PictureFormat,
    RuntimeName,
    encode_manifest,
    sha256_of,
)
from isthmus.bundle import read_manifest
from isthmus.manifest import FORMAT_VERSION
from isthmus_edge.doctor.bundle import BundleLook, try_format
from isthmus_edge.doctor.finding import Finding
from isthmus_edge.doctor.memory import MIB
from isthmus_edge.doctor.runtimes import RuntimeTrials
from isthmus_edge.doctor.trial import Loading, try_bundle
from isthmus_edge.runtimes import Runtime, found_runtimes

SEGMENTS = ("device/segment-0.onnx", "device/segment-1.onnx")
RUNTIMES = [found.runtime for found in found_runtimes() if found.runtime is not None]
OF_RUNTIMES = ("bundle.runtime", "bundle.segments")
BOTH = {"onnxruntime": "1.31.1", "ai-edge-litert": "2.3.0"}


def loading(*refused: str, of: int = len(SEGMENTS)) -> Loading:
    return Loading(
        loaded=of - len(refused),
        refused={file: f"{file} has no TFLite form" for file in refused},
        load_ms=5.0,
        grown_bytes=9 * MIB,
    )


Look = Callable[..., list[Finding]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Looks at a bundle on a machine with 2 GiB and two runtimes, unless told otherwise."""

    def look(
        bundle: Path,
        answers: dict[str, Any] | None = None,
        memory: dict[str, object] | None = None,
        **more: Any,
    ) -> list[Finding]:
        told = {"onnxruntime": loading(), "litert": loading(*SEGMENTS)}
        child = FakeChild(told if answers is None else answers)
        return list(
            BundleLook(
                path=bundle,
                trials=RuntimeTrials(child=child, version_of=BOTH.get),
                around=a_machine(tmp_path / "root", memory or meminfo(2000)),
                own_bytes=lambda: 60 * MIB,
                **more,
            ).look()
        )

    return look


def test_a_whole_bundle_is_fine(look: Look, tiny_bundle: Path) -> None:
    found = look(tiny_bundle)
    assert {finding.state for finding in found} == {"ok"}
    assert set(states(found)) == {
        "bundle.files", "bundle.formats", "bundle.memory", "bundle.segments",
    }  # fmt: skip


@pytest.mark.parametrize("file", [*SEGMENTS, "cloud/entry-cut.onnx", "bundle.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_a_half_copied_bundle_is_found(
    look: Look, tiny_bundle: Path, tmp_path: Path, file: str, damage: str
) -> None:
    bundle = tmp_path / "copied.bundle"
    shutil.copytree(tiny_bundle, bundle)
    data = (bundle / file).read_bytes()
    if damage == "missing":
        (bundle / file).unlink()
    else:
        changed = data[: len(data) // 2] if damage == "truncated" else b"?" + data[1:]
        (bundle / file).write_bytes(changed)
    (finding,) = look(bundle)
    assert finding.id == "bundle.files"
    assert_bad(finding, "fail", Path(file).name)


def test_a_device_needs_no_tails(look: Look, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "device.bundle"
    shutil.copytree(tiny_bundle, bundle)
    shutil.rmtree(bundle / "cloud")
    assert states(look(bundle))["bundle.files"] == "ok"


def test_no_bundle_at_all_is_found(look: Look, tmp_path: Path) -> None:
    (finding,) = look(tmp_path / "none.bundle")
    assert_bad(finding, "fail", "no bundle here")


def test_a_bundle_of_another_format_is_not_to_be_copied_again(
    look: Look, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "old.bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = bundle / "bundle.json"
    data = manifest.read_bytes()
    now = f'"format_version": {FORMAT_VERSION}'.encode()
    assert now in data
    manifest.write_bytes(data.replace(now, b'"format_version": 1'))
    (finding,) = look(bundle)
    assert_bad(finding, "fail", "bundle format 1")
    mend = "build the bundle again, or install the version that made it"
    assert finding.way_out == mend
    assert mend not in finding.text


@pytest.mark.parametrize("file", ["bundle.json", SEGMENTS[0]])
def test_a_bundle_that_is_cut_off_is_to_be_copied_again(
    look: Look, tiny_bundle: Path, tmp_path: Path, file: str
) -> None:
    bundle = tmp_path / "half.bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / file).write_bytes((bundle / file).read_bytes()[:100])
    (finding,) = look(bundle)
    assert str(finding.way_out).startswith("copy the bundle again")
    assert "again" not in finding.text


def close(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As for a user who may not enter `folder`; a mode would not keep out the superuser."""
    stat = Path.stat

    def closed(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if folder in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", closed)


def test_tails_that_are_closed_to_this_user_are_told_and_do_not_fail_a_device(
    look: Look, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(monkeypatch, tiny_bundle / "cloud")
    found = look(tiny_bundle)
    assert_bad(found[0], "warn", "cloud", "Permission denied", "a device does without")
    assert "let this user read" in str(found[0].way_out)
    assert found[0].figures["fingerprint"]
    assert {finding.state for finding in found[1:]} == {"ok"}


@pytest.mark.parametrize("folder", ["device", "."])
def test_a_bundle_that_is_closed_to_this_user_is_not_to_be_copied_again(
    look: Look, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    close(monkeypatch, tiny_bundle / folder)
    (finding,) = look(tiny_bundle)
    assert_bad(finding, "fail", "Permission denied")
    assert str(finding.way_out).startswith("let this user read")


def test_a_picture_format_that_is_not_built_in_is_found(look: Look, tiny_bundle: Path) -> None:
    def refuse(picture_format: PictureFormat) -> None:
        raise ConfigError(f"Pillow has no {picture_format}")

    found = look(tiny_bundle, try_format=refuse)
    bad = next(finding for finding in found if finding.state != "ok")
    assert_bad(bad, "fail", "jpeg")
    assert bad.id == "bundle.formats"


@pytest.mark.parametrize("picture_format", ["jpeg", "webp", "avif"])
def test_every_format_can_be_tried(picture_format: PictureFormat) -> None:
    try_format(picture_format)


@pytest.mark.parametrize(
    "memory",
    [meminfo(50), meminfo(2000) | limit(2, 100, 50), meminfo(2000) | limit(1, 100, 50)],
    ids=["machine", "control group 2", "control group 1"],
)
def test_memory_below_the_need_is_found_before_anything_is_loaded(
    look: Look, tiny_bundle: Path, memory: dict[str, object]
) -> None:
    found = look(tiny_bundle, memory=memory, answers={})
    assert found[-1].id == "bundle.memory"
    assert_bad(found[-1], "fail", "too little", "50 MiB can be had")


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_that_is_used_up_holds_no_bundle(
    look: Look, tiny_bundle: Path, version: int
) -> None:
    memory = meminfo(2000) | limit(version, 100, 100)
    found = look(tiny_bundle, memory=memory, answers={})
    assert found[-1].id == "bundle.memory"
    assert_bad(found[-1], "fail", "too little", "0 MiB can be had")


def test_a_system_that_does_not_tell_its_memory_is_no_fault(look: Look, tiny_bundle: Path) -> None:
    found = look(tiny_bundle, memory={"proc/uptime": "1"}, is_quick=True)[-1]
    assert (found.state, found.figures["available_bytes"]) == ("ok", None)
    assert found.text.endswith("this system does not tell what can be had")


def test_memory_that_is_nearly_all_needed_is_a_warning(look: Look, tiny_bundle: Path) -> None:
    assert states(look(tiny_bundle, memory=meminfo(100)))["bundle.memory"] == "warn"


def test_weights_that_lie_beside_the_segments_count(
    look: Look, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = with_manifest(tiny_bundle, tmp_path, weigh)
    found = look(bundle, memory=meminfo(100), answers={})
    assert_bad(found[-1], "fail", "too little", "(at least: the weights alone)")


def weigh(bundle: Path, manifest: Manifest) -> Manifest:
    """One segment's weights take 60 MiB, and nobody has measured the memory of `local`."""
    data = bundle / f"{SEGMENTS[1]}.data"
    with data.open("wb") as file:
        file.truncate(60 * MIB)  # a hole: it takes no room on the disk
    entry = FileEntry(
        path=f"{SEGMENTS[1]}.data",
        side="device",
        size_bytes=60 * MIB,
        sha256=sha256_of(data),
    )
    return msgspec.structs.replace(manifest, files=(*manifest.files, entry))


def with_manifest(bundle: Path, folder: Path, change: Callable[[Path, Manifest], Manifest]) -> Path:
    """A copy with another manifest."""
    copy = folder / "changed.bundle"
    shutil.copytree(bundle, copy)
    manifest, _ = read_manifest(copy)
    (copy / "bundle.json").write_bytes(encode_manifest(change(copy, manifest)))
    return copy


def judged(runtime: RuntimeName, *unfit: RuntimeName) -> Callable[[Path, Manifest], Manifest]:
    def change(_bundle: Path, manifest: Manifest) -> Manifest:
        chains = (msgspec.structs.replace(c, runtime=runtime, unfit=unfit) for c in manifest.chains)
        return msgspec.structs.replace(manifest, chains=tuple(chains))

    return change


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_plan_for_a_runtime_that_is_not_here_is_a_warning(
    look: Look, tiny_bundle: Path, tmp_path: Path, is_quick: bool
) -> None:
    bundle = with_manifest(tiny_bundle, tmp_path, judged("tflite-runtime"))
    (bad,) = (each for each in look(bundle, is_quick=is_quick) if each.state != "ok")
    assert bad.id == "bundle.runtime"
    assert_bad(bad, "warn", "tflite-runtime", "chain 'whole'")
    assert "isthmus[edge-tflite]" in str(bad.way_out)
    there = with_manifest(tiny_bundle, tmp_path / "there", judged("litert"))
    assert "bundle.runtime" not in states(look(there, is_quick=is_quick))


@pytest.mark.parametrize("package", ["onnxruntime", "onnxruntime-gpu"])
def test_a_runtime_that_is_here_and_does_not_work_is_not_to_be_installed(
    tiny_bundle: Path, tmp_path: Path, package: str
) -> None:
    """A second wheel of ONNX Runtime would overwrite the first."""
    versions = {package: "1.31.1", "ai-edge-litert": "2.3.0"}
    child = FakeChild({"litert": loading(*SEGMENTS)})
    trials = RuntimeTrials(child=child, version_of=versions.get, working=["litert"])
    bundle = with_manifest(tiny_bundle, tmp_path, judged("onnxruntime"))
    found = BundleLook(path=bundle, trials=trials, own_bytes=lambda: 0).look()
    missed, _, segments = (each for each in found if each.id in OF_RUNTIMES)
    assert_bad(missed, "warn", "onnxruntime does not work here", "chain 'whole'")
    assert "the line `runtimes`" in str(missed.way_out)
    assert_bad(segments, "fail", "2 of 2")
    assert "pip install" not in f"{missed.way_out} {segments.way_out}"


def test_what_only_unfit_runtimes_load_runs_nowhere(
    look: Look, tiny_bundle: Path, tmp_path: Path
) -> None:
    answers = {"onnxruntime": loading(*SEGMENTS), "litert": loading()}
    assert look(tiny_bundle, answers)[-1].state == "ok"
    unfit = with_manifest(tiny_bundle, tmp_path, judged("onnxruntime", "litert"))
    bad = look(unfit, answers)[-1]
    assert_bad(bad, "fail", "2 of 2", "the plan found that its answers are not those of its")
    assert "--runtime" in bad.text


def test_quick_loads_nothing(look: Look, tiny_bundle: Path) -> None:
    assert "bundle.segments" not in states(look(tiny_bundle, answers={}, is_quick=True))


def test_segments_that_no_runtime_loads_are_found(look: Look, tiny_bundle: Path) -> None:
    answers = {"onnxruntime": loading(SEGMENTS[1]), "litert": loading(*SEGMENTS)}
    assert_bad(look(tiny_bundle, answers)[-1], "fail", "1 of 2", SEGMENTS[1])


def test_a_runtime_that_dies_over_a_bundle_is_found(look: Look, tiny_bundle: Path) -> None:
    answers = {"onnxruntime": "it crashed (SIGKILL)", "litert": loading()}
    found = [finding for finding in look(tiny_bundle, answers) if finding.id == "bundle.segments"]
    assert [finding.state for finding in found] == ["fail", "ok"]
    assert_bad(found[0], "fail", "SIGKILL")
    dead = dict.fromkeys(answers, "it crashed (SIGKILL)")
    assert_bad(look(tiny_bundle, dead)[-1], "fail", "2 of 2", "no runtime that works is here")


def test_a_real_runtime_loads_every_segment(tiny_bundle: Path) -> None:
    runtime = found_runtimes()[0].runtime
    assert runtime is not None
    found = try_bundle(runtime, tiny_bundle)
    assert (found.loaded, found.refused) == (2, {})


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chains of six segments, of which both begin with segment 0; curved-2 has no TFLite."""
    folder = tmp_path_factory.mktemp("twins") / "bundle"
    return build_twin_bundle(folder, without={"device/curved-2.onnx"})


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_each_runtime_loads_the_segments_of_its_form_and_names_the_others(
    runtime: Runtime, twins: Path
) -> None:
    found = try_bundle(runtime, twins)
    without = {} if runtime.name == "onnxruntime" else {"device/curved-2.onnx": "no TFLite form"}
    assert found.refused.keys() == without.keys()
    assert all(why in found.refused[file] for file, why in without.items())
    assert found.loaded == 6 - len(without)


def test_how_many_segments_each_runtime_loads_is_told(look: Look, twins: Path) -> None:
    missing = "device/curved-2.onnx"
    answers = {"onnxruntime": loading(of=6), "litert": loading(missing, of=6)}
    found = [finding for finding in look(twins, answers) if finding.id == "bundle.segments"]
    assert [finding.state for finding in found] == ["ok", "ok"]
    assert found[0].text == "onnxruntime loads 6 of 6 segments in 5 ms and 9 MiB"
    assert found[1].text.startswith("litert loads 5 of 6 segments in 5 ms and 9 MiB; not: ")
    assert found[1].text.endswith(f"{missing} has no TFLite form")
    told = [(each.figures["loaded"], each.figures["segments"]) for each in found]
    assert told == [(6, 6), (5, 6)]


def test_a_device_does_without_a_chain_that_no_runtime_loads(look: Look, twins: Path) -> None:
    """The wide plan has five candidates, one of them in the chain of the curved segments."""
    missing = "device/curved-2.onnx"
    answers = {"onnxruntime": "it crashed", "litert": loading(missing, of=6)}
    found = look(twins, answers)[-1]
    assert_bad(found, "warn", "1 of 6", missing, "4 of 5 candidates")


def test_a_device_does_not_do_without_the_chain_of_local(look: Look, twins: Path) -> None:
    """Segment 0 is in both chains, segment 1 in that of `local` alone."""
    for missing in ("device/segment-0.onnx", "device/segment-1.onnx"):
        answers = {name: loading(missing, of=6) for name in ("onnxruntime", "litert")}
        assert_bad(look(twins, answers)[-1], "fail", "1 of 6", missing)


def test_a_segment_that_is_no_model_is_refused_with_its_reason(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bad.bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / SEGMENTS[0]).write_bytes(b"no model")
    runtime = found_runtimes()[0].runtime
    assert runtime is not None
    found = try_bundle(runtime, bundle)
    assert (found.loaded, list(found.refused)) == (1, [SEGMENTS[0]])
    assert "cannot load it" in found.refused[SEGMENTS[0]]
