"""`isthmus push`, `list`, `activate`, `rollback` and `remove`, on a service and on a folder."""

import json
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cli.conftest import Isthmus
from tests.cli.test_usage import _WITHOUT as WITHOUT
from tests.cli.test_usage import in_fresh_python
from tests.cloud.store.bundles import entries_of, hidden, seen
from tests.cloud.store.serving import Served
from tests.cloud.store.serving import serving_apart as service
from tests.commands import PATIENCE_S, Command, assert_explained, until
from tests.edge.doctor.certificates import make_certificate

from isthmus import ModelError, open_bundle
from isthmus.signing import make_keys, sign_bundle
from isthmus_cloud.security.identity import Caller, DeniedError, Identity, OpenDoor, Role
from isthmus_cloud.store import Push, Store

TOKEN = "a-token-that-nobody-may-see"  # noqa: S105 - it opens nothing


def for_push(place: tuple[str, str]) -> tuple[str, str]:
    return ("--to" if place[0] == "--at" else place[0]), place[1]


def rows(isthmus: Isthmus, place: tuple[str, str]) -> list[dict[str, Any]]:
    ended = isthmus("list", *place, "--json")
    assert ended.status == 0
    listed: list[dict[str, Any]] = json.loads(ended.out)
    return listed


def test_a_bundle_goes_in_by_the_models_name_and_its_fingerprint(
    isthmus: Isthmus, place: tuple[str, str], store: Store, tiny_bundle: Path
) -> None:
    ended = isthmus("push", tiny_bundle, *for_push(place))
    fingerprint = open_bundle(tiny_bundle, "cloud").fingerprint
    assert ended.status == 0
    assert ended.out.startswith(f"tiny {fingerprint[:12]} is there: {fingerprint[:12]}, not signed")
    assert "100%" in ended.err
    assert store.check("tiny", fingerprint[:12]).fingerprint == fingerprint


def test_the_whole_life_of_two_versions(
    isthmus: Isthmus,
    place: tuple[str, str],
    store: Store,
    tiny_bundle: Path,
    other_bundle: Path,
) -> None:
    named = ("--name", "net", "--quiet", "--version")
    isthmus("push", tiny_bundle, *for_push(place), *named, "v1", "--activate")
    ended = isthmus("push", other_bundle, *for_push(place), *named, "v2", "--activate")
    assert ended.out.splitlines()[1] == "net v2 is active (before: v1)"
    assert ended.err == ""
    assert isthmus("rollback", "net", *place).out == "net v1 is active (before: v2)\n"
    assert [(row["version"], row["active"]) for row in rows(isthmus, place)] == [
        ("v1", True),
        ("v2", False),
    ]
    ended = isthmus("activate", "net", "v2", *place, "--json")
    assert json.loads(ended.out) == {"name": "net", "version": "v2", "previous": "v1"}
    assert store.active("net") == "v2"
    assert_explained(isthmus("remove", "net", "v2", *place), "net v2", "active")


def test_removed_is_removed(
    isthmus: Isthmus, place: tuple[str, str], store: Store, tiny_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, *for_push(place), "--version", "v1")
    assert isthmus("remove", "tiny", "v1", *place).out == "tiny v1 is removed\n"
    assert seen(store.root) == set()
    assert isthmus("list", *place).out == "the store is empty\n"
    assert isthmus("list", "tiny", *place).out == "no version of tiny is there\n"


def test_the_same_once_more_sends_nothing(
    isthmus: Isthmus, place: tuple[str, str], tiny_bundle: Path
) -> None:
    sizes = [
        json.loads(isthmus("push", tiny_bundle, *for_push(place), "--json").out)["pushed"]
        for _ in range(2)
    ]
    assert [each["sent_bytes"] for each in sizes] == [sizes[0]["size_bytes"], 0]


def test_the_list_is_a_table_with_the_reason_for_what_cannot_be_used(
    isthmus: Isthmus, place: tuple[str, str], store: Store, tiny_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, *for_push(place), "--version", "v1", "--activate")
    (store.root / "tiny" / "broken").mkdir()
    lines = isthmus("list", *place).out.splitlines()
    assert lines[0].split() == [
        "MODEL", "VERSION", "STATE", "DEVICES", "FINGERPRINT", "SIZE", "SIGNED", "USABLE"
    ]  # fmt: skip
    by_version = {line.split()[1]: line.split() for line in lines[1:] if line.startswith("tiny")}
    assert (by_version["v1"][2], by_version["v1"][-1]) == ("active", "yes")
    assert by_version["broken"][2:] == ["-", "-", "-", "-", "no", "no"]
    assert "cannot be used: tiny/broken: its manifest cannot be read" in "\n".join(lines)


def test_a_signature_goes_with_the_bundle(
    isthmus: Isthmus, place: tuple[str, str], store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    private, _ = make_keys(tmp_path / "keys")
    sign_bundle(bundle, private)
    ended = isthmus("push", bundle, *for_push(place), "--version", "v1")
    assert ", signed, " in ended.out
    assert store.open("tiny", "v1").signature() is not None


def test_what_is_not_whole_is_not_even_sent(
    isthmus: Isthmus, place: tuple[str, str], store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    (bundle / "labels.txt").write_text("x", encoding="utf-8")
    assert_explained(isthmus("push", bundle, *for_push(place)), "labels.txt", "again")
    assert_explained(isthmus("push", tmp_path, *for_push(place)), "no bundle here")
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("activate", "tiny", "v9"), ("no tiny v9", "versions of tiny: v1")),
        (("activate", "../up", "v1"), ("'../up'", "letters")),
        (("rollback", "tiny"), ("none is or was before", "isthmus activate")),
        (("rollback", "stranger"), ("no model stranger",)),
        (("remove", "tiny", "v9"), ("no tiny v9",)),
        (("list", "../up"), ("'../up'",)),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_explained(
    isthmus: Isthmus,
    place: tuple[str, str],
    tiny_bundle: Path,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    isthmus("push", tiny_bundle, *for_push(place), "--version", "v1")
    assert_explained(isthmus(*arguments, *place), f"isthmus {arguments[0]}: ", *words)


@pytest.mark.parametrize("verb", ["list", "rollback net", "activate net v1", "remove net v1"])
def test_a_folder_that_is_no_store_is_named_and_not_made(
    isthmus: Isthmus, tmp_path: Path, verb: str
) -> None:
    ended = isthmus(*verb.split(), "--store", tmp_path / "typo")
    assert_explained(ended, str(tmp_path / "typo"), "no store here", "isthmus push")
    assert not (tmp_path / "typo").exists()


def test_what_cannot_be_loaded_is_explained_and_the_old_one_stays(
    isthmus: Isthmus, served: Served, store: Store, tiny_bundle: Path, other_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, "--to", served.address, "--version", "v1", "--activate")
    served.deployer.fault = ModelError("no such operator")
    ended = isthmus("push", other_bundle, "--to", served.address, "--version", "v2", "--activate")
    assert "tiny v2 is there" in ended.out
    assert ended.status == 1
    assert "no such operator" in ended.err
    assert "v1 stays active" in ended.err
    assert store.active("tiny") == "v1"


def test_the_devices_on_a_version_are_counted(
    isthmus: Isthmus, served: Served, tiny_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, "--to", served.address, "--version", "v1", "--activate")
    served.deployer.serve("tiny", "v1", streams=12)
    (row,) = rows(isthmus, ("--at", served.address))
    assert (row["loaded"], row["streams"]) == (True, 12)
    assert " 12 " in isthmus("list", "--at", served.address).out


def test_ctrl_c_leaves_a_push_that_goes_on(
    isthmus: Isthmus,
    served: Served,
    store: Store,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes while the service is at the third file."""
    reached, gate = threading.Event(), threading.Event()
    real = Push.write
    third = entries_of(tiny_bundle)[2].path

    def write(push: Push, path: str, offset: int, data: bytes) -> None:
        if path == third and not gate.is_set():
            reached.set()
            assert gate.wait(PATIENCE_S)
        real(push, path, offset, data)

    monkeypatch.setattr(Push, "write", write)
    with Command("push", tiny_bundle, "--to", served.address, "--version", "v1") as command:
        assert reached.wait(PATIENCE_S)
        ended = command.told(signal.SIGINT)
    gate.set()
    assert ended.status == 130
    assert "the same command goes on where it was" in ended.err
    assert "Traceback" not in ended.err
    outs: list[str] = []

    def pushed_again() -> bool:
        """The service may still be at the end of the first."""
        again = isthmus("push", tiny_bundle, "--to", served.address, "--version", "v1", "--json")
        outs.append(again.out)
        return again.status == 0

    until(pushed_again, "the push goes on")
    pushed = json.loads(outs[-1])["pushed"]
    assert 0 < pushed["sent_bytes"] < pushed["size_bytes"]
    assert store.check("tiny", "v1").fault is None
    assert hidden(store.root) == set()


class Doorkeeper(OpenDoor):
    """Lets in who has the token."""

    def admit(self, caller: Caller, role: Role) -> Identity:
        if caller.metadata.get("authorization") != f"Bearer {TOKEN}":
            raise DeniedError("this token is not valid here", "token")
        return Identity(name="anna", role="operator")


def test_an_operator_comes_in_with_the_token_of_the_file(
    isthmus: Isthmus, store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(f"{TOKEN}\n", encoding="ascii")
    wrong.write_text("another\n", encoding="ascii")
    with service(store, Doorkeeper()) as served:
        push = ("push", tiny_bundle, "--to", served.address, "--version", "v1", "--quiet")
        for flags in ((), ("--token-file", wrong)):
            ended = isthmus(*push, *flags)
            assert_explained(ended, "not valid here", "--token-file")
        assert isthmus(*push, "--token-file", right).status == 0
        ended = isthmus("list", "--at", served.address, "--token-file", right)
        assert "v1" in ended.out
        assert TOKEN not in ended.out + ended.err


def test_an_operator_comes_in_over_tls(
    isthmus: Isthmus, store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    ours, theirs = (make_certificate(tmp_path / name) for name in ("ours", "theirs"))
    pair = (ours.key.read_bytes(), ours.pem.read_bytes())
    with service(store, credentials=grpc.ssl_server_credentials([pair])) as served:
        push = ("push", tiny_bundle, "--to", served.address, "--version", "v1", "--quiet")
        for flags in ((), ("--tls-ca", theirs.pem)):
            ended = isthmus(*push, *flags)  # gRPC logs failed handshakes, and it is in here, too
            assert_explained(replace(ended, err=ended.err.splitlines()[-1]), "cannot be reached")
        assert isthmus(*push, "--tls-ca", ours.pem).status == 0
    assert store.check("tiny", "v1").fault is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--at", "cloud.example:50051"), ("is not this machine", "--tls-ca", "--insecure")),
        (("--at", "cloud.example:50051", "--token-file", "t"), ("could be read on the way",)),
        (("--at", "50051"), ("'50051'", "HOST:PORT")),
        (("--at", "127.0.0.1:0"), ("HOST:PORT",)),
        (("--at", "127.0.0.1:1", "--tls-cert", "c.pem"), ("go together",)),
        (("--at", "127.0.0.1:1", "--tls-ca", "no.pem"), ("no.pem",)),
        (("--at", "127.0.0.1:1", "--token-file", "no.token"), ("no.token",)),
        (("--at", "127.0.0.1:1"), ("127.0.0.1:1", "cannot be reached", "isthmus cloud --store")),
    ],
    ids=" ".join,
)
def test_a_way_in_that_cannot_be_used_is_named(
    isthmus: Isthmus, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("list", *flags), *words)


def test_a_service_without_a_store_is_told_so(isthmus: Isthmus) -> None:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        ended = isthmus("list", "--at", f"127.0.0.1:{port}")
        server.stop(0).wait()
    assert_explained(ended, "has no store", "--store DIR")


@pytest.mark.parametrize(
    "arguments", [("list",), ("list", "--at", "a:1", "--store", "b")], ids=["none", "two"]
)
def test_one_store_is_named(isthmus: Isthmus, arguments: tuple[str, ...]) -> None:
    ended = isthmus(*arguments)
    assert (ended.status, "--store" in ended.err.splitlines()[-1]) == (2, True)


def test_an_operator_who_pushes_to_a_service_needs_no_runtime(tiny_bundle: Path) -> None:
    missing = "onnxruntime,cryptography,onnx"
    ended = in_fresh_python(WITHOUT, missing, "push", str(tiny_bundle), "--to", "127.0.0.1:1")
    assert_explained(ended, "127.0.0.1:1 cannot be reached")
    ended = in_fresh_python(WITHOUT, missing, "list", "--store", "models")
    assert_explained(ended, "onnxruntime", "pip install 'isthmus[cloud]'")
