"""A bundle of which a part did not arrive is refused with the name of what is wrong."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.edge.fakes import FakeService, wide_item
from tests.tinybundle import _entry, tiny_pictures
from tests.twinbundle import build_twin_bundle
from tests.widebundle import FEATURES

from isthmus import BundleError, Stage, decode_manifest, encode_manifest, write_projection
from isthmus_edge import Agent, AgentConfig

PROJECTION = "device/wire-floats.npy"
Damage = Callable[[Path], object]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """With files of every kind that a device needs: graphs in both forms, a projection."""
    folder = build_twin_bundle(tmp_path / "bundle")
    channels = FEATURES.shape[0]
    rows = np.hstack([np.eye(channels), np.zeros((channels, 1))]).astype(np.float32)
    write_projection(folder / PROJECTION, rows)
    manifest = decode_manifest((folder / "bundle.json").read_bytes(), "bundle.json")
    projecting = Stage(projection=PROJECTION)
    cuts = tuple(
        msgspec.structs.replace(
            cut,
            tensors=tuple(msgspec.structs.replace(t, stage=projecting) for t in cut.tensors),
        )
        if cut.id == "floats"
        else cut
        for cut in manifest.cuts
    )
    files = (*manifest.files, _entry(folder, PROJECTION))
    made = msgspec.structs.replace(manifest, cuts=cuts, files=files)
    (folder / "bundle.json").write_bytes(encode_manifest(made))
    return folder


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    """As a disk does that has lost a block: the size is right."""
    path.write_bytes(bytes(path.stat().st_size))


def test_a_whole_bundle_opens_and_sends_through_its_projection(bundle: Path) -> None:
    service = FakeService()
    config = AgentConfig(bundle=bundle, cloud="127.0.0.1:1", candidate="floats")
    with Agent.open(config, transport=service) as agent:
        agent.submit(wide_item(tiny_pictures(1)[0])).exception(20.0)
    assert [frame.candidate for frame in service.frames] == ["floats"]


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, empty, overwrite])
@pytest.mark.parametrize(
    "name", ["device/segment-1.tflite", "device/segment-1.onnx", PROJECTION, "labels.txt"]
)
def test_a_file_that_is_missing_short_or_damaged_is_named(
    bundle: Path, name: str, damage: Damage
) -> None:
    damage(bundle / name)
    with pytest.raises(BundleError) as refused:
        Agent(bundle)
    assert name in str(refused.value)
    assert "copy" in str(refused.value) or "build" in str(refused.value)


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, empty])
def test_a_manifest_that_did_not_arrive_whole_is_named(bundle: Path, damage: Damage) -> None:
    damage(bundle / "bundle.json")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Agent(bundle)


def test_what_the_device_does_not_need_may_be_missing(bundle: Path) -> None:
    (bundle / "cloud/entry-floats.onnx").unlink()
    with Agent(bundle) as agent:
        assert agent.infer(wide_item(tiny_pictures(1)[0])).place == "device"
