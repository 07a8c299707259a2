"""What is damaged in the store is listed so, is never activated, and is mended by another push."""

import os
import shutil
from pathlib import Path

import grpc
import pytest
from tests.cloud.store.bundles import entries_of, hidden, manifest_of, pieces, pushed
from tests.cloud.store.serving import Served, refused, serving

from isthmus import BundleError
from isthmus.signing import SIGNATURE_BYTES, SIGNATURE_NAME
from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import StoreStub
from isthmus_cloud.store import Store, StoreError

SOME = "device/segment-0.onnx"


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Another byte in the place of the first; size and time of writing stay as they are."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("harm", [shorten, Path.unlink])
def test_a_file_that_lacks_something_is_seen_in_the_list(two: Store, harm: object) -> None:
    assert callable(harm)
    harm(two.path("model", "v2") / SOME)
    whole, damaged = two.versions("model")
    assert whole.fault is None
    assert SOME in str(damaged.fault)
    assert "push the same bundle again" in str(damaged.fault)
    assert damaged.fingerprint
    assert damaged.size_bytes > 0


def test_a_flipped_byte_is_seen_when_every_file_is_read(two: Store) -> None:
    flip(two.path("model", "v2") / SOME)
    assert [each.fault for each in two.versions("model")] == [None, None]
    whole, damaged = two.versions("model", verify=True)
    assert (whole.fault, whole.verified) == (None, True)
    assert f"{SOME}: damaged" in str(damaged.fault)
    assert not damaged.verified


@pytest.mark.parametrize("harm", [shorten, flip, Path.unlink])
def test_the_same_bundle_once_more_mends_a_version(
    two: Store, tiny_bundle: Path, harm: object
) -> None:
    """Only what is damaged comes; the version stays where it is, and the active one."""
    assert callable(harm)
    harm(two.path("model", "v1") / SOME)
    shutil.rmtree(two.path("model", "v1") / "cloud")
    push = two.begin_push("model", "v1", manifest_of(tiny_bundle))
    assert not push.was_there
    lost = {entry.path for entry in entries_of(tiny_bundle) if entry.path.startswith("cloud/")}
    assert {each.path for each in push.lacks} == {SOME, *lost}
    for piece in pieces(tiny_bundle, push):
        push.write(*piece)
    assert push.finish().active
    push.close()
    assert two.check("model", "v1").fault is None
    assert hidden(two.root) == set()


def test_a_damaged_version_that_is_a_link_is_not_mended_and_what_it_leads_to_stays(
    two: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(tiny_bundle, tmp_path / "elsewhere")
    (two.root / "model" / "linked").symlink_to(elsewhere)
    assert two.begin_push("model", "linked", manifest_of(tiny_bundle)).was_there
    (elsewhere / SOME).write_bytes(b"damaged")
    for signature in (None, bytes(SIGNATURE_BYTES)):
        with pytest.raises(StoreError, match="model linked is damaged, and is a link"):
            two.begin_push("model", "linked", manifest_of(tiny_bundle), signature)
    assert (elsewhere / SOME).read_bytes() == b"damaged"
    assert not (elsewhere / SIGNATURE_NAME).exists()
    assert hidden(two.root) == set()


def test_a_whole_version_that_is_a_link_gets_no_other_signature(
    two: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(tiny_bundle, tmp_path / "elsewhere")
    (two.root / "model" / "linked").symlink_to(elsewhere)
    manifest, signature = manifest_of(tiny_bundle), bytes(SIGNATURE_BYTES)
    with pytest.raises(StoreError, match="model linked lacks this signature, and is a link"):
        two.begin_push("model", "linked", manifest, signature)
    assert not (elsewhere / SIGNATURE_NAME).exists()
    (elsewhere / SIGNATURE_NAME).write_bytes(signature)
    assert two.begin_push("model", "linked", manifest, signature).was_there


def test_a_mending_that_breaks_off_is_gone_on_with(two: Store, tiny_bundle: Path) -> None:
    victim = two.path("model", "v1") / SOME
    flip(victim)
    before = victim.read_bytes()
    push = two.begin_push("model", "v1", manifest_of(tiny_bundle))
    first, *rest = pieces(tiny_bundle, push)
    push.write(*first)
    push.close()
    assert victim.read_bytes() == before  # nothing is seen of it
    again = two.begin_push("model", "v1", manifest_of(tiny_bundle))
    assert list(pieces(tiny_bundle, again)) == rest
    for piece in rest:
        again.write(*piece)
    again.finish()
    assert two.check("model", "v1").fault is None


def test_another_bundle_mends_nothing(two: Store, other_bundle: Path) -> None:
    flip(two.path("model", "v1") / SOME)
    with pytest.raises(StoreError, match=r"another bundle already \([0-9a-f]{12}\).*as another"):
        two.begin_push("model", "v1", manifest_of(other_bundle))


def test_a_version_whose_manifest_is_lost_is_removed_first(two: Store, other_bundle: Path) -> None:
    (two.path("model", "v2") / "bundle.json").write_bytes(b"{")
    with pytest.raises(StoreError, match="remove it first"):
        two.begin_push("model", "v2", manifest_of(other_bundle))
    two.remove("model", "v2")
    assert pushed(two, other_bundle, "model", "v2").fault is None


def test_a_model_that_lost_its_last_version_is_none(two: Store) -> None:
    (two.root / "empty").mkdir()
    assert two.models() == ("model",)


async def test_a_list_over_the_network_reads_all_files_only_if_it_is_asked_to(two: Store) -> None:
    flip(two.path("model", "v2") / SOME)
    async with serving(two) as served:
        quick = (await served.operators.List(pb.ListRequest())).versions
        slow = (await served.operators.List(pb.ListRequest(verify=True))).versions
    assert [(each.fault, each.verified) for each in quick] == [("", False), ("", False)]
    assert [each.verified for each in slow] == [True, False]
    assert slow[1].fault.startswith("model/v2/")  # not where the store lies


async def test_lists_that_read_all_files_come_one_by_one(
    two: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They must not take all threads from devices that fetch."""
    async with serving(two) as served:
        errors: list[str] = []
        real = Store.versions

        def versions(store: Store, name: str, *, verify: bool = False) -> object:
            if verify:
                errors.append(_asked_at_the_same_time(served))
            return real(store, name, verify=verify)

        monkeypatch.setattr(Store, "versions", versions)
        await served.operators.List(pb.ListRequest(name="model", verify=True))
    assert len(errors) == 1
    assert "come back later" in errors[0]


def _asked_at_the_same_time(served: Served) -> str:
    """What another operator hears, from another thread."""
    with grpc.insecure_channel(served.address) as channel:
        stub = StoreStub(channel)  # type: ignore[no-untyped-call]
        try:
            stub.List(pb.ListRequest(verify=True), timeout=30)
        except grpc.RpcError as error:
            return str(error.details())
    return ""


async def test_a_damaged_version_is_not_activated_and_the_way_out_is_said(two: Store) -> None:
    flip(two.path("model", "v2") / SOME)
    request = pb.ActivateRequest(name="model", version="v2")
    async with serving(two) as served:
        served.deployer.serve("model", "v1", streams=0)
        error = await refused(served.operators.Activate(request))
    assert "model v2 cannot be activated (v1 stays active)" in str(error.details())
    assert "push the same bundle again" in str(error.details())
    with pytest.raises(BundleError, match="damaged"):
        two.check("model", "v2")
