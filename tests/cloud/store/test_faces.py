"""Operators push, list, activate, roll back and remove over gRPC."""

import asyncio
import errno
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cloud.store.bundles import hidden, manifest_of, pushed, seen
from tests.cloud.store.serving import GUARD_S, FakeDeployer, Pusher, Served, push, refused, serving

from isthmus import BundleError, ModelError, open_bundle
from isthmus.signing import make_keys, sign_bundle, trusted_keys
from isthmus.v1 import store_pb2 as pb
from isthmus_cloud.security.identity import Caller, DeniedError, Identity, OpenDoor, Role
from isthmus_cloud.store import Activations, DiskThreads, Store
from isthmus_cloud.store import Push as StorePush

Code = grpc.StatusCode


@pytest.fixture
async def served(store: Store) -> AsyncIterator[Served]:
    async with serving(store) as served:
        yield served


@pytest.fixture
def two(store: Store, tiny_bundle: Path, other_bundle: Path) -> Store:
    """Versions v1 and v2 of one model, neither active."""
    pushed(store, tiny_bundle, "model", "v1")
    pushed(store, other_bundle, "model", "v2")
    return store


def asked(version: str, name: str = "model") -> pb.ActivateRequest:
    return pb.ActivateRequest(name=name, version=version)


async def complaint_of(call: Awaitable[object]) -> str | None:
    """What the service says against it, None if it does it."""
    try:
        async with asyncio.timeout(GUARD_S):
            await call
    except grpc.aio.AioRpcError as error:
        return str(error.details())
    return None


async def test_a_bundle_comes_over_the_wire_and_is_listed(
    served: Served, store: Store, tiny_bundle: Path
) -> None:
    done = await push(served, tiny_bundle, "model", "v1")
    assert not done.was_there
    listed = await served.operators.List(pb.ListRequest())
    assert [each.version for each in listed.versions] == ["v1"]
    assert listed.versions[0].fingerprint == open_bundle(tiny_bundle, "cloud").fingerprint
    assert done.stored == listed.versions[0]
    assert store.check("model", "v1").fault is None


async def test_the_same_bundle_once_more_is_there_already(
    served: Served, tiny_bundle: Path
) -> None:
    await push(served, tiny_bundle, "model", "v1")
    pusher = Pusher(served, tiny_bundle)
    assert len((await pusher.begin("model", "v1")).files) == 0
    assert (await pusher.done()).was_there


async def test_a_push_that_broke_off_goes_on(
    served: Served, store: Store, tiny_bundle: Path
) -> None:
    first = Pusher(served, tiny_bundle)
    lacks = await first.begin("model", "v1")
    await first.send(lacks, most=4)
    await first.piece("no/such/file", 0, b"x")  # all before it has been taken when this is refused
    assert (await first.refused()).code() == Code.INVALID_ARGUMENT
    second = Pusher(served, tiny_bundle)
    rest = await second.begin("model", "v1")
    assert sum(each.offset for each in rest.files) > 0 or len(rest.files) < len(lacks.files)
    await second.send(rest)
    await second.done()
    assert store.check("model", "v1").fault is None


async def test_a_caller_who_vanishes_leaves_a_push_that_can_go_on(
    served: Served, store: Store, tiny_bundle: Path
) -> None:
    first = Pusher(served, tiny_bundle)
    await first.send(await first.begin("model", "v1"), most=4)
    first.call.cancel()
    while (complaint := await complaint_of(push(served, tiny_bundle, "model", "v1"))) is not None:
        assert "by somebody else" in complaint  # the service has not heard yet
    assert store.check("model", "v1").fault is None


async def test_to_stop_early_is_told_and_leaves_what_arrived(
    served: Served, store: Store, tiny_bundle: Path
) -> None:
    pusher = Pusher(served, tiny_bundle)
    await pusher.send(await pusher.begin("model", "v1"), most=1)
    await pusher.call.done_writing()
    error = await pusher.refused()
    assert (error.code(), "not complete" in str(error.details())) == (Code.INVALID_ARGUMENT, True)
    assert hidden(store.root) != set()
    assert store.models() == ()


@pytest.mark.parametrize(
    ("name", "version"), [("../up", "v1"), ("model", ".."), ("", "v1"), ("model", "a/b")]
)
async def test_a_hostile_name_is_refused(
    served: Served, store: Store, tiny_bundle: Path, name: str, version: str
) -> None:
    pusher = Pusher(served, tiny_bundle)
    begin = pb.PushBegin(name=name, version=version, manifest=manifest_of(tiny_bundle))
    await pusher.call.write(pb.PushMessage(begin=begin))
    assert (await pusher.refused()).code() == Code.INVALID_ARGUMENT
    assert not store.root.exists()


@pytest.mark.parametrize(
    "first",
    [
        pb.PushMessage(),
        pb.PushMessage(piece=pb.PushPiece(path="labels.txt", data=b"x")),
        pb.PushMessage(begin=pb.PushBegin(name="model", version="v1", manifest=b"{}")),
    ],
    ids=["nothing", "a piece", "no manifest"],
)
async def test_a_push_that_does_not_begin_well_is_refused(
    served: Served, store: Store, tiny_bundle: Path, first: pb.PushMessage
) -> None:
    pusher = Pusher(served, tiny_bundle)
    await pusher.call.write(first)
    assert (await pusher.refused()).code() == Code.INVALID_ARGUMENT
    assert not store.root.exists()


async def test_a_push_of_nothing_is_refused(served: Served, tiny_bundle: Path) -> None:
    pusher = Pusher(served, tiny_bundle)
    await pusher.call.done_writing()
    assert (await pusher.refused()).code() == Code.INVALID_ARGUMENT


async def test_a_second_beginning_is_refused(served: Served, tiny_bundle: Path) -> None:
    pusher = Pusher(served, tiny_bundle)
    await pusher.begin("model", "v1")
    await pusher.call.write(pb.PushMessage(begin=pb.PushBegin(name="model", version="v1")))
    assert "only pieces come" in str((await pusher.refused()).details())


async def test_a_manifest_larger_than_any_never_reaches_the_store(
    served: Served, store: Store, tiny_bundle: Path
) -> None:
    pusher = Pusher(served, tiny_bundle)
    begin = pb.PushBegin(name="model", version="v1", manifest=b"x" * (5 * 1024**2))
    await pusher.call.write(pb.PushMessage(begin=begin))
    assert (await pusher.refused()).code() == Code.RESOURCE_EXHAUSTED
    assert not store.root.exists()


async def test_a_full_disk_is_told_and_leaves_nothing(
    served: Served, store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("isthmus_cloud.store.push.append", full)
    pusher = Pusher(served, tiny_bundle)
    await pusher.send(await pusher.begin("model", "v1"), most=1)
    error = await pusher.refused()
    assert (error.code(), "no room" in str(error.details())) == (Code.RESOURCE_EXHAUSTED, True)
    assert hidden(store.root) == seen(store.root) == set()


async def test_more_pushes_than_may_run_are_told_to_come_back(
    store: Store, tiny_bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.faces.store.MOST_PUSHES", 1)
    async with serving(store) as served:
        first = Pusher(served, tiny_bundle)
        lacks = await first.begin("model", "v1")
        assert (await Pusher(served, other_bundle).refused()).code() == Code.RESOURCE_EXHAUSTED
        await first.send(lacks)
        await first.done()
        await push(served, other_bundle, "model", "v2")


async def test_a_push_on_which_nothing_comes_is_ended(
    store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.faces.store.IDLE_S", 0.01)
    async with serving(store) as served:
        assert (await Pusher(served, tiny_bundle).refused()).code() == Code.DEADLINE_EXCEEDED


async def test_a_push_without_a_right_signature_is_refused(
    store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "keys")
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    signature = sign_bundle(bundle, private).read_bytes()
    strict = Store(store.root, trusted_keys([public]))
    async with serving(strict) as served:
        for bad in (b"", bytes(64), signature[1:]):
            pusher = Pusher(served, bundle)
            begin = pb.PushBegin(
                name="model", version="v1", manifest=manifest_of(bundle), signature=bad
            )
            await pusher.call.write(pb.PushMessage(begin=begin))
            error = await pusher.refused()
            assert error.code() == Code.INVALID_ARGUMENT
            assert "sign" in str(error.details())
        assert not store.root.exists()
        assert (await push(served, bundle, "model", "v1", signature)).stored.signed
        await served.operators.Activate(asked("v1"))


async def test_a_version_is_loaded_then_moved_to_then_served(two: Store, store: Store) -> None:
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


async def test_a_list_says_what_is_active_and_who_is_on_what(two: Store) -> None:
    async with serving(two) as served:
        await served.operators.Activate(asked("v1"))
        served.deployer.serve("model", "v1", streams=7)
        listed = await served.operators.List(pb.ListRequest(name="model"))
        rows = [(each.version, each.active, each.loaded, each.streams) for each in listed.versions]
        assert rows == [("v1", True, True, 7), ("v2", False, False, 0)]
        assert len((await served.operators.List(pb.ListRequest(name="other"))).versions) == 0


@pytest.mark.parametrize(
    "fault",
    [ModelError("no such operator"), BundleError("damaged"), RuntimeError("a bug")],
    ids=lambda fault: type(fault).__name__,
)
async def test_what_cannot_be_loaded_leaves_all_as_it_was(two: Store, fault: Exception) -> None:
    async with serving(two) as served:
        await served.operators.Activate(asked("v1"))
        served.deployer.fault = fault
        error = await refused(served.operators.Activate(asked("v2")))
        if isinstance(fault, RuntimeError):
            assert (error.code(), "bug" in str(error.details())) == (Code.INTERNAL, False)
        else:
            assert error.code() == Code.FAILED_PRECONDITION
            assert "v1 stays active" in str(error.details())
            assert str(fault) in str(error.details())
        assert two.active("model") == served.deployer.active["model"] == "v1"


async def test_a_pointer_that_cannot_be_moved_leaves_all_as_it_was(
    two: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serving(two) as served:
        await served.operators.Activate(asked("v1"))
        with monkeypatch.context() as patch:
            patch.setattr("isthmus_cloud.store.pointer.write_whole", full)
            error = await refused(served.operators.Activate(asked("v2")))
        assert "no room" in str(error.details())
        assert two.active("model") == served.deployer.active["model"] == "v1"
        await served.operators.Activate(asked("v2"))


async def test_a_damaged_version_is_not_even_loaded(two: Store) -> None:
    victim = two.path("model", "v2") / "device" / "segment-0.onnx"
    victim.write_bytes(victim.read_bytes()[:-1])
    async with serving(two) as served:
        error = await refused(served.operators.Activate(asked("v2")))
        assert "segment-0.onnx" in str(error.details())
        assert served.deployer.log == []


async def test_no_text_tells_where_the_store_lies(two: Store) -> None:
    (two.path("model", "v2") / "labels.txt").unlink()
    async with serving(two) as served:
        served.deployer.fault = ModelError(f"{two.root}/model/v1/cloud/tail-0.onnx: bad")
        for version in ("v1", "v2", "v3"):
            text = str((await refused(served.operators.Activate(asked(version)))).details())
            assert str(two.root) not in text
            assert f"model {version}" in text


async def test_no_fault_of_a_list_tells_where_the_store_lies(two: Store, tmp_path: Path) -> None:
    _, public = make_keys(tmp_path / "keys")
    (two.path("model", "v1") / "bundle.json.sig").write_bytes(b"x")
    async with serving(Store(two.root, trusted_keys([public]))) as served:
        listed = await served.operators.List(pb.ListRequest())
    faults = [each.fault for each in listed.versions]
    assert "model/v1/bundle.json.sig: 1 bytes" in faults[0]
    assert "not signed" in faults[1]
    assert str(two.root) not in " ".join(faults)


async def test_what_is_not_there_is_not_found(served: Served, two: Store) -> None:
    unknown = pb.RemoveRequest(name="model", version="v9")
    for call, request in (
        (served.operators.Activate, asked("v9")),
        (served.operators.Activate, asked("v1", "stranger")),
        (served.operators.Remove, unknown),
        (served.operators.Rollback, pb.RollbackRequest(name="stranger")),
    ):
        assert (await refused(call(request))).code() == Code.NOT_FOUND


async def test_rollback_goes_back_over_versions_that_are_loaded_again(two: Store) -> None:
    async with serving(two) as served:
        await served.operators.Activate(asked("v1"))
        await served.operators.Activate(asked("v2"))
        moved = await served.operators.Rollback(pb.RollbackRequest(name="model"))
        assert (moved.version, moved.previous) == ("v1", "v2")
        assert served.deployer.active["model"] == two.active("model") == "v1"
        error = await refused(served.operators.Rollback(pb.RollbackRequest(name="model")))
        assert error.code() == Code.FAILED_PRECONDITION
        assert two.active("model") == "v1"


async def test_what_is_active_or_served_is_not_removed(two: Store) -> None:
    async with serving(two) as served:
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
        assert [each.version for each in two.versions("model")] == ["v2"]


async def test_two_changes_of_one_model_do_not_mix(two: Store) -> None:
    async with serving(two) as served:
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
        assert two.active("model") == "v1"


async def test_an_activation_goes_on_when_its_caller_has_gone(two: Store) -> None:
    deployer = FakeDeployer(two)
    deployer.gate.clear()
    with DiskThreads() as disk:
        asked_for = asyncio.create_task(Activations(two, deployer, disk).activate("model", "v1"))
        await deployer.begun.wait()
        asked_for.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked_for
        deployer.gate.set()
        async with asyncio.timeout(GUARD_S):
            await deployer.has_served.wait()
    assert two.active("model") == "v1"


async def test_a_push_that_begins_too_late_for_its_caller_is_let_go(
    store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller vanishes while the disk is still at the beginning."""
    begun, gate, closed = threading.Event(), threading.Event(), threading.Event()
    real_begin, real_close = Store.begin_push, StorePush.close

    def begin_push(*args: Any) -> StorePush:
        begun.set()
        assert gate.wait(GUARD_S)
        return real_begin(*args)

    def close(push: StorePush) -> None:
        real_close(push)
        closed.set()

    monkeypatch.setattr(Store, "begin_push", begin_push)
    monkeypatch.setattr(StorePush, "close", close)

    async def use(disk: DiskThreads) -> None:
        async with disk.opened(store.begin_push, "model", "v1", manifest_of(tiny_bundle)):
            raise AssertionError("it was cancelled before")

    with DiskThreads() as disk:
        using = asyncio.create_task(use(disk))
        assert await asyncio.to_thread(begun.wait, GUARD_S)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        gate.set()
        assert await asyncio.to_thread(closed.wait, GUARD_S)


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


async def test_every_call_asks_the_guard(two: Store, tiny_bundle: Path) -> None:
    guard = Doorkeeper()
    fingerprint = open_bundle(tiny_bundle, "cloud").fingerprint
    fetch = pb.FetchRequest(fingerprint=fingerprint, path="labels.txt")
    async with serving(two, guard) as served:
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
        assert two.active("model") is None
        assert len(two.versions("model")) == 2
        await operators.Activate(asked("v1"), metadata=(("who", "operator"),))
        await devices.Current(pb.CurrentRequest(model="model"), metadata=(("who", "device"),))
        assert set(guard.asked) == {"operator", "device"}
