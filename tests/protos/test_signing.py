"""Who made a bundle is known by a signature over its manifest."""

import builtins
import errno
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from isthmus import BundleError, ConfigError, open_bundle
from isthmus.signing import key_id, make_keys, sign_bundle, trusted_keys, verify_signature


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path / "keys")


def private_pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, word: bytes) -> bytes:
    """A private key as PEM, with a password if there is one."""
    encryption = (
        serialization.BestAvailableEncryption(word) if word else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def test_a_signed_bundle_is_known_by_the_public_key(bundle: Path, keys: tuple[Path, Path]) -> None:
    signature = sign_bundle(bundle, keys[0])
    assert signature == bundle / "bundle.json.sig"
    assert len(signature.read_bytes()) == 64
    assert verify_signature(bundle, [keys[1]]) == key_id(keys[1])
    open_bundle(bundle, "device")
    open_bundle(bundle, "cloud")


def test_any_of_several_keys_will_do(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """A new key is handed out before the old one is withdrawn."""
    new_private, new_public = make_keys(tmp_path / "new")
    both = [keys[1], new_public]
    sign_bundle(bundle, keys[0])
    verify_signature(bundle, both)
    sign_bundle(bundle, new_private)
    assert verify_signature(bundle, both) == key_id(new_public) != key_id(keys[1])
    with pytest.raises(BundleError, match="signed by none of the keys that are trusted"):
        verify_signature(bundle, [keys[1]])


def test_a_bundle_without_a_signature_is_refused_with_the_way_out(
    bundle: Path, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(BundleError, match=r"not signed.*isthmus keys sign"):
        verify_signature(bundle, [keys[1]])


@pytest.mark.parametrize("victim", ["bundle.json", "bundle.json.sig"])
def test_a_flipped_bit_is_found(bundle: Path, keys: tuple[Path, Path], victim: str) -> None:
    sign_bundle(bundle, keys[0])
    content = bytearray((bundle / victim).read_bytes())
    content[10] ^= 1
    (bundle / victim).write_bytes(content)
    with pytest.raises(BundleError, match="changed since"):
        verify_signature(bundle, [keys[1]])


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65, b"x" * 100_000])
def test_what_is_no_signature_is_refused(
    bundle: Path, keys: tuple[Path, Path], content: bytes
) -> None:
    (bundle / "bundle.json.sig").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json\.sig"):
        verify_signature(bundle, [keys[1]])


def test_nobody_signs_what_is_damaged(bundle: Path, keys: tuple[Path, Path]) -> None:
    (bundle / "labels.txt").write_text("other\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"labels\.txt"):
        sign_bundle(bundle, keys[0])
    assert not (bundle / "bundle.json.sig").exists()


def test_what_is_no_bundle_cannot_be_signed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json: cannot be read"):
        sign_bundle(tmp_path, keys[0])


def test_keys_are_never_written_over(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "keys")
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(ConfigError, match="a key already"):
        make_keys(tmp_path / "keys")
    private.unlink()
    with pytest.raises(ConfigError, match="a key already"):
        make_keys(tmp_path / "keys")
    assert public.read_bytes() == before[1]
    assert not private.exists()


def test_the_private_key_is_for_its_owner_alone(keys: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600


def test_a_full_disk_leaves_no_key_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses in the middle of the private key; then there is no room for the other."""
    folder = tmp_path / "keys"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, before[1]))
    try:
        with pytest.raises(ConfigError, match=r"keys: no keys can be written.*make room"):
            make_keys(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.iterdir()) == []
    real, calls = os.fsync, 0

    def full_at_last(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # the private key and its folder were the first
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_at_last)
        with pytest.raises(ConfigError, match="none are left there"):
            make_keys(folder)
    assert list(folder.iterdir()) == []
    make_keys(folder)


def test_a_full_disk_leaves_the_old_signature(bundle: Path, keys: tuple[Path, Path]) -> None:
    signature = sign_bundle(bundle, keys[0])
    other, _ = make_keys(bundle.parent / "other")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(ConfigError, match=r"json\.sig: cannot be written.*make room"):
            sign_bundle(bundle, other)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    verify_signature(bundle, [keys[1]])
    assert {path.name for path in bundle.glob("*.sig*")} == {signature.name}


def test_signing_writes_through_no_link_of_the_bundle(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """A bundle of a stranger brings links by the names that a signature is written to."""
    (tmp_path / "mine").write_bytes(b"precious")
    for name in ("bundle.json.sig", ".bundle.json.sig.partial"):
        (bundle / name).symlink_to(tmp_path / "mine")
    signature = sign_bundle(bundle, keys[0])
    assert (tmp_path / "mine").read_bytes() == b"precious"
    assert not signature.is_symlink()
    verify_signature(bundle, [keys[1]])


def test_a_link_that_leads_nowhere_is_no_place_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "signing-key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="a key already"):
        make_keys(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_disk_without_hard_links_holds_keys_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    private, _ = make_keys(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no keys can be written here"):
        make_keys(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100_000])
def test_a_file_that_is_no_key_is_refused(
    bundle: Path, keys: tuple[Path, Path], content: bytes
) -> None:
    for key in keys:
        key.write_bytes(content)
    with pytest.raises(ConfigError, match=r"no private ed25519 key .*`isthmus keys make"):
        sign_bundle(bundle, keys[0])
    with pytest.raises(ConfigError, match="no public ed25519 key"):
        trusted_keys([keys[1]])


def test_a_private_key_is_no_public_one_nor_the_other_way_round(
    bundle: Path, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(ConfigError, match=r"this is the public key .* the private one is asked"):
        sign_bundle(bundle, keys[1])
    with pytest.raises(ConfigError, match=r"this is the private key .* the public one is asked"):
        trusted_keys([keys[0]])


def test_keys_of_another_kind_or_with_a_password_are_refused(
    bundle: Path, keys: tuple[Path, Path]
) -> None:
    curve = private_pem(ec.generate_private_key(ec.SECP256R1()), b"")
    closed = private_pem(ed25519.Ed25519PrivateKey.generate(), b"word")
    for pem in (curve, closed):
        keys[0].write_bytes(pem)
        with pytest.raises(ConfigError, match="without a password"):
            sign_bundle(bundle, keys[0])


def test_a_key_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.pem: the key cannot be read"):
        trusted_keys([tmp_path / "no.pem"])


def test_no_key_at_all_is_no_way_to_verify(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        verify_signature(bundle, [])


def test_openssl_agrees(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """The signature is the plain one over the manifest's bytes: other tools can make and see it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    sign_bundle(bundle, keys[0])
    manifest, ours = bundle / "bundle.json", bundle / "bundle.json.sig"
    verify = ["-verify", "-pubin", "-inkey", keys[1], "-sigfile", ours]
    subprocess.run(
        ["openssl", "pkeyutl", *map(str, verify), "-rawin", "-in", str(manifest)],
        check=True,
        capture_output=True,
    )
    sign = ["-sign", "-inkey", keys[0], "-out", tmp_path / "theirs"]
    subprocess.run(
        ["openssl", "pkeyutl", *map(str, sign), "-rawin", "-in", str(manifest)],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "theirs").read_bytes() == ours.read_bytes()


def test_without_the_library_the_extra_is_named(
    keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        names: Sequence[str] = (),
        level: int = 0,
    ) -> object:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError("No module named 'cryptography'", name="cryptography")
        return real(name, globals_, locals_, names, level)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"cryptography.*pip install 'isthmus\[signing\]'"):
        trusted_keys([keys[1]])
