"""`isthmus keys`: make, sign, verify."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import assert_explained

from isthmus import open_bundle
from isthmus.signing import key_id, make_keys, sign_bundle


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_what_was_signed_with_one_key_is_known_by_the_other(
    isthmus: Isthmus, bundle: Path, tmp_path: Path
) -> None:
    made = isthmus("keys", "make", tmp_path / "keys")
    assert made.status == 0
    private, public = tmp_path / "keys" / "signing-key.pem", tmp_path / "keys/signing-key.pub.pem"
    assert str(private) in made.out
    assert str(public) in made.out
    signed = isthmus("keys", "sign", bundle, "--key", private)
    assert signed.out.startswith("signed tiny ")
    verified = isthmus("keys", "verify", bundle, "--key", public)
    key = key_id(public)
    assert f"key id      {key}" in made.out
    assert f"with key {key}: " in signed.out
    assert (verified.status, verified.out.endswith(f"is signed by key {key}\n")) == (0, True)


def test_what_was_done_with_keys_is_told_to_machines_too(
    isthmus: Isthmus, bundle: Path, tmp_path: Path
) -> None:
    made = json.loads(isthmus("keys", "make", tmp_path / "keys", "--json").out)
    signed = json.loads(isthmus("keys", "sign", bundle, "--key", made["private"], "--json").out)
    verify = ("keys", "verify", bundle, "--key", made["public"], "--json")
    told = json.loads(isthmus(*verify).out)
    assert signed == told | {"signature": str(bundle / "bundle.json.sig")}
    assert told == {
        "model": "tiny",
        "fingerprint": open_bundle(bundle, "cloud").fingerprint,
        "key": made["key"],
    }
    (bundle / "bundle.json.sig").unlink()
    ended = isthmus(*verify)
    assert ended.out == ""
    assert_explained(ended, "not signed", "isthmus keys sign")


def test_a_full_disk_leaves_no_key(
    isthmus: Isthmus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ended = isthmus("keys", "make", tmp_path / "keys")
    assert_explained(ended, str(tmp_path / "keys"), "No space left", "none are left", "make room")
    assert list((tmp_path / "keys").iterdir()) == []


def test_inspect_shows_whose_a_bundle_is(isthmus: Isthmus, bundle: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "keys")
    _, other = make_keys(tmp_path / "other")
    assert isthmus("inspect", bundle).out.endswith("\nnot signed\n")
    assert_explained(isthmus("inspect", bundle, "--key", public), "not signed")
    sign_bundle(bundle, private)
    assert "signed; whose signature it is, --key PEM" in isthmus("inspect", bundle).out
    ended = isthmus("inspect", bundle, "--key", other, "--key", public)
    assert (ended.status, ended.out.splitlines()[-1]) == (0, f"signed by key {key_id(public)}")
    ended = isthmus("inspect", bundle, "--key", other, "--json")
    assert_explained(ended, "signed by none of the keys that are trusted here", key_id(other))
    assert json.loads(ended.out)["signature"]["state"] == "wrong"
    ended = isthmus("inspect", bundle, "--key", public, "--json")
    assert json.loads(ended.out)["signature"]["key"] == key_id(public)


def test_a_stranger_has_not_signed_it(isthmus: Isthmus, bundle: Path, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        isthmus("keys", "make", tmp_path / name)
    isthmus("keys", "sign", bundle, "--key", tmp_path / "theirs" / "signing-key.pem")
    ours = tmp_path / "ours" / "signing-key.pub.pem"
    ended = isthmus("keys", "verify", bundle, "--key", ours)
    assert_explained(ended, "signed by none of the keys that are trusted here")
    theirs = tmp_path / "theirs" / "signing-key.pub.pem"
    assert isthmus("keys", "verify", bundle, "--key", ours, "--key", theirs).status == 0


def test_the_wrong_half_of_a_pair_is_called_by_its_name(
    isthmus: Isthmus, bundle: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "keys")
    ended = isthmus("keys", "verify", bundle, "--key", private)
    assert_explained(ended, str(private), "this is the private key", "signing-key.pub.pem")
    ended = isthmus("keys", "sign", bundle, "--key", public)
    assert_explained(ended, str(public), "this is the public key", "signing-key.pem")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("make", "DIR", "--key", "k"), ("make has no --key",)),
        (("sign", "BUNDLE"), ("sign needs one --key PEM",)),
        (("sign", "BUNDLE", "--key", "a", "--key", "b"), ("sign needs one --key PEM",)),
        (("verify", "BUNDLE"), ("verify needs --key PEM",)),
        (("verify", "BUNDLE", "--key", "no.pem"), ("no.pem", "cannot be read")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_explained(
    isthmus: Isthmus, bundle: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    given = [bundle if word == "BUNDLE" else word for word in arguments]
    assert_explained(isthmus("keys", *given), "isthmus keys: ", *words)
