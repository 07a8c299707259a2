"""Signed bundles: who made a bundle is known by an ed25519 signature over its `bundle.json`.

The manifest holds the sha256 of every file, so its signature speaks for all of them. The signature
lies beside it as `bundle.json.sig`, 64 bytes, as `openssl pkeyutl -sign -rawin` writes them; keys
are PEM files. Nobody asks for signatures until a public key is configured; from then on a bundle
without one, or with that of another key, is refused. With several keys any of them will do, so that
a new one can be handed out before the old one is withdrawn.

Needs the library `cryptography` (`pip install 'isthmus[signing]'`), loaded when it is first used.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.durable_files import way_out, write_new, write_whole
from isthmus.errors import BundleError, ConfigError
from isthmus.files import check_file
from isthmus.manifest import MANIFEST_NAME
from isthmus.manifest_file import decode_manifest
from isthmus.regular_files import open_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE_NAME = "bundle.json.sig"
SIGNATURE_BYTES = 64
MAX_KEY_BYTES = 16 * 1024  # an ed25519 key in PEM has some 120

PRIVATE_NAME = "signing-key.pem"
PUBLIC_NAME = "signing-key.pub.pem"
_NAMES = {"private": PRIVATE_NAME, "public": PUBLIC_NAME}
_OTHER_KIND = {"private": "public", "public": "private"}
ID_DIGITS = 16  # of a key's id: enough to tell keys apart, and not to trust one by

__all__ = [
    "ID_DIGITS",
    "PRIVATE_NAME",
    "PUBLIC_NAME",
    "SIGNATURE_BYTES",
    "SIGNATURE_NAME",
    "TrustedKeys",
    "key_id",
    "make_keys",
    "private_key_id",
    "read_signature",
    "sign_bundle",
    "trusted_keys",
    "verify_signature",
]


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Public keys of those whose bundles are taken; made by `trusted_keys`."""

    _keys: "tuple[Ed25519PublicKey, ...]"

    def verify(self, manifest: bytes, signature: bytes | None, where: str = MANIFEST_NAME) -> None:
        """Whether one of the keys has signed these bytes; BundleError names `where` if none has."""
        self.signer(manifest, signature, where)

    def signer(self, manifest: bytes, signature: bytes | None, where: str = MANIFEST_NAME) -> str:
        """The id of the key that has signed these bytes; BundleError names `where` if none has."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (an extra)

        if signature is None:
            raise BundleError(
                f"{where}: not signed, and a public key says whose signature it must have; "
                "sign it with `isthmus keys sign BUNDLE --key PEM`"
            )
        for key in self._keys:
            with suppress(InvalidSignature):
                key.verify(signature, manifest)
                return _id_of(key)
        known = ", ".join(map(_id_of, self._keys))
        raise BundleError(
            f"{where}: signed by none of the keys that are trusted here ({known}), or changed "
            "since; sign it with one of theirs: `isthmus keys sign BUNDLE --key PEM`"
        )


def trusted_keys(paths: Sequence[Path]) -> TrustedKeys:
    """Read public keys; ConfigError if there is none, or one cannot be used."""
    if not paths:
        raise ConfigError("no public key is given to know signatures by; give at least one")
    return TrustedKeys(tuple(_public_key(path) for path in paths))


def key_id(path: Path) -> str:
    """The id of a public key in a file, `ID_DIGITS` hexadecimal digits; ConfigError if it is none.

    Equal ids are a hint for people, no proof: signatures are verified with the keys themselves.
    """
    return _id_of(_public_key(path))


def private_key_id(path: Path) -> str:
    """The same id, of the public key that belongs to a private one; ConfigError if it is none."""
    return _id_of(_private_key(path).public_key())


def verify_signature(bundle: Path, keys: Sequence[Path]) -> str:
    """Require that one of these public keys has signed the bundle in this folder; that one's id.

    The files are not looked at: `open_bundle` compares them with the manifest. BundleError if the
    signature is missing or not right, ConfigError if a key cannot be used.
    """
    trusted = trusted_keys(keys)
    manifest = _read(bundle / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return trusted.signer(manifest, read_signature(bundle), str(bundle / MANIFEST_NAME))


def read_signature(bundle: Path) -> bytes | None:
    """The signature beside a bundle's manifest, None without one; BundleError if it is no such."""
    path = bundle / SIGNATURE_NAME
    try:
        signature = _read(path, SIGNATURE_BYTES)
    except BundleError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    if len(signature) != SIGNATURE_BYTES:
        raise BundleError(
            f"{path}: {len(signature)} bytes, a signature has {SIGNATURE_BYTES}; sign the bundle "
            "again with `isthmus keys sign BUNDLE --key PEM`"
        )
    return signature


def sign_bundle(bundle: Path, key: Path) -> Path:
    """Sign the bundle with a private key, and return the signature's path; an older one goes.

    Every file is compared with the manifest first: nobody signs what is damaged. BundleError if
    the bundle is not whole, ConfigError if the key cannot be used or nothing can be written.
    """
    private = _private_key(key)
    data = _read(bundle / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    for entry in decode_manifest(data, str(bundle / MANIFEST_NAME)).files:
        check_file(bundle / entry.path, entry, "the manifest", "build the bundle again")
    path = bundle / SIGNATURE_NAME
    try:
        write_whole(path, private.sign(data))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); {way_out(error)}"
        ) from error
    return path


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Write a new pair of keys into a folder; the paths of the private and the public one.

    Both are there and on the disk, or neither. The private key is for its owner alone (mode 0600).
    ConfigError if there is a key already: what was signed with it would be worth nothing any more.
    """
    ed25519, serialization = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_pair(private, secret, public, shown)
    except OSError as error:
        raise ConfigError(
            f"{folder}: no keys can be written here ({error.strerror}), and none are left there; "
            f"{way_out(error)}"
        ) from error
    return private, public


def _write_pair(private: Path, secret: bytes, public: Path, shown: bytes) -> None:
    """Both or neither."""
    for path in (private, public):
        if os.path.lexists(path):
            raise ConfigError(
                f"{path}: there is a key already; remove it, or choose another folder"
            )
    write_new(private, secret, 0o600)
    try:
        write_new(public, shown, 0o644)
    except BaseException:
        private.unlink()
        raise


def _private_key(path: Path) -> "Ed25519PrivateKey":
    ed25519, serialization = _library()
    load = partial(serialization.load_pem_private_key, password=None)
    key: Ed25519PrivateKey = _key(path, load, ed25519.Ed25519PrivateKey, "private")
    return key


def _id_of(key: "Ed25519PublicKey") -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:ID_DIGITS]


def _public_key(path: Path) -> "Ed25519PublicKey":
    ed25519, serialization = _library()
    load = serialization.load_pem_public_key
    key: Ed25519PublicKey = _key(path, load, ed25519.Ed25519PublicKey, "public")
    return key


def _key(path: Path, load: Callable[[bytes], Any], wanted: type, kind: str) -> Any:
    """ConfigError unless the file has a key of the wanted kind."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 (an extra)

    unusable = ConfigError(
        f"{path}: no {kind} ed25519 key in PEM without a password; "
        "`isthmus keys make DIR` makes a pair"
    )
    data = _key_bytes(path)
    try:
        key = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a password
        other = _OTHER_KIND[kind]
        if f"{other.upper()} KEY-----".encode() in data.partition(b"\n")[0]:
            raise ConfigError(
                f"{path}: this is the {other} key of a pair, and the {kind} one is asked for: "
                f"`isthmus keys make` calls it {_NAMES[kind]}"
            ) from error
        raise unusable from error
    if not isinstance(key, wanted):
        raise unusable
    return key


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 (an extra)
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"signatures need {error.name}, which is not installed; "
            "install it: pip install 'isthmus[signing]'"
        ) from error
    return ed25519, serialization


def _key_bytes(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path}: the key cannot be read ({error.strerror}); name one that `isthmus keys make` "
            "wrote, and let this user read it"
        ) from error


def _read(path: Path, most_bytes: int) -> bytes:
    """A file of a bundle; BundleError if it is larger than it can rightly be."""
    try:
        with open_regular(path) as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}); see that it is a directory that "
            "`isthmus build` wrote, and that this user may read it"
        ) from error
    if len(data) > most_bytes:
        raise BundleError(f"{path}: larger than {most_bytes} bytes; build the bundle again")
    return data
