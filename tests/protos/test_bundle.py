"""A bundle is trusted only after its manifest and every byte of its files were checked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus import BundleError, ConfigError, decode_manifest, encode_manifest, open_bundle


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_both_sides_open_a_good_bundle_and_see_the_same_fingerprint(tiny_bundle: Path) -> None:
    device, cloud = open_bundle(tiny_bundle, "device"), open_bundle(tiny_bundle, "cloud")
    assert device.fingerprint == cloud.fingerprint
    assert len(device.labels) == 10


def test_other_weights_are_another_fingerprint(tiny_bundle: Path, other_bundle: Path) -> None:
    ours, theirs = open_bundle(tiny_bundle, "device"), open_bundle(other_bundle, "device")
    assert ours.fingerprint != theirs.fingerprint


def test_a_manifest_survives_writing_and_reading(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    assert decode_manifest(encode_manifest(manifest), "here") == manifest


@pytest.mark.parametrize("side", ["device", "cloud"])
def test_a_flipped_byte_is_found_and_named_by_the_side_that_uses_it(
    bundle: Path, side: str
) -> None:
    victim = next((bundle / side).glob("*.onnx"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(BundleError, match=victim.name):
        open_bundle(bundle, side)  # type: ignore[arg-type]
    open_bundle(bundle, "cloud" if side == "device" else "device")


def test_a_device_needs_only_its_own_half(bundle: Path) -> None:
    shutil.rmtree(bundle / "cloud")
    open_bundle(bundle, "device")
    with pytest.raises(BundleError, match=r"tail-.*No such file"):
        open_bundle(bundle, "cloud")


def test_a_truncated_file_is_named_with_both_sizes(bundle: Path) -> None:
    victim = bundle / "device" / "segment-0.onnx"
    victim.write_bytes(victim.read_bytes()[:-10])
    with pytest.raises(BundleError, match=r"segment-0\.onnx: .* bytes, the manifest says"):
        open_bundle(bundle, "device")


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="isthmus build"):
        open_bundle(tmp_path, "device")


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"format_version": "x"}'])
def test_a_file_that_is_no_manifest_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        open_bundle(bundle, "device")


def edited(bundle: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads((bundle / "bundle.json").read_bytes())
    change(document)
    return json.dumps(document).encode()


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], object]:
    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to

    return change


def _symbols_at(document: dict[str, Any]) -> int:
    kinds = [(c["encoding"] or {}).get("kind") for c in document["candidates"]]
    return kinds.index("symbols")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_set("format_version", to=99), "bundle format 99"),
        (_set("surprise", to=1), "unknown field `surprise`"),
        (lambda d: d.pop("segments"), "missing required field `segments`"),
        (_set("segments", to=[]), "no segments"),
        (_set("segments", 1, "input", "shape", to=[9, 9]), "does not begin where"),
        (_set("files", 0, "path", to="../outside.onnx"), "leads out of the bundle"),
        (_set("files", 0, "path", to="/etc/passwd"), "leads out of the bundle"),
        (_set("cuts", 0, "depth", to=7), "has depth 7"),
        (
            lambda d: d.update(files=[f for f in d["files"] if f["path"] != "labels.txt"]),
            "labels.txt is used by both sides",
        ),
        (lambda d: d["cuts"].append(d["cuts"][0]), "stands in it twice"),
        (_set("candidates", 0, "cut", to="nowhere"), "unknown cut 'nowhere'"),
        (_set("input", "shape", to=[1 << 20, 1 << 20, 3]), "impossible shape"),
        (
            lambda d: d["candidates"][_symbols_at(d)]["encoding"].update(step=-1.0),
            "impossible step",
        ),
        (
            lambda d: d["candidates"][_symbols_at(d)]["encoding"].update(levels=7),
            "Invalid enum value 7",
        ),
        (lambda d: d["candidates"].append(dict(d["candidates"][0], id="again")), "exactly one"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_by_name(
    tiny_bundle: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        decode_manifest(edited(tiny_bundle, change), "bundle.json")


def test_an_unknown_candidate_is_answered_with_the_known_ones(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    with pytest.raises(ConfigError, match=manifest.local.id):
        manifest.candidate("b99")
