"""What `isthmus list`, `push`, `activate` and `rollback` say of what is damaged, there, or shut."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Isthmus
from tests.cloud.store.bundles import shut_folder
from tests.cloud.store.serving import Served
from tests.cloud.store.serving import serving_apart as service
from tests.commands import assert_explained

from isthmus.signing import make_keys, sign_bundle, trusted_keys
from isthmus.v1 import store_pb2 as pb
from isthmus_cloud.faces.store import StoreService
from isthmus_cloud.store import Store, StoredVersion

Place = tuple[str, str]
QUIET = ("--name", "net", "--quiet", "--version")


def push(place: Place) -> tuple[str, str]:
    return ("--to" if place[0] == "--at" else place[0]), place[1]


@pytest.fixture
def damaged(isthmus: Isthmus, place: Place, store: Store, tiny_bundle: Path) -> Path:
    """A file of v2 with another byte, while v1 is active; both are the tiny bundle."""
    isthmus("push", tiny_bundle, *push(place), *QUIET, "v1", "--activate")
    isthmus("push", tiny_bundle, *push(place), *QUIET, "v2")
    victim = store.path("net", "v2") / "labels.txt"
    victim.write_bytes(b"?" + victim.read_bytes()[1:])
    return victim


def test_a_shortened_file_is_listed_and_a_changed_one_is_found_by_verify(
    isthmus: Isthmus, place: Place, damaged: Path
) -> None:
    assert [row["usable"] for row in json.loads(isthmus("list", *place, "--json").out)] == [
        True
    ] * 2
    ended = isthmus("list", *place, "--verify", "--json")
    assert_explained(ended, "1 of 2 versions cannot be used", "net v2", "labels.txt: damaged")
    rows = json.loads(ended.out)
    assert [(row["usable"], row["verified"]) for row in rows] == [(True, True), (False, False)]
    assert isthmus("list", *place, "--verify").out.splitlines()[1].split()[-1] == "verified"
    damaged.write_bytes(b"")
    ended = isthmus("list", *place)
    assert ended.status == 0
    assert ended.out.splitlines()[2].split()[-1] == "no"
    assert "labels.txt: 0 bytes, the manifest of net/v2 says 80; push the same" in ended.out


def test_a_damaged_version_is_not_activated_and_a_push_mends_it(
    isthmus: Isthmus, place: Place, damaged: Path, store: Store, tiny_bundle: Path
) -> None:
    ended = isthmus("activate", "net", "v2", *place)
    assert_explained(
        ended, "net v2 cannot be activated (v1 stays active)", "labels.txt", "push the same bundle"
    )
    again = isthmus("push", tiny_bundle, *push(place), *QUIET, "v2")
    assert again.out.endswith("not signed, 80 B of 14.3 KB sent\n")
    assert isthmus("activate", "net", "v2", *place).status == 0
    damaged.write_bytes(b"")
    assert isthmus("activate", "net", "v1", *place).status == 0
    ended = isthmus("rollback", "net", *place)
    assert_explained(ended, "net v2 cannot be activated (v1 stays active)", "labels.txt")
    assert store.active("net") == "v1"


def test_what_was_there_already_is_said_so(
    isthmus: Isthmus, place: Place, tiny_bundle: Path, other_bundle: Path
) -> None:
    first = isthmus("push", tiny_bundle, *push(place), *QUIET, "v1", "--activate")
    assert "net v1 is there" in first.out
    again = isthmus("push", tiny_bundle, *push(place), *QUIET, "v1", "--activate")
    there, active = again.out.splitlines()
    assert there.startswith("net v1 was there already: ")
    assert there.endswith(", not signed, nothing sent")
    assert active == "net v1 is active, as it was before"
    told = json.loads(isthmus("push", tiny_bundle, *push(place), *QUIET, "v1", "--json").out)
    assert told["pushed"]["was_there"] is True
    other = isthmus("push", other_bundle, *push(place), *QUIET, "v1")
    assert_explained(other, "net v1 is another bundle already", "as another version")


def test_each_dead_end_names_a_way_out(isthmus: Isthmus, place: Place, tiny_bundle: Path) -> None:
    isthmus("push", tiny_bundle, *push(place), *QUIET, "v1", "--activate")
    ended = isthmus("remove", "net", "v1", *place)
    assert_explained(
        ended, "net v1 is the active version and stays", "only one", "delete the folder"
    )
    isthmus("push", tiny_bundle, *push(place), *QUIET, "v2")
    ended = isthmus("remove", "net", "v1", *place)
    assert_explained(ended, "activate another one first (versions of net: v1, v2)")
    ended = isthmus("rollback", "net", *place)
    assert_explained(
        ended, "v1 is active and none was before", "`isthmus activate net VERSION`", "v2"
    )
    for verb in ("rollback nott", "activate nott v1", "remove nott v1"):
        assert_explained(isthmus(*verb.split(), *place), "there is no", "nott", "models: net")


def test_a_service_with_a_key_takes_no_bundle_without_its_signature(
    isthmus: Isthmus, store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    private, public = make_keys(tmp_path / "keys")
    with service(Store(store.root, trusted_keys([public]))) as served:
        ended = isthmus("push", bundle, "--to", served.address, *QUIET, "v1")
        assert_explained(ended, "net/v1: not signed", "isthmus keys sign BUNDLE")
        sign_bundle(bundle, make_keys(tmp_path / "other")[0])
        ended = isthmus("push", bundle, "--to", served.address, *QUIET, "v1")
        assert_explained(ended, "signed by none of the keys that are trusted here")
        sign_bundle(bundle, private)
        assert isthmus("push", bundle, "--to", served.address, *QUIET, "v1").status == 0


@pytest.mark.parametrize("verb", ["push BUNDLE", "list", "activate net v1", "rollback net"])
def test_a_bundle_or_a_file_is_no_store(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path, verb: str
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    before = sorted(bundle.rglob("*"))
    arguments = [str(bundle) if word == "BUNDLE" else word for word in verb.split()]
    for place, what in ((bundle, "bundle"), (bundle / "labels.txt", "file")):
        ended = isthmus(*arguments, "--store", place)
        assert_explained(ended, str(place), f"is a {what}, no store", "NAME/VERSION")
    assert sorted(bundle.rglob("*")) == before


def shut(*_: Any, **__: Any) -> Any:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("push BUNDLE", "mkdir"),
        ("activate net v2", "open"),
        ("remove net v2", "rename"),
        ("list", "listdir"),
        ("push BUNDLE", "listdir"),
    ],
)
def test_where_this_user_may_not_write_is_named_with_what_helps(
    isthmus: Isthmus, store: Store, tiny_bundle: Path, verb: str, call: str
) -> None:
    for version in ("v1", "v2"):
        isthmus("push", tiny_bundle, "--store", store.root, *QUIET, version)
    arguments = [str(tiny_bundle) if word == "BUNDLE" else word for word in verb.split()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, shut)
        ended = isthmus(*arguments, "--store", store.root)
    assert_explained(ended, str(store.root), "Permission denied", "let the user")


def states(isthmus: Isthmus, *place: object) -> list[tuple[str, str]]:
    rows = json.loads(isthmus("list", *place, "--json").out)
    return [(row["version"], row["state"]) for row in rows]


@pytest.fixture
def moved(isthmus: Isthmus, served: Served, tiny_bundle: Path) -> Served:
    """A service with v1, which was active before, and v2, which is; both are the tiny bundle."""
    for version in ("v1", "v2"):
        isthmus("push", tiny_bundle, "--to", served.address, *QUIET, version, "--activate")
    return served


def test_what_was_unloaded_is_called_so_with_what_helps(isthmus: Isthmus, moved: Served) -> None:
    at = ("--at", moved.address)
    assert states(isthmus, *at) == [("v1", "served"), ("v2", "active")]
    del moved.deployer.active["net"]
    moved.deployer.retire("net", "v1")
    assert states(isthmus, *at) == [("v1", "-"), ("v2", "unloaded")]
    way_out = isthmus("list", *at).out.splitlines()[-1]
    assert way_out == (
        "    the store calls it active, but new devices do not get it: `isthmus activate net v2` "
        "gives it to them"
    )
    isthmus("activate", "net", "v2", *at)
    ended = isthmus("list", *at)
    assert "unloaded" not in ended.out
    assert len(ended.out.splitlines()) == 3


@pytest.mark.parametrize("damage", ["removed", "damaged"])
def test_what_new_devices_get_is_listed_where_the_store_calls_nothing_active(
    isthmus: Isthmus, moved: Served, store: Store, damage: str
) -> None:
    pointer = store.root / "net" / ".active.json"
    if damage == "removed":
        pointer.unlink()
    else:
        pointer.write_bytes(b"{")
    at = ("--at", moved.address)
    assert states(isthmus, *at) == [("v1", "served"), ("v2", "given")]
    assert "`isthmus activate net v2` says so there" in isthmus("list", *at).out
    assert states(isthmus, "--store", store.root) == [("v1", "-"), ("v2", "-")]


def test_a_service_that_does_not_say_what_new_devices_get_is_taken_at_the_stores_word(
    isthmus: Isthmus, moved: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = StoreService._row

    def old(self: StoreService, stored: StoredVersion) -> pb.StoredVersion:
        row = listed(self, stored)
        row.ClearField("new_devices")
        return row

    monkeypatch.setattr(StoreService, "_row", old)
    at = ("--at", moved.address)
    assert states(isthmus, *at) == [("v1", "served"), ("v2", "active")]
    assert json.loads(isthmus("list", *at, "--json").out)[0]["new_devices"] is None


def test_a_push_of_what_is_active_and_not_served_says_what_helps(
    isthmus: Isthmus, moved: Served, store: Store, tiny_bundle: Path
) -> None:
    """The service began without the active version; now it comes."""
    shutil.rmtree(store.root / "net" / "v2")
    moved.deployer.active.clear()
    moved.deployer.served.clear()
    at, to = ("--at", moved.address), ("--to", moved.address)
    assert "push it again and activate it" in isthmus("list", *at).out
    first, way_out = isthmus("push", tiny_bundle, *to, *QUIET, "v2").out.splitlines()
    assert first.startswith("net v2 is there: ")
    assert "new devices do not get it: `isthmus activate net v2` gives it to them" in way_out
    told = json.loads(isthmus("push", tiny_bundle, *to, *QUIET, "v2", "--json").out)
    assert told["pushed"]["state"] == "unloaded"
    assert "isthmus activate net v2" in told["pushed"]["way_out"]
    _, done = isthmus("push", tiny_bundle, *to, *QUIET, "v2", "--activate").out.splitlines()
    assert done == "net v2 is active, as it was before"
    assert len(isthmus("push", tiny_bundle, *to, *QUIET, "v2").out.splitlines()) == 1


def test_a_model_that_was_taken_away_under_a_service_is_listed_with_what_helps(
    isthmus: Isthmus, moved: Served, store: Store
) -> None:
    moved.deployer.retire("net", "v1")
    shutil.rmtree(store.root / "net")
    ended = isthmus("list", "--at", moved.address)
    (row, below) = ended.out.splitlines()[1:]
    assert row.split()[:4] == ["net", "v2", "given", "0"]
    assert below.startswith("    cannot be used: it is served, but is not in the store any more")


def test_a_service_that_is_too_old_to_verify_is_not_believed(
    isthmus: Isthmus, store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(store) as served:
        isthmus("push", tiny_bundle, "--to", served.address, *QUIET, "v1")
        listed = StoreService.List

        async def old(self: StoreService, _: pb.ListRequest, context: Any) -> pb.ListReply:
            return await listed(self, pb.ListRequest(), context)

        monkeypatch.setattr(StoreService, "List", old)
        with service(store) as aged:
            ended = isthmus("list", "--at", aged.address, "--verify")
    assert_explained(ended, "too old to compare files", "without --verify")


def test_no_answer_in_time_does_not_mean_that_nothing_happens(
    isthmus: Isthmus, served: Served, tiny_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, "--to", served.address, *QUIET, "v1")
    served.deployer.gate.clear()
    ended = isthmus("activate", "net", "v1", "--at", served.address, "--timeout", "0.5")
    assert_explained(ended, "no answer within 0.5 s", "may still go on", "`isthmus list`")


def test_a_model_that_cannot_be_read_does_not_spoil_the_list_of_the_others(
    isthmus: Isthmus,
    place: Place,
    tiny_bundle: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("net", "secret"):
        isthmus("push", tiny_bundle, *push(place), "--name", name, "--quiet", "--version", "v1")
    shut_folder(monkeypatch, store.root / "secret")
    ended = isthmus("list", *place, "--json")
    net, secret = json.loads(ended.out)
    assert (ended.status, net["name"], net["usable"]) == (0, "net", True)
    assert (secret["name"], secret["version"], secret["usable"]) == ("secret", "", False)
    assert "Permission denied" in secret["fault"]
    assert_explained(isthmus("list", "secret", *place), "Permission denied", "secret")
    ended = isthmus("list", *place, "--verify")
    assert_explained(ended, "1 of 2 versions cannot be used, the first is secret: ", "let the user")
    assert ended.out.splitlines()[2].split()[:2] == ["secret", "-"]


def test_a_store_of_which_nothing_can_be_read_is_not_called_empty(
    isthmus: Isthmus,
    place: Place,
    tiny_bundle: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    isthmus("push", tiny_bundle, *push(place), *QUIET, "v1")
    shut_folder(monkeypatch, store.root / "net")
    ended = isthmus("list", *place)
    assert (ended.status, "empty" in ended.out) == (0, False)
    assert "Permission denied" in ended.out
    assert_explained(isthmus("list", *place, "--verify"), "1 of 1", "net", "Permission denied")
