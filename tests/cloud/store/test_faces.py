"""Operators push over gRPC."""

import asyncio
import errno
import shutil
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cloud.store.bundles import hidden, manifest_of, seen
from tests.cloud.store.serving import GUARD_S, Pusher, Served, push, serving

from isthmus import open_bundle
from isthmus.signing import make_keys, sign_bundle, trusted_keys
from isthmus.v1 import store_pb2 as pb
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.store import Push as StorePush
from isthmus_cloud.store import Store

Code = grpc.StatusCode


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
        await served.operators.Activate(pb.ActivateRequest(name="model", version="v1"))


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
