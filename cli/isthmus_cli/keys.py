"""`isthmus keys`: make keys, sign bundles with them, and see whose a bundle is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from isthmus import ConfigError
from isthmus.bundle import read_manifest
from isthmus.signing import key_id, make_keys, private_key_id, sign_bundle, verify_signature
from isthmus_cli.console import print_json
from isthmus_cli.seals import add_keys

DESCRIPTION = """\
Make a pair of keys, and sign bundles, so that a service or a device takes no others.

  make DIR       a new pair: the private key for whoever signs, the public one for
                 services and devices
  sign BUNDLE    sign with the private key: --key PEM; every file is checked first
  verify BUNDLE  which of the public keys has signed it: --key PEM, any number of times;
                 ends with status 1 if none has

A signature (ed25519, `bundle.json.sig`) is over the manifest, which has the sha256 of every
file. `openssl pkeyutl -rawin` makes and verifies the same ones. Keys are called by an id, the
beginning of the public key's sha256.
"""
EXAMPLES = """\
  isthmus keys make keys/
  isthmus keys sign lite0.bundle --key keys/signing-key.pem
  isthmus keys verify lite0.bundle --key keys/signing-key.pub.pem --key old.pub.pem
"""

Told = dict[str, str]  # what was done

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("action", choices=_ACTIONS, metavar="ACTION", help="see above")
    add("path", type=Path, metavar="PATH", help="make: the folder for the keys; else the bundle")
    add_keys(parser, "sign: the private key; verify: a public key (may be repeated)")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Do it, and say what was done."""
    told = _ACTIONS[options.action](options.path, options.key)
    if options.json:
        print_json(told)
    else:
        print(_TEXTS[options.action].format_map(told))
    return 0


def _make(folder: Path, keys: Sequence[Path]) -> Told:
    if keys:
        raise ConfigError("make has no --key; see `isthmus keys --help`")
    private, public = make_keys(folder)
    return {"private": str(private), "public": str(public), "key": key_id(public)}


def _sign(bundle: Path, keys: Sequence[Path]) -> Told:
    if len(keys) != 1:
        raise ConfigError("sign needs one --key PEM, the private one; see `isthmus keys --help`")
    signature = sign_bundle(bundle, keys[0])
    return _titled(bundle) | {"key": private_key_id(keys[0]), "signature": str(signature)}


def _verify(bundle: Path, keys: Sequence[Path]) -> Told:
    if not keys:
        raise ConfigError("verify needs --key PEM, a public one; see `isthmus keys --help`")
    return _titled(bundle) | {"key": verify_signature(bundle, keys)}


def _titled(bundle: Path) -> Told:
    manifest, fingerprint = read_manifest(bundle)
    return {"model": manifest.model_name, "fingerprint": fingerprint}


_ACTIONS = {"make": _make, "sign": _sign, "verify": _verify}
_TEXTS = {
    "make": "private key {private}: keep it where bundles are signed, and nowhere else\n"
    "public key  {public}: for services and devices\n"
    "key id      {key}: by which `isthmus keys verify` and `isthmus inspect` call it",
    "sign": "signed {model} {fingerprint:.12} with key {key}: {signature}",
    "verify": "{model} {fingerprint:.12} is signed by key {key}",
}
