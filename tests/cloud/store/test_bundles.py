"""A device asks what is active, and fetches its half of it, piece by piece."""

import hashlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from tests.cloud.store.bundles import entries_of, manifest_of, pushed, shut_folder
from tests.cloud.store.serving import Served, refused, serving

from isthmus import open_bundle
from isthmus.signing import SIGNATURE_NAME, make_keys, sign_bundle, trusted_keys, verify_signature
from isthmus.v1 import store_pb2 as pb
from isthmus_cloud.store import Store

Code = grpc.StatusCode


@pytest.fixture
async def served(two: Store) -> AsyncIterator[Served]:
    async with serving(two) as served:
        yield served


def fingerprint_of(bundle: Path) -> str:
    return hashlib.sha256(manifest_of(bundle)).hexdigest()


async def fetched(served: Served, fingerprint: str, path: str, offset: int = 0) -> bytes:
    request = pb.FetchRequest(fingerprint=fingerprint, path=path, offset=offset)
    return b"".join([piece.data async for piece in served.devices.Fetch(request)])


async def test_a_device_fetches_its_half_and_can_open_it(
    served: Served, tiny_bundle: Path, tmp_path: Path
) -> None:
    current = await served.devices.Current(pb.CurrentRequest(model="model"))
    assert (current.name, current.version) == ("model", "v1")
    assert hashlib.sha256(current.manifest).hexdigest() == current.fingerprint
    half = tmp_path / "half"
    half.mkdir()
    (half / "bundle.json").write_bytes(current.manifest)
    for entry in entries_of(half):
        if entry.side != "cloud":
            (half / entry.path).parent.mkdir(exist_ok=True)
            (half / entry.path).write_bytes(await fetched(served, current.fingerprint, entry.path))
    assert open_bundle(half, "device").fingerprint == fingerprint_of(tiny_bundle)


async def test_a_fetch_goes_on_from_any_byte(served: Served, tiny_bundle: Path) -> None:
    path, fingerprint = "device/segment-0.onnx", fingerprint_of(tiny_bundle)
    whole = (tiny_bundle / path).read_bytes()
    for offset in (0, 1, len(whole) - 1, len(whole)):
        assert await fetched(served, fingerprint, path, offset) == whole[offset:]


async def test_pieces_are_bounded(
    served: Served, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.faces.bundles.PIECE_BYTES", 100)
    path = "device/segment-0.onnx"
    request = pb.FetchRequest(fingerprint=fingerprint_of(tiny_bundle), path=path)
    sizes = [len(piece.data) async for piece in served.devices.Fetch(request)]
    assert set(sizes[:-1]) == {100}
    assert sum(sizes) == (tiny_bundle / path).stat().st_size


async def test_a_device_that_holds_what_is_active_gets_no_manifest(
    served: Served, tiny_bundle: Path
) -> None:
    held = fingerprint_of(tiny_bundle)
    for model in ("model", ""):
        current = await served.devices.Current(pb.CurrentRequest(model=model, fingerprint=held))
        assert (current.fingerprint, current.manifest) == (held, b"")


async def test_a_device_that_holds_another_version_learns_of_the_active_one(
    served: Served, tiny_bundle: Path, other_bundle: Path
) -> None:
    """It knows its fingerprint only, not what its model is called here."""
    held = fingerprint_of(other_bundle)
    current = await served.devices.Current(pb.CurrentRequest(fingerprint=held))
    assert (current.name, current.version) == ("model", "v1")
    assert current.manifest == manifest_of(tiny_bundle)


async def test_the_signature_comes_with_the_manifest(
    store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "keys")
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    signature = sign_bundle(bundle, private).read_bytes()
    strict = Store(store.root, trusted_keys([public]))
    pushed(strict, bundle, "model", "v1", signature)
    strict.set_active("model", "v1")
    async with serving(strict) as served:
        current = await served.devices.Current(pb.CurrentRequest(model="model"))
    (tmp_path / "bundle.json").write_bytes(current.manifest)
    (tmp_path / SIGNATURE_NAME).write_bytes(current.signature)
    verify_signature(tmp_path, [public])


async def test_what_is_neither_active_nor_served_cannot_be_fetched(
    served: Served, other_bundle: Path
) -> None:
    request = pb.FetchRequest(fingerprint=fingerprint_of(other_bundle), path="labels.txt")
    assert (await refused(served.devices.Fetch(request).read())).code() == Code.NOT_FOUND
    served.deployer.serve("model", "v2", streams=1)  # devices are still on it
    assert await fetched(served, request.fingerprint, "labels.txt") != b""


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("cloud/tail-0.onnx", Code.NOT_FOUND),
        ("device/no.onnx", Code.NOT_FOUND),
        ("../v2/labels.txt", Code.NOT_FOUND),
        ("/etc/hostname", Code.NOT_FOUND),
        ("bundle.json", Code.NOT_FOUND),
        ("", Code.NOT_FOUND),
    ],
)
async def test_what_is_no_file_of_the_devices_half_is_not_found(
    served: Served, tiny_bundle: Path, path: str, code: grpc.StatusCode
) -> None:
    request = pb.FetchRequest(fingerprint=fingerprint_of(tiny_bundle), path=path)
    assert (await refused(served.devices.Fetch(request).read())).code() == code


@pytest.mark.parametrize("fingerprint", ["", "x", "../../model", "0" * 63, "A" * 64])
async def test_what_is_no_fingerprint_is_refused(served: Served, fingerprint: str) -> None:
    request = pb.FetchRequest(fingerprint=fingerprint, path="labels.txt")
    code = (await refused(served.devices.Fetch(request).read())).code()
    assert code == Code.INVALID_ARGUMENT
    asked = served.devices.Current(pb.CurrentRequest(fingerprint=fingerprint))
    assert (await refused(asked)).code() == Code.INVALID_ARGUMENT


async def test_an_offset_behind_the_end_is_refused(served: Served, tiny_bundle: Path) -> None:
    request = pb.FetchRequest(
        fingerprint=fingerprint_of(tiny_bundle), path="labels.txt", offset=2**63
    )
    error = await refused(served.devices.Fetch(request).read())
    assert error.code() == Code.INVALID_ARGUMENT


async def test_a_model_that_is_not_here_or_not_active_is_not_found(
    served: Served, two: Store, tiny_bundle: Path
) -> None:
    pushed(two, tiny_bundle, "idle", "v1")
    for request in (
        pb.CurrentRequest(model="stranger"),
        pb.CurrentRequest(model="idle"),
        pb.CurrentRequest(fingerprint="0" * 64),
    ):
        error = await refused(served.devices.Current(request))
        assert error.code() == Code.NOT_FOUND
        assert str(two.root) not in str(error.details())


async def test_more_fetches_than_may_run_are_told_to_come_back(
    two: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.faces.bundles.MOST_FETCHES", 0)
    async with serving(two) as served:
        request = pb.FetchRequest(fingerprint=fingerprint_of(tiny_bundle), path="labels.txt")
        error = await refused(served.devices.Fetch(request).read())
        assert error.code() == Code.RESOURCE_EXHAUSTED


async def test_a_model_that_cannot_be_read_keeps_nobody_from_the_model_he_has(
    served: Served, two: Store, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(two, other_bundle, "a-secret", "v9")
    shut_folder(monkeypatch, two.root / "a-secret")
    request = pb.CurrentRequest(fingerprint=fingerprint_of(other_bundle))
    current = await served.devices.Current(request)
    assert (current.name, current.version) == ("model", "v1")
