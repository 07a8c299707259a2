"""`isthmus keys`: make, sign, verify."""

import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import assert_explained


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
    assert (verified.status, "by one of 1 keys" in verified.out) == (0, True)


def test_a_stranger_has_not_signed_it(isthmus: Isthmus, bundle: Path, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        isthmus("keys", "make", tmp_path / name)
    isthmus("keys", "sign", bundle, "--key", tmp_path / "theirs" / "signing-key.pem")
    ours = tmp_path / "ours" / "signing-key.pub.pem"
    ended = isthmus("keys", "verify", bundle, "--key", ours)
    assert_explained(ended, "signed by none of the 1 keys")
    theirs = tmp_path / "theirs" / "signing-key.pub.pem"
    assert isthmus("keys", "verify", bundle, "--key", ours, "--key", theirs).status == 0


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
