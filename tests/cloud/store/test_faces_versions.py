"""Operators list, activate, roll back and remove over gRPC; the guard is asked for every call."""

import asyncio
import errno
import shutil
from pathlib import Path

import grpc
import pytest
from tests.cloud.store.bundles import pushed, shut_folder
from tests.cloud.store.serving import GUARD_S, FakeDeployer, Served, refused, serving

from isthmus import BundleError, ModelError, open_bundle
from isthmus.signing import make_keys, trusted_keys
from isthmus.v1 import store_pb2 as pb
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.security.identity import Caller, DeniedError, Identity, OpenDoor, Role
from isthmus_cloud.store import Activations, Store

Code = grpc.StatusCode


@pytest.fixture
def idle(store: Store, tiny_bundle: Path, other_bundle: Path) -> Store:
    """Versions v1 and v2 of one model, neither active."""
    pushed(store, tiny_bundle, "model", "v1")
    pushed(store, other_bundle, "model", "v2")
    return store


def asked(version: str, name: str = "model") -> pb.ActivateRequest:
    return pb.ActivateRequest(name=name, version=version)


async def test_a_version_is_loaded_then_moved_to_then_served(idle: Store, store: Store) -> None:
    async with serving(store) as served:
        first = await served.operators.Activate(asked("v1"))
        second = await served.operators.Activate(asked("v2"))
        assert (first.previous, second.version, second.previous) == ("", "v2", "v1")
        assert served.deployer.log == [
            "load v1, pointer at None",
            "serve v1, pointer at v1",
            "load v2, pointer at v1",
            "serve v2, pointer at v2",
        ]


async def test_a_list_says_what_is_active_and_who_is_on_what(idle: Store) -> None:
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        served.deployer.serve("model", "v1", streams=7)
        listed = await served.operators.List(pb.ListRequest(name="model"))
        rows = [(each.version, each.active, each.loaded, each.streams) for each in listed.versions]
        assert rows == [("v1", True, True, 7), ("v2", False, False, 0)]
        assert len((await served.operators.List(pb.ListRequest(name="other"))).versions) == 0


Row = tuple[str, bool, bool, bool]


async def rows(served: Served, name: str = "model") -> list[Row]:
    """Version, whether the store calls it active, whether it serves, whether new devices get it."""
    listed = (await served.operators.List(pb.ListRequest(name=name))).versions
    return [(each.version, each.active, each.loaded, each.new_devices) for each in listed]


async def test_a_list_says_what_new_devices_get_whatever_the_store_says(idle: Store) -> None:
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        assert await rows(served) == [("v1", True, True, True), ("v2", False, False, False)]
        (idle.root / "model" / ".active.json").write_bytes(b"{")
        assert await rows(served) == [("v1", False, True, True), ("v2", False, False, False)]
        idle.set_active("model", "v2")  # behind the service's back
        assert await rows(served) == [("v1", False, True, True), ("v2", True, False, False)]
        served.deployer.active.clear()
        assert (await rows(served))[0] == ("v1", False, True, False)


async def test_what_is_served_is_listed_when_its_model_was_taken_away(
    idle: Store, tiny_bundle: Path
) -> None:
    for name in ("a", "z"):
        pushed(idle, tiny_bundle, name, "1")
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        fingerprint = idle.version("model", "v1").fingerprint
        shutil.rmtree(idle.root / "model")
        assert await rows(served) == [("v1", False, True, True)]
        assert await rows(served, "a") == [("1", False, False, False)]
        listed = (await served.operators.List(pb.ListRequest(verify=True))).versions
    assert [each.name for each in listed] == ["a", "model", "z"]
    gone = listed[1]
    assert (gone.fingerprint, gone.size_bytes, gone.verified) == (fingerprint, 0, False)
    assert "is served, but is not in the store any more" in gone.fault


async def test_what_is_served_is_listed_when_its_folder_cannot_be_read(
    idle: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        shut_folder(monkeypatch, idle.root / "model")
        assert await rows(served, "") == [("", False, False, False), ("v1", True, True, True)]


@pytest.mark.parametrize(
    "fault",
    [ModelError("no such operator"), BundleError("damaged"), RuntimeError("a bug")],
    ids=lambda fault: type(fault).__name__,
)
async def test_what_cannot_be_loaded_leaves_all_as_it_was(idle: Store, fault: Exception) -> None:
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        served.deployer.fault = fault
        error = await refused(served.operators.Activate(asked("v2")))
        if isinstance(fault, RuntimeError):
            assert (error.code(), "bug" in str(error.details())) == (Code.INTERNAL, False)
        else:
            assert error.code() == Code.FAILED_PRECONDITION
            assert "v1 stays active" in str(error.details())
            assert str(fault) in str(error.details())
        assert idle.active("model") == served.deployer.active["model"] == "v1"


async def test_a_pointer_that_cannot_be_moved_leaves_all_as_it_was(
    idle: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        with monkeypatch.context() as patch:
            patch.setattr("isthmus_cloud.store.pointer.write_whole", full)
            error = await refused(served.operators.Activate(asked("v2")))
        assert "no room" in str(error.details())
        assert idle.active("model") == served.deployer.active["model"] == "v1"
        await served.operators.Activate(asked("v2"))


async def test_a_damaged_version_is_not_even_loaded(idle: Store) -> None:
    victim = idle.path("model", "v2") / "device" / "segment-0.onnx"
    victim.write_bytes(victim.read_bytes()[:-1])
    async with serving(idle) as served:
        error = await refused(served.operators.Activate(asked("v2")))
        assert "segment-0.onnx" in str(error.details())
        assert served.deployer.log == []


async def test_no_text_tells_where_the_store_lies(idle: Store) -> None:
    (idle.path("model", "v2") / "labels.txt").unlink()
    async with serving(idle) as served:
        served.deployer.fault = ModelError(f"{idle.root}/model/v1/cloud/tail-0.onnx: bad")
        for version in ("v1", "v2", "v3"):
            text = str((await refused(served.operators.Activate(asked(version)))).details())
            assert str(idle.root) not in text
            assert f"model {version}" in text


async def test_no_fault_of_a_list_tells_where_the_store_lies(idle: Store, tmp_path: Path) -> None:
    _, public = make_keys(tmp_path / "keys")
    (idle.path("model", "v1") / "bundle.json.sig").write_bytes(b"x")
    async with serving(Store(idle.root, trusted_keys([public]))) as served:
        listed = await served.operators.List(pb.ListRequest())
    faults = [each.fault for each in listed.versions]
    assert "model/v1/bundle.json.sig: 1 bytes" in faults[0]
    assert "not signed" in faults[1]
    assert str(idle.root) not in " ".join(faults)


async def test_what_is_not_there_is_not_found(served: Served, idle: Store) -> None:
    unknown = pb.RemoveRequest(name="model", version="v9")
    for call, request in (
        (served.operators.Activate, asked("v9")),
        (served.operators.Activate, asked("v1", "stranger")),
        (served.operators.Remove, unknown),
        (served.operators.Rollback, pb.RollbackRequest(name="stranger")),
    ):
        assert (await refused(call(request))).code() == Code.NOT_FOUND


async def test_rollback_goes_back_over_versions_that_are_loaded_again(idle: Store) -> None:
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        await served.operators.Activate(asked("v2"))
        moved = await served.operators.Rollback(pb.RollbackRequest(name="model"))
        assert (moved.version, moved.previous) == ("v1", "v2")
        assert served.deployer.active["model"] == idle.active("model") == "v1"
        error = await refused(served.operators.Rollback(pb.RollbackRequest(name="model")))
        assert error.code() == Code.FAILED_PRECONDITION
        assert idle.active("model") == "v1"


async def test_what_is_active_or_served_is_not_removed(idle: Store) -> None:
    async with serving(idle) as served:
        await served.operators.Activate(asked("v1"))
        await served.operators.Activate(asked("v2"))
        served.deployer.serve("model", "v1", streams=3)
        old = pb.RemoveRequest(name="model", version="v1")
        error = await refused(served.operators.Remove(old))
        assert (error.code(), "3 devices" in str(error.details())) == (
            Code.FAILED_PRECONDITION,
            True,
        )
        served.deployer.serve("model", "v1", streams=0)  # a device may be on its way
        assert "in a minute" in str((await refused(served.operators.Remove(old))).details())
        served.deployer.retire("model", "v1")
        await served.operators.Remove(old)
        active = pb.RemoveRequest(name="model", version="v2")
        assert (await refused(served.operators.Remove(active))).code() == Code.FAILED_PRECONDITION
        assert [each.version for each in idle.versions("model")] == ["v2"]


async def test_two_changes_of_one_model_do_not_mix(idle: Store) -> None:
    async with serving(idle) as served:
        served.deployer.gate.clear()
        first = asyncio.ensure_future(served.operators.Activate(asked("v1")))
        await served.deployer.begun.wait()
        for call, request in (
            (served.operators.Activate, asked("v2")),
            (served.operators.Remove, pb.RemoveRequest(name="model", version="v1")),
        ):
            assert "right now" in str((await refused(call(request))).details())
        served.deployer.gate.set()
        await first
        assert idle.active("model") == "v1"


async def test_an_activation_goes_on_when_its_caller_has_gone(idle: Store) -> None:
    deployer = FakeDeployer(idle)
    deployer.gate.clear()
    with DiskThreads() as disk:
        asked_for = asyncio.create_task(Activations(idle, deployer, disk).activate("model", "v1"))
        await deployer.begun.wait()
        asked_for.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked_for
        deployer.gate.set()
        async with asyncio.timeout(GUARD_S):
            await deployer.has_served.wait()
    assert idle.active("model") == "v1"


class Doorkeeper(OpenDoor):
    """Knows one operator and one device by their names in the metadata."""

    def __init__(self) -> None:
        self.asked: list[Role] = []

    def admit(self, caller: Caller, role: Role) -> Identity:
        self.asked.append(role)
        who = caller.metadata.get("who")
        if who not in {"operator", "device"}:
            raise DeniedError("who are you?", "token")
        if role == "operator" and who != "operator":
            raise DeniedError("for operators", "role")
        return Identity(name=str(who), role="operator" if who == "operator" else "device")


async def test_every_call_asks_the_guard(idle: Store, tiny_bundle: Path) -> None:
    guard = Doorkeeper()
    fingerprint = open_bundle(tiny_bundle, "cloud").fingerprint
    fetch = pb.FetchRequest(fingerprint=fingerprint, path="labels.txt")
    async with serving(idle, guard) as served:
        operators, devices = served.operators, served.devices
        calls = (
            (operators.List, pb.ListRequest()),
            (operators.Activate, asked("v1")),
            (operators.Rollback, pb.RollbackRequest(name="model")),
            (operators.Remove, pb.RemoveRequest(name="model", version="v2")),
            (devices.Current, pb.CurrentRequest(model="model")),
        )
        for metadata, code in (
            ((), Code.UNAUTHENTICATED),
            ((("who", "device"),), Code.PERMISSION_DENIED),
        ):
            for call, request in calls[: 5 if not metadata else 4]:
                error = await refused(call(request, metadata=metadata))
                assert error.code() == code
            assert (await refused(operators.Push(metadata=metadata).read())).code() == code
        assert (await refused(devices.Fetch(fetch).read())).code() == Code.UNAUTHENTICATED
        assert idle.active("model") is None
        assert len(idle.versions("model")) == 2
        await operators.Activate(asked("v1"), metadata=(("who", "operator"),))
        await devices.Current(pb.CurrentRequest(model="model"), metadata=(("who", "device"),))
        assert set(guard.asked) == {"operator", "device"}
