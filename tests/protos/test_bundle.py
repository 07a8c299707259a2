"""A bundle is trusted only after its manifest and every byte of its files were checked."""

import shutil
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from isthmus import (
    BundleError,
    ConfigError,
    FileEntry,
    decode_manifest,
    encode_manifest,
    open_bundle,
    sha256_of,
)

RECORD = "record/plan.json"


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
    with pytest.raises(BundleError, match=r"cloud/.*No such file"):
        open_bundle(bundle, "cloud")


@pytest.fixture
def recorded(bundle: Path) -> Path:
    """A bundle with a record of how it was made."""
    (bundle / "record").mkdir()
    (bundle / RECORD).write_text("{}", encoding="utf-8")
    entry = FileEntry(path=RECORD, side="record", size_bytes=2, sha256=sha256_of(bundle / RECORD))
    manifest = open_bundle(bundle, "device").manifest
    with_record = msgspec.structs.replace(manifest, files=(*manifest.files, entry))
    (bundle / "bundle.json").write_bytes(encode_manifest(with_record))
    return bundle


@pytest.mark.parametrize("side", ["device", "cloud"])
def test_a_record_is_verified_by_both_sides(
    recorded: Path, side: Literal["device", "cloud"]
) -> None:
    assert open_bundle(recorded, side).file(RECORD).read_text(encoding="utf-8") == "{}"
    (recorded / RECORD).write_text("[]", encoding="utf-8")
    with pytest.raises(BundleError, match=r"plan\.json: damaged"):
        open_bundle(recorded, side)


@pytest.mark.parametrize("side", ["device", "cloud"])
def test_a_bundle_of_two_chains_opens(wide_bundle: Path, side: Literal["device", "cloud"]) -> None:
    manifest = open_bundle(wide_bundle, side).manifest
    chains = {cut.id: manifest.chain_of(cut).id for cut in manifest.cuts}
    assert chains["pair"] == chains["floats"] == "whole"
    assert chains["curves"] == "curved"


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


def test_an_unknown_candidate_is_answered_with_the_known_ones(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    with pytest.raises(ConfigError, match=manifest.local.id):
        manifest.candidate("b99")
